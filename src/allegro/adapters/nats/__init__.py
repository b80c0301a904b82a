"""The council of a fleet: NATS JetStream with three replicas, one server on each lane."""
