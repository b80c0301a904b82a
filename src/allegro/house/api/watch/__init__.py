"""What the API shows of how things go."""
