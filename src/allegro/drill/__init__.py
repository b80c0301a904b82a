"""Fail-over on purpose: a fleet on this machine, faults in it, and the time they cost."""
