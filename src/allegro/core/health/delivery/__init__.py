"""From an alert to a person: the notice, the outbox it waits in, and which channel carries it."""
