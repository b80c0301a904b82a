"""The request and the report as a forge shows them, and the block in them that programs read."""
