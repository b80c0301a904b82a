"""The tokens of the forge: what they could do, and when they may be used."""
