"""Ctrl-C and SIGTERM: how a command hears of them, and how its process ends then."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from types import CodeType, FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143  # 128 + the signal's number, as shells have it
MOMENT = 0.01  # seconds
# what runs while a module is made
_EXTENSION = {ExtensionFileLoader.create_module.__code__, ExtensionFileLoader.exec_module.__code__}
_MODULE = {SourceFileLoader.exec_module.__code__, *_EXTENSION}


@contextmanager
def heeded() -> Iterator[None]:
    """Within the block SIGTERM does what Ctrl-C does, and the exit code tells them apart.

    Where it ends, a further one ends the process at once, and silently: there is nothing left to
    lose. A signal that whoever started the process has it ignore is ignored on.
    """
    terminated = False
    later = _Later()

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated |= number == signal.SIGTERM
        if not _is_within(frame, _MODULE):
            raise KeyboardInterrupt
        later.interrupt()

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        # Python would only say that it ignores it: within a destructor or callback
        if issubclass(what.exc_type, KeyboardInterrupt):
            later.interrupt()
        else:
            sys.__unraisablehook__(what)

    usual = (signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)
    for number, handler in usual:
        if signal.getsignal(number) is handler:
            signal.signal(number, stop)
    sys.unraisablehook = unraisable
    try:
        yield
    except SystemExit as end:
        _heed_no_more(stop)
        if end.code == INTERRUPTED:
            _end(TERMINATED if terminated else INTERRUPTED)
        raise
    except KeyboardInterrupt:
        _heed_no_more(stop)
        sys.stderr.write("searchlib: interrupted\n")
        _end(TERMINATED if terminated else INTERRUPTED)


class _Later:
    """Ctrl-C once more: in a moment, or where the next module is looked for if that is sooner.

    An exception is not safe at any moment of an import: a class being made says RuntimeError
    instead, an extension whose C++ does not expect one (PyTorch's) calls abort, and one that was
    half made cannot be imported again. Before a module begins, it is.
    """

    def interrupt(self) -> None:
        """Begin to wait; the first of `sys.meta_path` is asked for every module."""
        if self not in sys.meta_path:
            self._waiting = _thread.get_ident()
            sys.meta_path.insert(0, self)
            _thread.start_new_thread(self._after_a_moment, ())

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raise KeyboardInterrupt, unless another thread or an extension imports the module."""
        if _thread.get_ident() == self._waiting and not _is_within(sys._getframe(), _EXTENSION):
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

    def _after_a_moment(self) -> None:
        time.sleep(MOMENT)
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            signal.pthread_kill(self._waiting, signal.SIGINT)


def _is_within(frame: FrameType | None, codes: set[CodeType]) -> bool:
    while frame is not None and frame.f_code not in codes:
        frame = frame.f_back
    return frame is not None


def _end(code: int) -> NoReturn:
    """End the process, and whatever its threads do, at once.

    Python would wait for its threads, but not for one it was waiting for when the signal came: it
    takes that for ended, and C++ (PyTorch's) that is still at work in one then calls abort.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _heed_no_more(stop: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is stop:
            signal.signal(number, signal.SIG_DFL)
