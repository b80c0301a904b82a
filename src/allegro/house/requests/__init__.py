"""Requests from the asking to the receipt: proposed, ordered, settled, matched."""
