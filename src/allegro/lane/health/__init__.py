"""What the lane reports of itself (status, heartbeat), and the care for its own folder."""
