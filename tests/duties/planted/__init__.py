"""A family of actions that allegro does not have: planted into a copy of the sources by a test."""
