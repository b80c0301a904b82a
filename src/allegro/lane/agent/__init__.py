"""Runs sessions of an agent behind the sandbox."""
