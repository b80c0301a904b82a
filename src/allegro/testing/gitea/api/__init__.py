"""The routes of the simulated forge, and the shapes of its answers."""
