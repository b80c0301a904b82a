"""Figures of the archive: folded as it grows, asked for at any time."""
