"""Calls a person: facts and occurrences in, stored, sent by every channel there is, proven."""
