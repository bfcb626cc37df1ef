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
LINE = "searchlib: interrupted\n"
MOMENT = 0.01  # seconds
PATIENCE = 1.0  # seconds that an import may keep a signal waiting
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
    entering = sys._getframe(2)
    later = _Later(entering)

    def interrupted() -> NoReturn:
        _end(TERMINATED if terminated else INTERRUPTED)

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated |= number == signal.SIGTERM
        if not _is_within(frame, _MODULE, entering):
            later.forget()
            raise KeyboardInterrupt(TERMINATED if terminated else INTERRUPTED)
        if not later.interrupt(number):
            os.write(2, LINE.encode())
            interrupted()

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        # Python would only say that it ignores it: within a destructor or callback
        if issubclass(what.exc_type, KeyboardInterrupt):
            later.interrupt(signal.SIGTERM if terminated else signal.SIGINT)
        else:
            sys.__unraisablehook__(what)

    usual = (signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)
    for number, handler in usual:
        if signal.getsignal(number) is handler:
            signal.signal(number, stop)
    sys.unraisablehook = unraisable
    sys.meta_path.insert(0, later)
    try:
        yield
    except SystemExit as end:
        _heed_no_more(stop)
        if end.code == INTERRUPTED:
            interrupted()
        raise
    except KeyboardInterrupt:
        _heed_no_more(stop)
        sys.stderr.write(LINE)
        interrupted()
    finally:
        sys.meta_path.remove(later)


def end_late(error: KeyboardInterrupt) -> NoReturn:
    """End the process by a signal that came between the end of the block and that of `heeded`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    before = error.__context__
    if not (isinstance(before, SystemExit) and before.code == INTERRUPTED):  # it said so already
        sys.stderr.write(LINE)
    _end(error.args[0] if error.args else INTERRUPTED)


class _Later:
    """Ctrl-C once more: in a moment, or where the next module is looked for if that is sooner.

    An exception is not safe at any moment of an import: a class being made says RuntimeError
    instead, an extension whose C++ does not expect one (PyTorch's) calls abort, and one that was
    half made cannot be imported again. Before a module begins, it is. As the first of
    `sys.meta_path` it is asked for every module.
    """

    def __init__(self, entering: FrameType) -> None:
        self._entering = entering
        self._main = _thread.get_ident()
        self._waiting: list[int] = []  # a signal; who pops it raises it
        self._since = 0.0

    def interrupt(self, number: int) -> bool:
        """Begin to wait; False where one waits already, or for too long."""
        now = time.monotonic()
        self._since = self._since or now
        if self._waiting or now - self._since > PATIENCE:
            return False
        self._waiting.append(number)
        _thread.start_new_thread(self._after_a_moment, ())
        return True

    def forget(self) -> None:
        """Nothing has to wait any longer: it is raised."""
        self._waiting.clear()
        self._since = 0.0

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raise KeyboardInterrupt, unless another thread or an extension imports the module."""
        if self._waiting and _thread.get_ident() == self._main:
            if _is_within(sys._getframe(), _EXTENSION, self._entering):
                return
            if self._claimed():
                self.forget()
                raise KeyboardInterrupt

    def _after_a_moment(self) -> None:
        time.sleep(MOMENT)
        if number := self._claimed():
            signal.pthread_kill(self._main, number)

    def _claimed(self) -> int:
        """The signal that waits, for one of those who ask; 0 for others."""
        try:
            return self._waiting.pop()
        except IndexError:
            return 0


def _is_within(frame: FrameType | None, codes: set[CodeType], entering: FrameType) -> bool:
    """Whether one of the codes runs since the block was entered."""
    while frame is not None and frame is not entering and frame.f_code not in codes:
        frame = frame.f_back
    return frame is not None and frame is not entering


def _end(code: int) -> NoReturn:
    """End the process, and whatever its threads do, at once.

    Python would wait for its threads, but not for one it was waiting for when the signal came: it
    takes that for ended, and C++ (PyTorch's) that is still at work in one then calls abort.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # the last: a signal while it is written
            stream.flush()
    os._exit(code)


def _heed_no_more(stop: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is stop:
            signal.signal(number, signal.SIG_DFL)
