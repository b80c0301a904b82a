"""Every kind of bad value, run through every border of the product.

`values.py` is the table; adding a row there adds a case everywhere. One module for each border
drives the real consumer (`test_<border>.py`) and says which event types, queries, routes, headers
or files it covers; `test_coverage.py` fails for one that has no cases.
"""
