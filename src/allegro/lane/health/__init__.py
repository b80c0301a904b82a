"""What the lane reports of itself: status, doctor, heartbeat."""
