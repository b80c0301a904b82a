"""Measures of what the fleet promises: the table, the samples, their sums."""
