"""What the sovereign's own programs import."""
