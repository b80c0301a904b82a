"""Reads of one repository of the forge that several wings need: its trees, and what a token may."""
