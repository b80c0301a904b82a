"""The duties of a lane, one module each."""
