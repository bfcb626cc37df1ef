"""`python -m searchlib.cli` (or `python -m cli` in a checkout) is `searchlib`."""

from .app import main

main()
