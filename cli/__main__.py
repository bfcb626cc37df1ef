"""`python -m searchlib.cli` (or `python -m cli` in a checkout) is `searchlib`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from .signals import end_late, heeded


def main() -> NoReturn:
    """The command line; Ctrl-C while its modules are loaded is one line and code 130, too."""
    _open_what_is_closed()
    try:
        with heeded():
            from .app import main as run

            run()
    except KeyboardInterrupt as error:
        end_late(error)


def _open_what_is_closed() -> None:
    """Whoever starts a process may close its streams (`>&-`): no file of ours may be one then."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


if __name__ == "__main__":
    main()
