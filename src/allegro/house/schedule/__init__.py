"""Scheduled duties of the house, and what it expects of those of its lanes."""
