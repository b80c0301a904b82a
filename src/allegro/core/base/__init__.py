"""What every rule stands on: byte forms, errors, the event envelope, readers of foreign bytes."""
