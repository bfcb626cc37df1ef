"""Moments: texts in order as the moments are that datetime makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.moments import comparable, moment

ZONES = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda m: timezone(timedelta(minutes=m)))
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)


@given(TIMES, TIMES, st.sampled_from("T "))
def test_in_order_as_the_moments_are(one: datetime, other: datetime, between: str) -> None:
    texts = [moment(time.isoformat(between)) for time in (one, other)]
    assert texts[0] is not None
    assert texts[1] is not None
    assert (texts[0] < texts[1]) is (one < other)
    assert (texts[0] == texts[1]) is (one == other)
    back = datetime.fromisoformat(texts[0]).replace(tzinfo=UTC)
    assert back == one


@given(TIMES)
def test_a_moment_has_one_text(time: datetime) -> None:
    texts = {moment(time.isoformat()), moment(time.astimezone(UTC).isoformat())}
    bare = time.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
    texts |= {moment(bare), moment(bare + "Z"), moment(bare + "-00")}
    [text] = texts
    assert text is not None
    assert comparable(text) == text


def test_the_same_however_it_is_written() -> None:
    for text in ("2024-05-01T00:00Z", "2024-05-01 02:00:00.000+0200", "2024-04-30T18:30-05:30"):
        assert comparable(text) == comparable("2024-05-01") == "2024-05-01"
    for text in ("2024-05-01T10:30:05.1234567890Z", "2024-05-01T10:30:05.123456789"):
        assert moment(text) == "2024-05-01T10:30:05.123456789"
    ordered = ["2024-05", "2024-05-01", "2024-05-01T00:00:00.1Z", "2024-05-01T00:01:00"]
    assert sorted([*ordered[2:], *ordered[:2]], key=comparable) == ordered


@pytest.mark.parametrize(
    "text",
    ["", "2024", "2024-05-01", "2024-02-30T10:00Z", "2024-05-01T24:00", "2024-05-01T10:00+24:00",
     "2024-05-01T10", "0000-01-01T00:00", "0001-01-01T00:00+01:00", "9999-12-31T23:59-01:00",
     "2024-05-01T10:00Z ", "2024-05-01T10:00Z\n", "٢٠٢٤-05-01T10:00Z", "2024-05-01T10:00.5"],
)  # fmt: skip
def test_other_texts_are_no_moments(text: str) -> None:
    assert moment(text) is None
    assert comparable(text) == text
