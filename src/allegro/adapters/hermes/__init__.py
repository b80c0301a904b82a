"""Hermes Agent: its gateways, the sandbox around them, its API, its telemetry."""
