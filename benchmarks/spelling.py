"""What respelling is worth: queries as they are, and with one slip of the pen in each.

A slip is a letter left out, put in, taken for another, or changing places with the next, anywhere
but at the beginning of a word of five letters or more; drawn from a seed. Answered without and with
respelling (see `searchlib.spelling`); at most --queries a collection, drawn. With --quick: 20.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from statistics import mean

from blending import difference
from effectiveness import add_collections, add_place, chosen_collections, drawn, opened
from quoting import MEASURE, RETRIEVERS, measured
from report import one_line_errors, parser, provenance, say

from searchlib import Settings
from searchlib.evaluation import compare

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_WORD = re.compile("[A-Za-z]{5,}")


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/spelling.py --data path/to/beir --queries 300")
    add_collections(made)
    made.add_argument("--queries", type=int, help="at most so many a collection, drawn")
    made.add_argument("--changes", action="store_true", help="say how queries are read, on stderr")
    add_place(made)
    return made.parse_args()


def slipped(query: str, rng: random.Random) -> str:
    """The query with one slip in one of its longer words; as it is where it has none.

    >>> slipped("how do leaves turn yellow", random.Random(1))
    'how do laves turn yellow'
    """
    words = list(_WORD.finditer(query))
    if not words:
        return query
    at = rng.choice(words)
    word = at.group()
    place, letter = rng.randrange(1, len(word) - 1), rng.choice(ALPHABET)
    before, here, after = word[:place], word[place], word[place + 1 :]
    slips = (
        before + after,
        before + letter + here + after,
        before + letter + after,
        before + after[0] + here + after[1:],
    )
    return query[: at.start()] + rng.choice(slips) + query[at.end() :]


def main() -> None:
    options = arguments()
    print(f"| {MEASURE} | queries | read otherwise | without | respelled | difference |")
    print("|---|---|---|---|---|---|")
    with one_line_errors():
        say(json.dumps(provenance()))
        for collection in chosen_collections(options):
            topics, qrels = drawn(collection, options)
            rng = random.Random(collection.name)
            kinds = {
                "as they are": topics,
                "a slip in each": {id: slipped(text, rng) for id, text in sorted(topics.items())},
            }
            with opened(collection, Settings(), options.cache, options.device) as engine:
                for kind, asked in kinds.items():
                    read = [engine.respelled(text).changes for text in asked.values()]
                    if options.changes:
                        pairs = [f"{typed} -> {to}" for some in read for typed, to in some]
                        say(f"{collection.name}, {kind}: {', '.join(pairs)}")
                    for name in RETRIEVERS:
                        plain, respelled = measured(engine, asked, qrels, name)
                        means = mean(plain.values()), mean(respelled.values())
                        print(
                            f"| {collection.name}, {kind}, {name} | {len(asked)} "
                            f"| {sum(map(bool, read))} | {means[0]:.4f} | {means[1]:.4f} "
                            f"| {difference(compare(respelled, plain))} |"
                        )


if __name__ == "__main__":
    main()
