"""The whole product in one minute: real processes, a simulated or a real forge."""
