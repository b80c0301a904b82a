"""Carries out permits on the forge, and reads what a permit or a look needs."""
