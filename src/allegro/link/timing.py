"""How a dead peer is noticed within 5 s, by both sides alike.

The house beats; the lane beats back when it hears one, so that an idle lane keeps no timer.
"""

BEAT_S = 2.0
DEAD_S = 4.5
HANDSHAKE_S = 10.0
WINDOW_BATCHES = 32
