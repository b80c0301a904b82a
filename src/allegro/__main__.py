"""`python -m allegro` is `allegro`."""

from allegro.cli.main import main

main()
