"""Sessions as the house follows them."""
