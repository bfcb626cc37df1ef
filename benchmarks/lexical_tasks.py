"""BM25 against tantivy and bm25s: query time, rankings, batches, building from terms and texts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lexical_peers
from comparison import Comparison
from engine_room import OURS, RECORDS_AT_ONCE, Searcher, structures
from oracle import Oracle
from report import Result, judged, say
from rounds import installed, ratio, turns
from workplace import Workplace

from searchlib.encoders.analyzer import Analyzer

DEPTHS = (10, 100, 1000)
SEVERAL = 50_000  # documents from which on the targets hold
FROM_TEXT = 100_000
TARGETS = (  # the peer, the quantile of times, how many times as fast
    ("tantivy", 50, ">= 1.2"),
    ("tantivy", 95, ">= 2"),
    ("bm25s-numba", 50, ">= 2"),
    ("bm25s-numba", 95, ">= 2"),
)


def bm25(place: Workplace) -> Iterator[Result]:
    """Every system over the first lines, and over all of them."""
    for size in _sizes(place):
        say(f"bm25: analysing {size:,} lines")
        questions = place.material.all_questions[: 2 * place.asked]
        terms = lexical_peers.Terms.of(place.material.texts(size), questions)
        folder = place.folder / f"bm25-{size}"
        folder.mkdir(parents=True)
        made = lexical_peers.ours(folder / "ours.index", terms)
        systems: dict[str, Searcher] = {OURS: made}
        for peer in lexical_peers.peers(folder, terms, place.without):
            systems[peer.name] = peer
        yield from _builds(systems, terms, size)
        postings = sum(len(batch.values) for batch in terms.batches)
        yield from structures("bm25", made, size, postings, folder)
        oracle, asked = Oracle(*lexical_peers.impacts(terms)), len(terms.queries)
        compared = Comparison(systems, oracle, size, asked, place.rounds)
        for k in DEPTHS:
            say(f"bm25: {size:,} documents, k={k}")
            yield from _queries(compared, k)
        for threads in place.threads:
            yield from _batches(compared, threads)


def _sizes(place: Workplace) -> list[int]:
    if place.quick:
        return [5_000]
    # of given lines no more than there are: real ones only
    most = len(place.material.real_texts) if place.material.lines else max(place.sizes)
    return sorted({min(size, most) for size in place.sizes})


def _builds(
    systems: dict[str, Searcher], terms: lexical_peers.Terms, size: int
) -> Iterator[Result]:
    postings = sum(len(batch.values) for batch in terms.batches)
    for name, system in systems.items():
        yield Result(name, "bm25: build", size, "docs/s/core", size / system.build[1])
        yield Result(name, "bm25: size", size, "bytes/posting", system.nbytes / postings)
        yield Result(name, "bm25: size", size, "MB", system.nbytes / 1e6)


def _queries(compared: Comparison, k: int) -> Iterator[Result]:
    task, size = f"bm25, k={k}", compared.size
    times, results = compared.queries(task, k)
    yield from results
    stated = k == 10 and size >= SEVERAL
    for peer, quantile, target in TARGETS:
        if peer in times:
            value, _ = ratio(times, OURS, [peer], quantile)
            made = Result(OURS, task, size, f"p{quantile} x {peer}", value)
            yield judged(made, target) if stated else made


def _batches(compared: Comparison, threads: int) -> Iterator[Result]:
    found = list(compared.batches("bm25", threads))
    yield from found
    rates = {result.system: result.value for result in found}
    if "bm25s-numba" in rates:
        value = rates[OURS] / rates["bm25s-numba"]
        made = Result(OURS, found[0].task, compared.size, "x bm25s-numba", value)
        yield judged(made, ">= 1") if compared.size >= SEVERAL else made


def text(place: Workplace) -> Iterator[Result]:
    """Building from text, tokenising included: documents per CPU second.

    "searchlib, structures": analyzer and inverted file, which is all that bm25s makes;
    "searchlib": `Engine.add`, with texts, passages and change detection besides.
    """
    size = 2_000 if place.quick else min(FROM_TEXT, max(place.sizes))
    texts = place.material.texts(size)
    with tempfile.TemporaryDirectory(dir=place.folder) as name:
        folder = Path(name)
        actions: dict[str, Callable[[], object]] = {
            OURS: lambda: _engine(folder, texts),
            f"{OURS}, structures": lambda: _structures(folder, texts),
        }
        if installed("bm25s", "bm25s"):
            actions["bm25s"] = lambda: _bm25s(folder, texts)
        if installed("tantivy", "tantivy"):
            actions["tantivy"] = lambda: _tantivy(folder, texts)
        found = turns(actions, place.rounds)
    task = "build from text"
    for system, (wall, cpu) in found.items():
        yield Result(system, task, size, "docs/s/core", size / cpu)
        yield Result(system, task, size, "docs/s", size / wall)
    for system in (OURS, f"{OURS}, structures"):
        if "bm25s" in found:
            made = Result(system, task, size, "x bm25s", found["bm25s"][1] / found[system][1])
            yield judged(made, ">= 2") if size >= SEVERAL else made


def _fresh(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder)) / "index"


def _engine(folder: Path, texts: list[str]) -> None:
    from searchlib import Document, Engine, Settings

    settings = Settings(dense_model=None, sparse_model=None)
    with Engine.create(_fresh(folder), settings, memory=1 << 30) as engine:
        engine.add(Document(str(i), text) for i, text in enumerate(texts))


def _structures(folder: Path, texts: list[str]) -> None:
    analyzer = Analyzer()
    starts = range(0, len(texts), RECORDS_AT_ONCE)
    batches = [analyzer.encode_document(texts[s : s + RECORDS_AT_ONCE]) for s in starts]
    lexical_peers.write_counts(_fresh(folder), batches)


def _bm25s(folder: Path, texts: list[str]) -> None:
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("porter")
    tokens = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    retriever = bm25s.BM25(method="lucene")
    retriever.index(tokens, show_progress=False)
    retriever.save(str(_fresh(folder)), show_progress=False)


def _tantivy(folder: Path, texts: list[str]) -> None:
    import tantivy

    path = _fresh(folder)
    path.mkdir()
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name="en_stem", index_option="freq")
    index = tantivy.Index(builder.build(), path=str(path))
    writer = index.writer(heap_size=lexical_peers.HEAP, num_threads=1)
    for text in texts:
        document = tantivy.Document()
        document.add_text("text", text)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
