"""`python -m searchlib.cli` (or `python -m cli` in a checkout) is `searchlib`."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """The command line; Ctrl-C while its modules are loaded is one line and code 130, too."""
    try:
        from .app import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("searchlib: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
