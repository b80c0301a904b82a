"""Polling what is watched: each watch, each repository in it, and what fails alone."""
