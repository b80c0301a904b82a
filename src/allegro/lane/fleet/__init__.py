"""This lane's part in a fleet: roles, peers, the council's server."""
