"""Commands about questions with options."""
