"""What a forge holds, as values, and how a poll moves over it."""
