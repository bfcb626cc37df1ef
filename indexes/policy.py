"""Which segments to merge, as pure functions of their sizes.

A segment costs every query about as long as thousands of documents do, so there must be few;
but no document should be rewritten more often than about log n times, and a merge must fit in
memory. So: of the segments that can still grow (below half of `limit`) there may be `FEW`, and
one more whenever they hold four times as much; above that, the smallest ones become one, in a
run in which each is at most `STEP` times as large as all smaller ones together.

The models: Lucene's TieredMergePolicy (segments allowed by size, a floor below which all count
as small) and tantivy's LogMergePolicy (levels, and segments rewritten for their dead documents).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

FEW = 3  # segments that may grow, up to FLOOR bytes together
FLOOR = 16 * 2**20  # bytes; what is smaller is merged in a moment
STEP = 4
TIDY = 64  # times as large as all smaller ones: such a segment is left alone by `tidy_merges`
AT_ONCE = 8 * 2**20  # bytes; a commit waits for merges up to here, a few tenths of a second
MAX_DEAD = 1 / 3  # of a segment's documents, before it is rewritten


@dataclass(frozen=True)
class Size:
    """A segment as the policy sees it: live and dead documents, bytes of its largest field.

    `changed`: metadata of it changed since it was written.
    """

    alive: int
    dead: int
    bytes: int
    changed: bool = False

    @property
    def outdated(self) -> bool:
        """Whether it would be smaller if it were rewritten."""
        return self.dead > 0 or self.changed

    @property
    def live_bytes(self) -> int:
        """The bytes that a rewritten segment would have, about; at least 1."""
        return max(1, self.bytes * self.alive // max(1, self.alive + self.dead))


Groups = list[list[int]]
Policy = Callable[[Sequence[Size], int], Groups]


def choose_merges(sizes: Sequence[Size], limit: int) -> Groups:
    """Groups of segments (their places in `sizes`) to be made into one segment each.

    A group of one is a segment rewritten without its dead documents. `limit`: bytes that the
    largest field of a merged segment may have.

    >>> choose_merges([Size(1, 0, 10)] * 4, limit=1000)
    [[0, 1, 2, 3]]
    """
    crowded = _ascending(sizes, limit // 2)
    if len(crowded) > _allowed(sum(sizes[i].live_bytes for i in crowded)):
        run = _run([sizes[i].live_bytes for i in crowded], limit)
        if run > 1:
            group = sorted(crowded[:run])
            return [group, *_rewrites(sizes, set(group))]
    return _rewrites(sizes, set())


def small_merges(sizes: Sequence[Size], limit: int) -> Groups:
    """Of `choose_merges`, those that take but a moment."""
    groups = choose_merges(sizes, limit)
    return [group for group in groups if sum(sizes[i].live_bytes for i in group) <= AT_ONCE]


def tidy_merges(sizes: Sequence[Size], limit: int) -> Groups:
    """What to merge when a batch of changes is done and queries come: few segments stay.

    As `choose_merges`; then, up to `FLOOR` bytes, whatever is less than `TIDY` times as large
    as all smaller segments together.

    >>> tidy_merges([Size(1, 0, 1000), Size(1, 0, 10), Size(1, 0, 9)], limit=10**6)
    [[1, 2]]
    """
    groups = choose_merges(sizes, limit)
    if groups:
        return groups
    small = _ascending(sizes, min(limit, FLOOR))
    total = run = 0
    for count, i in enumerate(small, 1):
        if total + sizes[i].live_bytes > min(limit, FLOOR):
            break
        if sizes[i].live_bytes < TIDY * total:
            run = count
        total += sizes[i].live_bytes
    return [sorted(small[:run])] if run > 1 else []


def all_merges(sizes: Sequence[Size], limit: int) -> Groups:
    """As few groups as the limit allows; what has dead documents or changes is rewritten."""
    groups: Groups = []
    room = 0
    for i in _ascending(sizes, None):
        if groups and sizes[i].live_bytes <= room:
            groups[-1].append(i)
            room -= sizes[i].live_bytes
        else:
            groups.append([i])
            room = limit - sizes[i].live_bytes
    return [sorted(group) for group in groups if len(group) > 1 or sizes[group[0]].outdated]


def all_rewrites(sizes: Sequence[Size], limit: int) -> Groups:
    """Every segment with dead documents or changes, by itself; `limit` is of no account.

    >>> all_rewrites([Size(9, 0, 90), Size(9, 1, 90)], limit=1)
    [[1]]
    """
    return [[i] for i, size in enumerate(sizes) if size.outdated]


def _ascending(sizes: Sequence[Size], most: int | None) -> list[int]:
    """The places of all segments of at most `most` bytes, smallest first."""
    places = [i for i, size in enumerate(sizes) if most is None or size.live_bytes <= most]
    return sorted(places, key=lambda i: sizes[i].live_bytes)


def _allowed(total: int) -> int:
    """How many segments of `total` bytes together there may be."""
    return FEW + max(0, (total // FLOOR).bit_length() // 2)


def _run(ascending: Sequence[int], limit: int) -> int:
    """How many of the smallest segments to merge."""
    total = 0
    for count, size in enumerate(ascending):
        if total + size > limit or (count > 1 and size > STEP * total):
            return count
        total += size
    return len(ascending)


def _rewrites(sizes: Sequence[Size], taken: set[int]) -> Groups:
    return [
        [i]
        for i, size in enumerate(sizes)
        if i not in taken and size.dead > MAX_DEAD * (size.alive + size.dead)
    ]
