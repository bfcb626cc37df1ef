"""The way in: finds out what a source is, and reads its documents one after the other."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from ..errors import BadDocument, BadInput
from ..types import Document
from .files import read_html, read_markdown, read_pdf, read_text
from .jsonl import read_json, read_jsonl
from .options import BadLine, Item, ReadOptions
from .streams import COMPRESSED, Source, open_source
from .tables import read_csv, read_msmarco, read_parquet, read_tsv
from .trec import read_trec

READERS: dict[str, Callable[[Source, ReadOptions], Iterator[Item]]] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "tsv": read_tsv,
    "msmarco": read_msmarco,
    "parquet": read_parquet,
    "trec": read_trec,
    "text": read_text,
    "markdown": read_markdown,
    "html": read_html,
    "pdf": read_pdf,
}

_BY_NAME = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
    ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet", ".trec": "trec", ".sgml": "trec",
    ".sgm": "trec", ".txt": "text", ".text": "text", ".rst": "text", ".md": "markdown",
    ".markdown": "markdown", ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf",
}  # fmt: skip
_SNIFFED = 4096  # bytes
_SAMPLED = 4 << 20  # bytes
_DEFAULTS = ReadOptions()


def read_documents(
    source: str | Path, options: ReadOptions = _DEFAULTS
) -> Iterator[tuple[Document, str]]:
    """Each document of the source and where it stands ("file:line"), read as it is asked for.

    source: a file, a folder, or "-" for stdin (JSON Lines unless its first bytes or
        `options.format` say otherwise); compressed or not. A folder with `corpus.jsonl` in it is
        read as a BEIR collection: only that file, as is one with `corpus` and `queries` in it,
        folders of files: only the former; of any other all files of known kinds are read, in the
        order of their names, except hidden ones.
    A file that is one document (text, Markdown, HTML, PDF) has its name as id, with the folders
    from the source on ("songs/blues.txt"); a record without an id has its file's name and line
    ("notes.jsonl:7").

    Raises BadInput, as one line: nothing there, nothing in it, not readable; BadDocument for the
    first document that cannot be read, unless `options.skip_bad`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "songs.csv")
    >>> _ = path.write_text("id,title,text,year\\na,Blues,Woke up this morning,1936\\n")
    >>> [document for document, origin in read_documents(path)]
    [Document(id='a', text='Woke up this morning', title='Blues', metadata={'year': 1936})]
    """
    if options.format is not None and options.format not in READERS:
        raise BadInput(f"unknown format {options.format!r}; allowed: {', '.join(READERS)}")
    good = bad = 0
    for item in _items(source, options):
        if isinstance(item, BadLine):
            bad += 1
            _pass_over(item, options)
        else:
            good += 1
            yield item
    if not good:
        could = f" that can be read ({bad} cannot)" if bad else ""
        raise BadInput(f"{_called(source)} holds no documents{could}")


def count_hint(source: str | Path, options: ReadOptions = _DEFAULTS) -> int | None:
    """About how many documents the source holds, found cheaply; None: that takes reading it."""
    path = Path(source)
    if str(source) == "-" or not path.exists():
        return None
    if path.is_dir():
        corpus = _beir(path)
        return count_hint(corpus, options) if corpus else sum(1 for _ in _files(path))
    format = options.format or _by_name(path)
    try:
        if format == "parquet":
            import pyarrow.parquet

            return int(pyarrow.parquet.read_metadata(path).num_rows)
        if format in ("jsonl", "csv", "tsv", "msmarco") and path.suffix not in COMPRESSED:
            with path.open("rb") as file:
                sample = file.read(_SAMPLED)
            return round(max(1, sample.count(b"\n")) * path.stat().st_size / max(1, len(sample)))
    except Exception:  # whatever is wrong with it is said when it is read
        return None
    return 1 if format in ("text", "markdown", "html", "pdf") else None


def folder_files(folder: Path) -> list[Path]:
    """The files that `read_documents` reads of a folder, in its order.

    Raises BadInput where there is no such folder, or one in it cannot be listed.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "there is none"
        raise BadInput(f"no such folder: {folder} ({what})")
    corpus = _beir(folder)
    return [corpus] if corpus is not None and corpus.is_file() else list(_files(corpus or folder))


def read_member(
    folder: Path, path: Path, options: ReadOptions = _DEFAULTS
) -> Iterator[tuple[Document, str]]:
    """The documents of one of a folder's files, as `read_documents` of the folder gives them.

    Raises BadInput where it cannot be read; BadDocument as `read_documents`.
    """
    for item in _read_member(path, path.relative_to(folder).as_posix(), options):
        if isinstance(item, BadLine):
            _pass_over(item, options)
        else:
            yield item


def _pass_over(bad: BadLine, options: ReadOptions) -> None:
    if not options.skip_bad:
        raise BadDocument(str(bad))
    if options.on_bad is not None:
        options.on_bad(bad)


def _items(source: str | Path, options: ReadOptions) -> Iterator[Item]:
    path = Path(source)
    if not str(source).strip():
        raise BadInput("the source has no name; give a file, a folder, or - for stdin")
    if str(source) == "-":
        yield from _read_file(None, "stdin", options)
    elif path.is_dir() and _is_index(path):
        raise BadInput(f"{source} is an index, not documents; the index comes first, then these")
    elif path.is_dir():
        corpus = _beir(path)
        if corpus is not None and corpus.is_file() and options.format in (None, "jsonl"):
            yield from _read_file(corpus, corpus.name, options)
        else:
            yield from _read_folder(path, options)
    elif path.exists():
        yield from _read_file(path, path.name, options)
    else:
        raise BadInput(f"no such file or folder: {source}{_hint(path)}")


def _read_file(path: Path | None, id: str, options: ReadOptions) -> Iterator[Item]:
    with open_source(path, id) as source:
        format = options.format or _kind(path, source) or ("jsonl" if path is None else None)
        if format is None:
            raise BadInput(
                f"{path}: what kind of file is it? give the format: {', '.join(READERS)}"
            )
        yield from READERS[format](source, options)


def _read_folder(folder: Path, options: ReadOptions) -> Iterator[Item]:
    corpus = _beir(folder)
    for path in _files(corpus if corpus is not None and corpus.is_dir() else folder):
        yield from _read_member(path, path.relative_to(folder).as_posix(), options)


def _read_member(path: Path, id: str, options: ReadOptions) -> Iterator[Item]:
    with open_source(path, id) as source:
        format = options.format or _kind(path, source)
        if format is not None:
            yield from READERS[format](source, options)
    if format is None and options.on_skip is not None:
        options.on_skip(str(path))


def _files(folder: Path) -> Iterator[Path]:
    """The folder's files in the order of their names, without hidden ones and odd ones."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise BadInput(f"cannot read {folder}: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink() and not _is_index(entry):  # a link could lead in a circle
                yield from _files(entry)
        elif entry.is_file():
            yield entry


def _is_index(folder: Path) -> bool:
    """Whether it is one of our own indexes: `searchlib index here.index .` must not eat itself."""
    try:
        with (folder / "manifest.json").open("rb") as file:
            return b'"searchlib index"' in file.read(200)
    except OSError:
        return False


def _beir(folder: Path) -> Path | None:
    """Where the documents of a BEIR folder are, a file or, beside `queries`, a folder."""
    for name in (f"corpus.jsonl{suffix}" for suffix in ("", *COMPRESSED)):
        if (folder / name).is_file():
            return folder / name
    parted = (folder / "corpus").is_dir() and (folder / "queries").is_dir()
    return folder / "corpus" if parted else None


def _kind(path: Path | None, source: Source) -> str | None:
    """The file's format by its name, else by how it begins; None if neither tells."""
    by_name = _by_name(path) if path is not None else None
    head = cast(io.BufferedReader, source.stream).peek(_SNIFFED)[:_SNIFFED]
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if by_name == "json" and head.startswith(b"{") and _is_line(head):
        return "jsonl"
    if by_name == "text" and head[:5].upper() == b"<DOC>":
        return "trec"
    if by_name is not None:
        return by_name
    if head.startswith(b"%PDF-"):
        return "pdf"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"{"):
        return "jsonl"
    if head.startswith(b"["):
        return "json"
    if head[:5].upper() == b"<DOC>":
        return "trec"
    return "html" if head[:14].lower().startswith((b"<!doctype html", b"<html")) else None


def _is_line(head: bytes) -> bool:
    """Whether the first line is an object of its own, not the beginning of a longer one."""
    line = head.split(b"\n", 1)[0].rstrip()
    return len(line) == len(head) or line.endswith(b"}")


def _by_name(path: Path) -> str | None:
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return _BY_NAME.get(name.suffix.lower())


def _hint(path: Path) -> str:
    """Names what is there and looks alike."""
    parent = path.parent
    try:
        names = [entry.name for entry in parent.iterdir()]
    except OSError:
        return f" (nor is there a folder {parent})" if not parent.exists() else ""
    close = get_close_matches(path.name, names, 1)
    return f"; did you mean {parent / close[0]}?" if close else ""


def _called(source: str | Path) -> str:
    return "stdin" if str(source) == "-" else str(source)
