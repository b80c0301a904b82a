"""The model proxy: calls, limits, loans, and the canary."""
