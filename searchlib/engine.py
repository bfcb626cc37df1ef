"""The facade: one object to create or open an index, add, delete, search, explain and expand."""

from __future__ import annotations

import functools
from pathlib import Path

from indexes.writer import Writer

from .budget import MEMORY, check_memory
from .config import Settings
from .indexing import AddReport, no_progress
from .protocols import Progress
from .representations import check_static_queries, make_encoders, make_fields
from .writing import Writing


class Engine(Writing):
    """An index on disk and the encoders that belong to it.

    >>> import tempfile
    >>> from searchlib import Document
    >>> folder = tempfile.mkdtemp() + "/songs.index"
    >>> settings = Settings(dense_model=None, sparse_model=None)
    >>> with Engine.create(folder, settings) as engine:
    ...     report = engine.add([Document("a", "The blues band played their best songs")])
    ...     [hit.id for hit in engine.search("best song")]
    ['a']
    """

    @staticmethod
    def create(
        path: str | Path,
        settings: Settings | None = None,
        *,
        device: str | None = None,
        memory: int = MEMORY,
    ) -> Engine:
        """A new, empty index in folder `path`.

        `device`: "cpu", "cuda", "cuda:1", "mps" or None for the best there is. `memory`: bytes
        that indexing may hold beside the models, at least 64 MB.

        Raises:
            IndexExists: there is something at `path` already.
            ModelNotFound: a model's files are nowhere to be found.
            ModelMismatch: the table of query vectors is for another dense model.
            BadInput: `memory` is below 64 MB.
        """
        check_memory(memory)
        settings = (settings or Settings()).resolved()
        fields = tuple(make_fields(settings, make_encoders(settings, device)))
        if settings.static_queries != Settings.static_queries:
            check_static_queries(settings, {spec.name: spec for spec in fields})
        Writer.create(path, fields, settings.to_json()).close()
        return Engine.open(path, device=device, memory=memory)

    def reencode(
        self,
        settings: Settings,
        *,
        on_progress: Progress = no_progress,
        cache: str | Path | None = None,
    ) -> AddReport:
        """Make the index what it would be had it been created with these settings.

        The new one is made beside, from the documents that are here, and takes over in one
        commit; until then the old one serves, and may be written to. What both settings encode
        alike is not encoded again. An interrupted run, repeated, goes on where it stopped. The
        disk holds both meanwhile. With the settings that it has, an index is made anew only if a
        model was changed; where only settings change that no row depends on (`config.ANSWERING`),
        nothing is encoded. Those that others changed since this engine was opened or refreshed
        (`tune`) stay as they are by then, unless `settings` change them too.

        Raises:
            BadInput: a re-encoding with other settings was begun (see `abandon_reencoding`).
            Locked: another process is at work on the same, or does not end to write.
            ModelNotFound: a model's files are nowhere to be found.
            ModelMismatch: the table of query vectors is for another dense model; or the index was
                encoded anew meanwhile.
        """
        from .successor import reencode

        settings = settings.resolved()
        encoders = make_encoders(settings, self._device)
        fields = {spec.name: spec for spec in make_fields(settings, encoders)}
        check_static_queries(settings, fields)
        return reencode(
            self,
            settings,
            fields,
            open_new=functools.partial(Engine.open, device=self._device, memory=self._memory),
            create=functools.partial(Engine.create, device=self._device, memory=self._memory),
            on_progress=on_progress,
            cache=cache,
        )

    def abandon_reencoding(self) -> None:
        """Give up a re-encoding that was begun and not finished, if there is one.

        Raises:
            Locked: a process is at work on it.
        """
        from .successor import FOLDER, discard

        discard(self.folder / FOLDER)
