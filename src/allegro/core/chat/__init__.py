"""What a person says to the fleet and reads from it by chat: values and rules, no service."""
