"""Ctrl-C and SIGTERM: how a command hears of them, and how its process ends then."""

from __future__ import annotations

import _thread
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143  # 128 + the signal's number, as shells have it


@contextmanager
def heeded() -> Iterator[None]:
    """Within the block SIGTERM does what Ctrl-C does, and the exit code tells them apart.

    Where it ends, a further one ends the process at once, and silently: there is nothing left to
    lose. A signal that whoever started the process has it ignore is ignored on.
    """
    terminated = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)
    sys.unraisablehook = _raised_again
    try:
        yield
    except SystemExit as end:
        _heed_no_more(stop)
        if terminated and end.code == INTERRUPTED:
            sys.exit(TERMINATED)
        raise
    except KeyboardInterrupt:
        _heed_no_more(stop)
        sys.stderr.write("searchlib: interrupted\n")
        sys.exit(TERMINATED if terminated else INTERRUPTED)


def _raised_again(what: sys.UnraisableHookArgs) -> None:
    """Ctrl-C where Python would only say that it ignores it: within a destructor or callback."""
    if issubclass(what.exc_type, KeyboardInterrupt):
        # subtle: not from here, which is within the callback still
        _thread.start_new_thread(_interrupt_soon, (_thread.get_ident(),))
    else:
        sys.__unraisablehook__(what)


def _interrupt_soon(thread: int) -> None:
    time.sleep(0.01)
    signal.pthread_kill(thread, signal.SIGINT)


def _heed_no_more(stop: object) -> None:
    for number, ours in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, stop)):
        if signal.getsignal(number) is ours:
            signal.signal(number, signal.SIG_DFL)
