"""Channels to a person: one folder for each service."""
