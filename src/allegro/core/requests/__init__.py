"""What is asked of the sovereign: its document, its life, and when it may be ordered."""
