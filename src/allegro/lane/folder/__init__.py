"""The state folder of a lane: the names of its files, and the forms they have."""
