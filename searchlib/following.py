"""One look at a folder that an index follows: which of its files changed, which are gone."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from indexes.snapshot import Snapshot

from .claims import Claim, Claims
from .errors import BadDocument, BadInput
from .formats.folders import Unlisted
from .formats.options import BadLine, ReadOptions
from .formats.read import folder_files, read_member
from .indexing import no_progress
from .intake import Sourced, checked_hash, words_hash
from .protocols import Progress

COMPARING = "comparing"  # a progress note
ALLOW = "if they are meant to go, allow it to be empty (--allow-empty)"
READER = b"2"  # another number makes every file be read again: for readers that read otherwise


class FolderSync:
    """One run over `folder`, whose claims are compared with the index's `snapshot`.

    First it is found out which files hold what they held, by their content; `documents` then
    reads the others, and `vanished` tells what nothing was seen of. `allow_empty`: the folder may
    have lost all its documents, or be gone itself.

    Raises:
        BadInput: there is no such folder, or it or a file cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        options: ReadOptions,
        claims: Claims,
        snapshot: Snapshot,
        on_bad: Callable[[str], None],
        *,
        on_progress: Progress = no_progress,
        allow_empty: bool = False,
    ) -> None:
        self.started = time.monotonic()
        self.folder = folder.resolve()
        self.skipped = 0
        self.unchanged = 0  # documents of files that were not read again
        self.known = 0  # passages of these
        self._options = replace(options, on_bad=self._bad_line)
        self._claims = claims
        self._snapshot = snapshot
        self._on_bad = on_bad
        self._on_progress = on_progress
        self._allow_empty = allow_empty
        self._name = os.fsencode(self.folder)
        self._faulty: set[bytes] = set()  # files that are there but could not be read whole
        self._unlisted: tuple[bytes, ...] = ()  # how names of files begin that cannot be known of
        self._file = b""  # that is being read
        self._digests = dict(self._digested(self._paths()))
        self._settle()
        self._kept = self._still_true()

    def documents(self) -> Iterator[Sourced]:
        """The documents of files that are new or changed, claimed for the folder."""
        for file, digest in self._digests.items():
            if file in self._kept:
                continue
            self._file = file
            self._claims.forget_file(self._name, file)
            try:
                yield from self._read(file)
            except BadInput as error:
                self._fault(str(error))
            if file not in self._faulty:
                self._claims.read(self._name, file, digest)

    def vanished(self) -> Iterator[list[Claim]]:
        """The folder's claims to documents that are in none of its files any more."""
        for some in self._claims.of_folder(self._name):
            yield [
                claim
                for claim in some
                if claim.file not in self._kept
                and claim.file not in self._faulty
                and not claim.file.startswith(self._unlisted)
                and not self._claims.was_seen(claim.id)
            ]

    def vanished_files(self) -> list[bytes]:
        """Files that were read once and are gone."""
        there = self._digests.keys() | self._faulty
        known = self._claims.digests(self._name)
        return [file for file in known if file not in there and not file.startswith(self._unlisted)]

    def check_not_emptied(self, seen: int) -> None:
        """Refuse to go on where nothing at all is left of what the folder once held."""
        if self._allow_empty or seen or self.unchanged or self._faulty:
            return
        if lost := self._claims.count(self._name):
            raise BadInput(
                f"{self.folder} holds no documents now, but {lost} of the index came from it; "
                f"nothing was removed: {ALLOW}"
            )

    # --- inside

    def _paths(self) -> list[Path | Unlisted]:
        """The folder's files."""
        if not self.folder.exists() and (lost := self._claims.count(self._name)):
            if not self._allow_empty:
                raise BadInput(
                    f"no such folder: {self.folder}; {lost} documents came from it: {ALLOW}"
                )
            return []
        return folder_files(self.folder, self._options)

    def _digested(self, found: list[Path | Unlisted]) -> Iterator[tuple[bytes, bytes]]:
        for path in found:
            if isinstance(path, Unlisted):
                self._file = os.fsencode(path.path.relative_to(self.folder))
                self._unlisted += (self._file + os.fsencode(os.sep),)
                self._fault(str(path))
                continue
            file = self._file = os.fsencode(path.relative_to(self.folder))
            self._on_progress(0, None, COMPARING)
            try:
                with path.open("rb") as content:
                    digest = hashlib.file_digest(content, lambda: self._blank)
            except OSError as error:
                self._fault(f"cannot read {path}: {error.strerror}")
                continue
            yield file, digest.digest()

    @property
    def _blank(self) -> hashlib.blake2b:
        # subtle: the options are part of it, as they say what becomes of the bytes
        o = self._options
        asked = repr((o.id, o.title, o.text, o.metadata, o.format, o.encoding))
        digest = hashlib.blake2b(digest_size=16, person=READER)
        digest.update(hashlib.blake2b(asked.encode("utf-8", "surrogatepass")).digest())
        return digest

    def _still_true(self) -> set[bytes]:
        """Files that hold what they held, and whose documents are in the index as claimed."""
        known = self._claims.digests(self._name)
        kept = {file for file, digest in self._digests.items() if known.get(file) == digest}
        untrue: set[bytes] = set()
        documents: dict[bytes, int] = {}
        passages: dict[bytes, int] = {}
        for some in self._claims.of_folder(self._name):
            self._on_progress(0, None, COMPARING)
            ids = [claim.id for claim in some]
            hashes = self._snapshot.hashes(ids)
            numbers = self._snapshot.lookup(ids)
            counts = iter(self._snapshot.passages_of_each(numbers[numbers >= 0])[1].tolist())
            for claim, number in zip(some, numbers.tolist(), strict=True):
                count = next(counts) if number >= 0 else 0
                documents[claim.file] = documents.get(claim.file, 0) + 1
                passages[claim.file] = passages.get(claim.file, 0) + count
                if hashes.get(claim.id) != claim.hash:
                    untrue.add(claim.file)
        kept -= untrue
        self.unchanged = sum(documents.get(file, 0) for file in kept)
        self.known = sum(passages.get(file, 0) for file in kept)
        return kept

    def _settle(self) -> None:
        """Take back claims of a sync that was cut short before the index was committed."""
        while some := self._claims.unsettled():
            for claim in some:
                stale = words_of(self._snapshot, [claim.id]) == [claim.before]
                # no content is that of no hash: the file is read again
                old = replace(claim, hash=b"", words=claim.before) if stale else claim
                self._claims.claim(replace(old, before=b""))

    def _read(self, file: bytes) -> Iterator[Sourced]:
        path = self.folder / os.fsdecode(file)
        for document, origin in read_member(self.folder, path, self._options):
            try:
                hash = checked_hash(document, origin)
            except BadDocument as error:
                self._fault(str(error))
                continue
            words = words_hash(document.title, document.text)
            claim = Claim(document.id, self._name, file, hash, words)
            other = self._claims.of(claim.id)
            if problem := self._objection(claim, other, origin):
                self._fault(problem)
                continue
            if other is not None and other.words != words:
                claim = replace(claim, before=other.words)
            if claim != other:
                self._claims.claim(claim)
            yield document, origin

    def _objection(self, claim: Claim, other: Claim | None, origin: str) -> str:
        """Why a document cannot be taken, or nothing. `other`: the claim that there is to it."""
        if other is not None and other.folder != self._name:
            folder = os.fsdecode(other.folder)
            if Path(folder).is_dir():  # else it was moved here
                return f"{origin}: id {claim.id!r} is that of a document of {folder}, synced before"
        first = other is not None and other.folder == self._name and other.file in self._kept
        if first or self._claims.seen(claim.id):
            where = f" in {os.fsdecode(other.file)}" if other is not None else ""
            return f"{origin}: id {claim.id!r} was already given{where}; ids must be unique"
        return ""

    def _bad_line(self, bad: BadLine | BadDocument) -> None:
        self._fault(str(bad))

    def _fault(self, problem: str) -> None:
        """Something in a file cannot be used: what came from it earlier stays as it is."""
        if not self._options.skip_bad:
            raise BadDocument(problem)
        self._faulty.add(self._file)
        self.skipped += 1
        self._on_bad(problem)


def words_of(snapshot: Snapshot, ids: Sequence[str]) -> list[bytes]:
    """Hashes of titles and texts of those of the documents that are there."""
    numbers = snapshot.lookup(ids)
    records = snapshot.records(numbers[numbers >= 0])
    return [words_hash(record.title, record.text) for record in records]
