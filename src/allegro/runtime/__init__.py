"""Runs duties: what a program needs to go on when one of its items cannot be handled."""
