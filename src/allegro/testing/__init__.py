"""Simulators and fakes of the outside, shipped so that users can test with them."""
