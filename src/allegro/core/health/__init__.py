"""What a person must be shown about the state of lanes and house."""
