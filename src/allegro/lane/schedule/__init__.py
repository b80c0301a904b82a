"""Scheduled duties of a lane: when they run, where their plans are, who is told."""
