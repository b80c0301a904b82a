"""The HTTP API on the owner's socket."""
