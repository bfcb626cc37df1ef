"""What a blend folder says: which two models, and how much the dense one's predictions count."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnsupportedModel
from .layout import digest_of
from .models import resolve
from .weights import Weights, read_json

FOLDER = "blend"  # in a model's
CONFIG = "blend.json"
OWN = "."  # as the sparse model: that of the folder which the blend's is in
MOST_EXTRA = 10_000


@dataclass(frozen=True)
class BlendLayout:
    """What a blend folder says.

    `path`: the folder. `sparse`, `dense`: the models' names or folders. `sparse_digest`: of the
    files of the sparse one, `dense_fingerprint`: of the dense one with texts as long as it reads;
    None where any version of that name serves. `document_share`, `query_share`: of the
    prediction, 0 to 1. `extra_query_terms`: a query gets so many terms more than the sparse model
    itself made; a document as many as it made.
    """

    path: Path
    sparse: str
    sparse_digest: str | None
    dense: str
    dense_fingerprint: str | None
    document_share: float
    query_share: float
    extra_query_terms: int

    def digest(self) -> str:
        """Hash of what its vectors depend on besides the two models."""
        shares = (self.document_share, self.query_share, self.extra_query_terms)
        return digest_of(shares, Weights(self.path).digest().hex())


def read_blend(folder: Path) -> BlendLayout | None:
    """What a sparse model's folder is to be blended with; None for a plain one.

    Raises UnsupportedModel.
    """
    path = folder / FOLDER / CONFIG
    if not path.is_file():
        return None
    config = read_json(path)

    def share(name: str) -> float:
        value = config.get(name)
        if not isinstance(value, int | float) or value is True or not 0 <= value <= 1:
            raise UnsupportedModel(f"{path} has {name} {value!r}; must be between 0 and 1")
        return float(value)

    def text(name: str) -> str:
        value = config.get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            raise UnsupportedModel(f"{path} has {name} {value!r}; must be a text")
        return value

    def hash_of(name: str) -> str | None:
        return None if config.get(name) is None else text(name)

    extra = config.get("extra_query_terms")
    if type(extra) is not int or not 0 <= extra <= MOST_EXTRA:
        raise UnsupportedModel(
            f"{path} has extra_query_terms {extra!r}; must be between 0 and {MOST_EXTRA}"
        )
    sparse = text("sparse")
    return BlendLayout(
        path.parent, str(folder) if sparse == OWN else sparse, hash_of("sparse_digest"),
        text("dense"), hash_of("dense_fingerprint"), share("document_share"),
        share("query_share"), extra,
    )  # fmt: skip


def base_of(folder: Path) -> Path:
    """Where the sparse model is that a folder's blend is of; the folder itself for a plain one."""
    blend = read_blend(folder)
    return folder if blend is None else resolve(blend.sparse).path


def carry_blend(folder: Path, target: Path) -> None:
    """Give another sparse model the blend of `folder`, if there is one."""
    if read_blend(folder) is None:
        return
    shutil.copytree(folder / FOLDER, target / FOLDER, dirs_exist_ok=True)
    path = target / FOLDER / CONFIG
    config = {**read_json(path), "sparse": OWN, "sparse_digest": None}
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
