"""`python -m searchlib.cli` (or `python -m cli` in a checkout) is `searchlib`."""

from __future__ import annotations

from typing import NoReturn

from .signals import heeded


def main() -> NoReturn:
    """The command line; Ctrl-C while its modules are loaded is one line and code 130, too."""
    with heeded():
        from .app import main as run

        run()


if __name__ == "__main__":
    main()
