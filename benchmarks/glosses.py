"""WordNet's glosses as a corpus: the text that searchlib/encoders/gloss and glance were fitted on.

    python benchmarks/glosses.py DICT > build/glosses.jsonl
    searchlib index build/glosses.index build/glosses.jsonl --sparse-model rasyosef/splade-tiny
    searchlib blend build/glosses.index --sample 200000 --any-version --out gloss
    searchlib glance build/glosses.index --sample 200000 --runs 90000 --epochs 4 --from-scratch \
        --any-version --out glance

DICT: the folder with WordNet's data.noun, data.verb, data.adj and data.adv (Fellbaum 1998;
wordnet.princeton.edu, Debian's package wordnet-base, version 3.0). No collection that searchlib
is measured on is in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

FILES = ("data.noun", "data.verb", "data.adj", "data.adv")


def glosses(folder: Path) -> Iterator[dict[str, str]]:
    """A document a synset: its words are the title, its definition and examples the text.

    The format is wndb(5WN)'s: offset, file, kind, number of words (hexadecimal), the words with a
    number each, ... | gloss. Lines of the licence begin with two spaces.
    """
    for name in FILES:
        with (folder / name).open(encoding="latin-1") as lines:
            for line in lines:
                if line.startswith("  "):
                    continue
                head, gloss = line.split(" | ", 1)
                parts = head.split()
                words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
                title = ", ".join(word.replace("_", " ") for word in words)
                yield {"_id": f"{parts[2]}{parts[0]}", "title": title, "text": gloss.strip()}


def main() -> None:
    """Write JSON Lines to stdout."""
    if len(sys.argv) != 2 or not all((Path(sys.argv[1]) / name).is_file() for name in FILES):
        sys.exit(f"usage: python benchmarks/glosses.py DICT; DICT holds {', '.join(FILES)}")
    for document in glosses(Path(sys.argv[1])):
        print(json.dumps(document, ensure_ascii=False))


if __name__ == "__main__":
    main()
