"""Texts and numbers as filters write them: `"caf\\u00e9"`, as JSON has it, `'it\\'s'`, `-3.5`."""

from __future__ import annotations

import json
import re

from .metadata import INT64

_ESCAPES = {
    '"': re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'),
    "'": re.compile(r"\\['\\]"),
}
_ALLOWED = {
    '"': r"\" \\ \/ \b \f \n \r \t and \u00e9 (a plain backslash is \\)",
    "'": r"\' and \\ (more within double quotes)",
}

_WHOLE = re.compile(r"(-?)0*(\d{1,19})")


def text_of(token: str) -> str:
    """The text of a token with its quotes; ValueError, saying what, for an escape that is none.

    >>> text_of('"caf\\\\u00e9"'), text_of("'it\\\\'s'")
    ('café', "it's")
    """
    quote, inner = token[0], token[1:-1]
    if "\\" not in inner:
        return inner
    left = _ESCAPES[quote].sub("", inner)  # subtle: from the left, so that pairs are kept apart
    if "\\" in left:
        after = left[left.index("\\") + 1]
        raise ValueError(f"a backslash before {after!r} is no escape; there are {_ALLOWED[quote]}")
    if quote == "'":
        return re.sub(r"\\(.)", r"\1", inner)
    text: str = json.loads(token, strict=False)  # not strict: a line may end within
    return text


def number_of(token: str) -> int | float:
    """A whole number within 64 bits as it is; any other as near as a float comes."""
    whole = _WHOLE.fullmatch(token)  # subtle: of zeros before it, int() would read 4,300 only
    number = int(whole[1] + whole[2]) if whole else 0
    return number if whole and number in INT64 else float(token)
