"""Filters over metadata: `year >= 2001 and lang in ("en", "fr")`, parsed to a tree.

    filter  := all ("or" all)*            all   := part ("and" part)*
    part    := "not" part | "(" filter ")" | "exists" field | field test
    test    := ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "^=") value
             | "like" "prefix*" | ["not"] "in" "(" value ("," value)* ")"
    value   := "text" | 'text' | number | date | true | false | null
             "text" is as `json.dumps` writes it: \\" \\\\ \\n \\u00e9; 'text' has but \\' and \\\\
    date    := 2024-05 | 2024-05-01 | 2024-05-01T10:30 | 2024-05-01T10:30:00Z (or +02:00)
    field   := name ("." name)*           names with other characters stand in `back quotes`

A field is a path into the document's metadata; `id` and `title` are the document's own. Where
the metadata holds a list, one matching member is enough. Numbers are compared with numbers (and
with texts that spell one, as CSV files have them), texts with texts by code point; a document
without the field matches no comparison, so it matches `!=` and `not in`. `= null` means: not
there, or null. `^= "ab"` and `like "ab*"` ask for a prefix. Whole numbers within 64 bits are exact;
any other number, in a filter as in metadata, is as near as a float comes.

A date is a text, ISO 8601, that needs no quotes. Texts that name a day and a time are compared as
moments: with Z or an offset (+02:00) in UTC, without one as if in UTC; a day is its first moment,
so `<= 2024-05-01` leaves out the times of that day (`< 2024-05-02` does not). A month comes before
its first day. `^= 2024-05` asks for texts that begin so, whatever their zone. A number of seconds
or of the year is a number. Ids and titles are texts and no dates.

All of this meaning is in `filter_sql`; here is the syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import BadFilter
from .literals import number_of, text_of
from .moments import moment

Value = str | int | float | bool | None

MAX_DEPTH = 50  # nested parentheses
MAX_BOUND = 10_000  # fields and values; SQLite binds 32,766, and some are bound twice


@dataclass(frozen=True)
class Match:
    """The field equals one of the values."""

    field: tuple[str, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Order:
    """The field stands in order `operator` (<, <=, >, >=) to the value."""

    field: tuple[str, ...]
    operator: str
    value: str | int | float


@dataclass(frozen=True)
class Prefix:
    """The field begins with the text."""

    field: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Exists:
    """The field is there and not null."""

    field: tuple[str, ...]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Filter


@dataclass(frozen=True)
class All:
    """Every part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Any_:
    """At least one part holds."""

    parts: tuple[Filter, ...]


Filter = Match | Order | Prefix | Exists | Not | All | Any_


def parse_filter(text: str) -> Filter:
    """The tree of a filter expression; raises BadFilter, which shows the place.

    >>> parse_filter('year >= 2001')
    Order(field=('year',), operator='>=', value=2001)
    """
    parser = _Parser(text)
    result = parser.alternatives(0)
    if parser.kind != "end":
        raise parser.error("expected 'and', 'or' or the end")
    return result


def parse_field(text: str) -> tuple[str, ...]:
    """The keys of a field's name as filters have it; raises BadFilter.

    >>> parse_field("author.`first name`")
    ('author', 'first name')
    """
    parser = _Parser(text)
    field = parser.field()
    if parser.kind != "end":
        raise parser.error(f"expected the end of the field's name{_ODD}")
    return field


# --- parsing

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<date>\d{4}-\d\d(?:-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?)?)
      (?![\w.:-])
    | (?P<number>-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<field>(?:[^\W\d][\w-]*|`[^`]+`)(?:\.(?:[\w-]+|`[^`]+`))*)
    | (?P<operator><=|>=|!=|==|\^=|=|<|>)
    | (?P<mark>[(),])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ODD = "; a name with spaces or signs stands in `back quotes`"
_KEYWORDS = {"and", "or", "not", "in", "like", "exists", "true", "false", "null"}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}


class _Parser:
    """Recursive descent over one token of look-ahead."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.token = self.kind = ""
        self.end = 0
        self.bound = 0
        self.advance()

    def advance(self) -> str:
        """Step to the next token; returns the one left behind."""
        left = self.token
        match = _TOKEN.match(self.source, self.end)
        if match is None:
            blank = re.compile(r"\s*").match(self.source, self.end)
            self.start = blank.end() if blank else self.end
            opening = self.source[self.start] in "\"'`"
            raise self.error("this quote is never closed" if opening else "unexpected character")
        self.kind = match.lastgroup or "end"
        self.token = match[self.kind]
        self.start, self.end = match.span(self.kind)
        if self.kind == "field" and self.token.lower() in _KEYWORDS:
            self.kind, self.token = "word", self.token.lower()
        return left

    def error(self, problem: str) -> BadFilter:
        """BadFilter, one line: the problem, its place, and what stands before and after it."""
        first = max(0, self.start - 40)
        parts = self.source[first : self.start], self.source[self.start : self.start + 40]
        before, after = (
            "".join(" " if c.isspace() or not c.isprintable() else c for c in part)
            for part in parts
        )
        place = f"character {self.start + 1}: {before}⟨here⟩{after}"
        return BadFilter(f"filter: {problem}, at {place}")

    def take(self, token: str) -> bool:
        """Step over `token` if it is next."""
        found = self.token == token and self.kind in ("word", "mark", "operator")
        if found:
            self.advance()
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.error(f"expected {token!r}")

    def alternatives(self, depth: int) -> Filter:
        parts = [self.conjunction(depth)]
        while self.take("or"):
            parts.append(self.conjunction(depth))
        return parts[0] if len(parts) == 1 else Any_(tuple(parts))

    def conjunction(self, depth: int) -> Filter:
        parts = [self.part(depth)]
        while self.take("and"):
            parts.append(self.part(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def part(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise self.error(f"nested too deeply, more than {MAX_DEPTH} levels")
        if self.take("not"):
            return Not(self.part(depth + 1))
        if self.take("("):
            inner = self.alternatives(depth + 1)
            self.expect(")")
            return inner
        if self.take("exists"):
            return Exists(self.field())
        return self.test(self.field())

    def field(self) -> tuple[str, ...]:
        self.count()
        if self.kind != "field":
            hint = _ODD if self.kind == "text" else ""
            raise self.error(f"expected a field's name, such as year{hint}")
        names = re.findall(r"`([^`]+)`|([\w-]+)", self.token)
        path = tuple(quoted or plain for quoted, plain in names)
        for name in path:
            if '"' in name or "\\" in name or not name.isprintable():
                raise self.error("a field's name with quotes, backslashes or control characters")
        self.advance()
        return path

    def test(self, field: tuple[str, ...]) -> Filter:
        if self.take("not"):
            self.expect("in")
            return Not(Match(field, self.members()))
        if self.take("in"):
            return Match(field, self.members())
        if self.take("like"):
            return Prefix(field, self.pattern())
        if self.kind != "operator":
            hint = _ODD if self.kind in ("field", "mark") else ""
            raise self.error(f"expected a comparison: = != < <= > >= ^= in like{hint}")
        operator = self.advance()
        if operator in ("=", "=="):
            return Match(field, (self.value(),))
        if operator == "!=":
            return Not(Match(field, (self.value(),)))
        if operator == "^=":
            return Prefix(field, self.text())
        if self.kind not in ("text", "number", "date"):
            raise self.error(f"expected a number or a quoted text after {operator!r}")
        value = self.value()
        assert value is not None
        return Order(field, operator, value)

    def members(self) -> tuple[Value, ...]:
        self.expect("(")
        values = [self.value()]
        while self.take(","):
            values.append(self.value())
        self.expect(")")
        return tuple(values)

    def pattern(self) -> str:
        if self.kind != "text" or self.token.find("*") != len(self.token) - 2:
            raise self.error('expected a quoted prefix that ends with *, such as "ab*"')
        return self.text()[:-1]

    def text(self) -> str:
        if self.kind not in ("text", "date"):
            raise self.error("expected a quoted text")
        value = self.value()
        assert isinstance(value, str)
        return value

    def count(self) -> None:
        """One more field or value to bind."""
        self.bound += 1
        if self.bound > MAX_BOUND:
            raise self.error(f"too long, more than {MAX_BOUND} fields and values")

    def value(self) -> Value:
        self.count()
        if self.kind == "text":
            try:
                text = text_of(self.token)
            except ValueError as error:
                raise self.error(str(error)) from None
            self.advance()
            return text
        if self.kind == "date":
            if "T" in self.token and moment(self.token) is None:
                raise self.error("no such day or time; write 2024-05-01T10:30Z, or +02:00 for Z")
            return self.advance()
        if self.kind == "number":
            return number_of(self.advance())
        if self.kind == "word" and self.token in _CONSTANTS:
            return _CONSTANTS[self.advance()]
        if self.kind == "field":
            raise self.error(f'expected a value; a text stands in quotes: "{self.token}"')
        raise self.error("expected a value: a quoted text, a number, true, false or null")
