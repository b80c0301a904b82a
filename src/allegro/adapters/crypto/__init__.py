"""Signatures, sealing and certificates."""
