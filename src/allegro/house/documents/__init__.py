"""What the house shows of its requests and reports on a forge, and the questions that it puts."""
