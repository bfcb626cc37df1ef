"""What the fuzz tests share: how long they try, and how a good input is made bad.

FUZZ=2000 python -m pytest tests/hostile tries 2,000 inputs a test instead of a few dozen, other
ones each time; without it the tests try the same ones each time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from searchlib import SearchlibError

OURS = (SearchlibError,)
ASKED = int(os.environ.get("FUZZ", "0"))
SECONDS = 30  # for one input
PATIENCE = 20  # how much slower a busy machine may be
T = TypeVar("T", bound=Callable[..., Any])


def fuzz(examples: int) -> Callable[[T], T]:
    """Settings of a test that tries so many inputs, or as many as FUZZ says."""
    return settings(  # type: ignore[return-value]
        max_examples=ASKED or examples,
        derandomize=not ASKED,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def time_limit(seconds: int = SECONDS) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds; what hangs in C dies of SIGALRM.

    Seconds on a processor, as other processes' work is no hang; of the clock, PATIENCE times that.
    """

    def stop(number: int, frame: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        raise TimeoutError(f"took over {seconds} seconds")

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGALRM, signal.SIGPROF)]
    signal.alarm(PATIENCE * seconds)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in before:
            signal.signal(number, handler)


def one_line(error: BaseException) -> str:
    """The message of an error of ours, which must be one line that says something."""
    message = str(error)
    assert message.strip(), repr(error)
    assert len(message.splitlines()) == 1, message
    assert len(message) < 5000, message
    return message


def spoiled(goods: list[bytes]) -> st.SearchStrategy[bytes]:
    """Good inputs with parts overwritten, cut out, doubled or joined, and bytes of any kind."""

    @st.composite
    def one(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(goods)))
        for _ in range(draw(st.integers(1, 4))):
            place = draw(st.integers(0, max(0, len(data) - 1)))
            length = draw(st.integers(0, 24))
            match draw(st.integers(0, 5)):
                case 0 if data:
                    data[place] ^= 1 << draw(st.integers(0, 7))
                case 1:
                    data[place : place + length] = draw(st.binary(max_size=24))
                case 2:
                    del data[place : place + length]
                case 3:
                    data[place:place] = data[place : place + length] * draw(st.integers(1, 50))
                case 4:
                    del data[place:]
                case 5:
                    data[place:place] = draw(st.sampled_from(PIECES))
        return bytes(data)

    return st.one_of(one(), st.binary(max_size=200))


PIECES = [
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n", b'"', b"'", b"\\", b"\\u0000",
    b"\\ud800", b"\xed\xa0\x80", b"\xc3", b"\xe2\x80\xa8", b"{", b"}", b"[" * 2000, b"]", b",",
    b"1e999", b"-0", b"9" * 400, b"9" * 5000, b"NaN", b"null", b"true", b'{"a":' * 1500, b"\t",
    b"<DOC>", b"</DOC>", b"<DOCNO>", b"<!--", b"<![CDATA[", b"&#0;", b"&#x110000;", b"&amp;" * 50,
    b"%PDF-1.4\n", b"endobj", b"stream\n", b"PAR1", b"\x1f\x8b\x08", b"../../etc/passwd",
    b"\x1b[2J", b"<" * 300,
]  # fmt: skip
