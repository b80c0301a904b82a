"""How a dead peer is noticed within 5 s, by both sides alike, and how much may be on the way.

The house beats; the lane beats back when it hears one, so that an idle lane keeps no timer. A
peer is alive while any byte of it arrives, whole message or not.
"""

BEAT_S = 2.0
DEAD_S = 4.5
HANDSHAKE_S = 10.0
WINDOW_BATCHES = 32
STALL_S = 30.0
"""How long a piece may wait while nothing of this connection's bulk arrives at the other side."""
UNSENT_BYTES = 16 * 1024
