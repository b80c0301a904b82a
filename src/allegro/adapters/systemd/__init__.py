"""What systemd is to be notified of."""
