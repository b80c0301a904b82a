"""One module for each outside thing; knows core and never each other."""
