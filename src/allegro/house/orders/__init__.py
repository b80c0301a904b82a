"""Orders: whose turn it is, which lane takes it, what waits, and how doubt is settled."""
