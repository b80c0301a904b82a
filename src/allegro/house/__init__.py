"""The duties of the house, one module each."""
