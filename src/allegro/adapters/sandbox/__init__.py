"""The boundary around an agent: its command, its filters, its doors, and what tries them."""
