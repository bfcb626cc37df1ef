"""An open index: one commit of it, and the encoders that belong to it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from indexes.directory import FileDirectory
from indexes.errors import Closed, NoIndex
from indexes.snapshot import Snapshot

from .budget import MEMORY, check_memory
from .encoders.analyzer import Analyzer
from .errors import BadQuery
from .protocols import Encoder, Splitter
from .query_cache import QueryCache
from .recorded import recorded_settings
from .representations import (
    check_fingerprint,
    make_encoder,
    make_splitter,
    make_static_queries,
)
from .scorer import Scorer

if TYPE_CHECKING:
    from .encoders.lookup import LookupEncoder
    from .encoders.static_queries import StaticQueries
    from .spelling import Speller


class Opened:
    """The index in folder `path` as of one commit, `snapshot`, until it is refreshed.

    Several threads may ask, also while one writes. A process that was forked opens it anew, as
    SQLite's connections are not carried across.

    `device`: "cpu", "cuda", "cuda:1", "mps" or None for the best there is. `memory`: bytes that
    indexing may hold beside the models, at least 64 MB.
    """

    def __init__(self, path: Path, snapshot: Snapshot, device: str | None, memory: int) -> None:
        check_memory(memory)
        self.path = path
        self.folder = path.absolute()  # the same after the working folder was changed
        self._snapshot: Snapshot | None = snapshot
        self.settings = recorded_settings(snapshot, path)
        self._device = device
        self._memory = memory
        self._caches: dict[str, QueryCache] = {}
        self._scorers: dict[str, Scorer] = {}  # made of `snapshot` (see `Retrieving`)
        self._spellers: list[Speller] = []  # one, once it is made; of `snapshot` too
        self._encoders: dict[str, Encoder] = {}
        self._lookups: list[LookupEncoder] = []  # so
        self._statics: list[StaticQueries | None] = []
        self._changing = threading.RLock()  # `snapshot`, and what is made of it

    @classmethod
    def open(cls, path: str | Path, *, device: str | None = None, memory: int = MEMORY) -> Self:
        """The index in folder `path`; models are loaded when they are first needed.

        Raises:
            NoIndex: there is none.
            Damaged: a file is missing or not what the manifest says.
        """
        return cls(Path(path), Snapshot.open(path), device, memory)

    def close(self) -> None:
        """Let go of the index's files; nothing can be asked or written afterwards."""
        with self._changing:
            if self._snapshot is not None:
                self._snapshot.close()
            self._snapshot = None
            self._scorers.clear()
            self._spellers.clear()
            self._forget_encoders()

    @property
    def snapshot(self) -> Snapshot:
        """The commit that is searched. Raises Closed where the index is closed."""
        if self._snapshot is None:
            raise Closed(f"{self.path} was closed; open it again")
        return self._snapshot

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def refresh(self) -> None:
        """See what other processes have committed since this index was opened.

        Searches that other threads are at, and retrievers that were made before, keep the commit
        that they began with: its files are closed with the last of them.

        Raises:
            Damaged: a file is missing or not what the manifest says; nothing has changed then.
        """
        self._refreshed()

    def _refreshed(self) -> Snapshot:
        """The last commit, from now on the one that is searched."""
        with self._changing:  # subtle: from the start, or an older commit could come in last
            fields = self.snapshot.fields
            snapshot = Snapshot.open(self.folder)
            try:
                settings = recorded_settings(snapshot, self.path)
            except BaseException:
                snapshot.close()
                raise
            self._snapshot = snapshot
            self._scorers.clear()
            self._spellers.clear()
            if settings != self.settings or snapshot.fields != fields:  # it was re-encoded
                self.settings = settings
                self._forget_encoders()
            return snapshot

    def _forget_encoders(self) -> None:
        for made in (self._caches, self._encoders, self._lookups, self._statics):
            made.clear()

    # -- retrievers

    def retriever_names(self) -> list[str]:
        """What `retriever=` accepts here."""
        names = ["bm25", "bm25_passage"]
        if "sparse" in self.snapshot.fields:
            names += ["sparse", "lookup"]
        if "dense" in self.snapshot.fields:
            names.append("dense")
            if self._static is not None:
                names.append("static")
        names.append("hybrid")
        if "lookup" in names or "static" in names:
            names.append("instant")
        return names

    # -- looking inside

    def info(self) -> dict[str, Any]:
        """What the index holds and what it was made with, as JSON values.

        `bytes`: of all files in its folder now, whichever commit they are of; `merge` and
        `vacuum` count the same.

        Raises:
            NoIndex: the folder was removed meanwhile.
        """
        snapshot = self.snapshot
        return {
            "path": str(self.path),
            "generation": snapshot.generation,
            "documents": snapshot.n_documents,
            "passages": snapshot.n_passages,
            "segments": snapshot.n_segments,
            "bytes": self._bytes_on_disk(),
            "retrievers": self.retriever_names(),
            "fields": {
                name: {"unit": spec.unit, **spec.encoder} for name, spec in snapshot.fields.items()
            },
            "settings": self.settings.to_json(),
        }

    def _bytes_on_disk(self) -> int:
        try:
            return sum(FileDirectory(self.folder).sizes().values())
        except FileNotFoundError:
            raise NoIndex(f"{self.path} is not there any more") from None

    def verify(self) -> list[str]:
        """Problems found by reading every file of the index's last commit; none if it is sound."""
        from .verifying import problems_of

        found, beside = problems_of(self.folder, lambda done, total, note="": None)
        return [*found, *beside]

    def splitter(self) -> Splitter:
        """How the documents that are here were cut into passages.

        Raises:
            ModelMismatch, ModelNotFound: it is not known, for want of the model that says so.
        """
        with self._changing:
            # subtle: the analyzer has no say in it, and may be another since
            return make_splitter(self.settings, self._encoders_of("sparse", "dense"))

    # -- encoders

    def _query_cache(self, name: str) -> QueryCache:
        known = self._caches.get(name)  # without the lock: others may be loading under it
        if known is not None:
            return known
        with self._changing:
            if name not in self._caches:
                self._caches[name] = QueryCache(self._checked_encoder(name))
            return self._caches[name]

    def _checked_encoder(self, name: str) -> Encoder:
        if name == "lookup":
            return self._lookup
        if name == "static":
            assert self._static is not None
            return self._static
        if name not in self.snapshot.fields:
            raise BadQuery(
                f"this index was made without {name} vectors; it has "
                f"{', '.join(self.retriever_names())}"
            )
        encoder = self._encoder(name)
        check_fingerprint(self.snapshot.fields[name], encoder)
        return encoder

    def _encoder(self, name: str) -> Encoder:
        with self._changing:
            if name not in self._encoders:
                self._encoders[name] = make_encoder(name, self.settings, self._device, self._dense)
            return self._encoders[name]

    def _dense(self) -> Encoder | None:
        return self._encoder("dense") if "dense" in self.snapshot.fields else None

    def _document_encoders(self) -> dict[str, Encoder]:
        return self._encoders_of("bm25", "sparse", "dense")

    def _encoders_of(self, *fields: str) -> dict[str, Encoder]:
        """The encoders of those fields that there are, all of one commit."""
        with self._changing:
            there = [name for name in fields if name in self.snapshot.fields]
            return {name: self._query_cache(name).encoder for name in there}

    def _analyzer(self) -> Analyzer:
        encoder = self._query_cache("bm25").encoder
        assert isinstance(encoder, Analyzer)
        return encoder

    @property
    def _lookup(self) -> LookupEncoder:
        from .encoders.lookup import LookupEncoder

        with self._changing:
            if not self._lookups:
                model, queries = self.settings.sparse_model, self.settings.sparse_queries
                assert model is not None
                made = LookupEncoder(model, self._device, queries=queries, static=self._static)
                self._lookups.append(made)
            return self._lookups[0]

    @property
    def _static(self) -> StaticQueries | None:
        """The table for queries of the index's dense model; None where there is none."""
        with self._changing:
            if not self._statics:
                self._statics.append(make_static_queries(self.settings, self.snapshot.fields))
            return self._statics[0]
