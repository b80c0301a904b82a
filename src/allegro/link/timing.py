"""How a dead peer is noticed within 5 s, by both sides alike."""

BEAT_S = 1.5
DEAD_S = 4.5
HANDSHAKE_S = 10.0
WINDOW_BATCHES = 16
