"""What a person does with the sovereign key: show, approve, thaw, seat, rotate, revoke, roster, pair.

No daemon imports this package: lane, house, link and council run without any code that can load
the key. import-linter checks the imports, a test that a running house has loaded no module of it.
"""
