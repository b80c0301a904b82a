"""The numbers: what the lane and the house cost, beside plain floors and another engine."""
