"""The chat of a lane: what its owner says to the fleet from his phone, and what it answers."""
