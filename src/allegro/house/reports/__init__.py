"""The morning report: its facts are collected, it is written down, and it is brought."""
