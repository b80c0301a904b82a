"""An agent's session and its tools, as values."""
