"""Polls the forge and journals what it shows."""
