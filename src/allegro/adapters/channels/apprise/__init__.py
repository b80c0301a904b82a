"""Copies to the services that the Apprise library knows. The library runs in a child process only."""
