"""A blended sparse model as a folder: the plain one, its map beside, and the card.

It opens in searchlib as the blend, in sentence-transformers as the plain model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..encoders.activations import Array
from ..encoders.blend import CONFIG, CONSTANT, FOLDER, STRENGTH
from ..encoders.models import resolve
from .new_folder import copy_files, new_folder

_KEPT = (".json", ".txt", ".model", ".safetensors")  # of the plain model's files


@dataclass(frozen=True)
class Report:
    """What was made of which models, and how well it predicts passages that it has not seen."""

    model: str
    sparse_model: str
    dense_model: str
    passages: int  # that were learned from
    held_out: int  # of them, those that a first fit was tried on
    cosine: float  # of prediction and the sparse model's own vectors there, the mean
    baseline: float  # the same of the mean vector of all other passages
    document_share: float
    query_share: float
    extra_query_terms: int
    seed: int
    seconds: float


def write_blend(folder: Path, matrix: Array, dense_fingerprint: str, report: Report) -> None:
    """A copy of the sparse model with the map and its settings beside: whole, or not at all.

    Raises BadInput if there is something at `folder`, StorageFailed.
    """
    from safetensors.numpy import save_file

    base = resolve(report.sparse_model).path
    config = {
        "dense": report.dense_model,
        "dense_fingerprint": dense_fingerprint,
        "document_share": report.document_share,
        "query_share": report.query_share,
        "extra_query_terms": report.extra_query_terms,
    }
    with new_folder(folder) as made:
        copy_files(base, _files(base), made)
        (made / FOLDER).mkdir()
        save_file({"weight": matrix.astype(np.float16)}, made / FOLDER / "model.safetensors")
        (made / FOLDER / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
        (made / "README.md").write_text(card(report), encoding="utf-8")


def _files(base: Path) -> Iterator[Path]:
    """What of a model's folder is needed: no other formats, no documentation, no other blend."""
    for path in base.rglob("*"):
        if path.suffix in _KEPT and path.relative_to(base).parts[0] != FOLDER:
            yield path


def card(report: Report) -> str:
    """The model card."""
    return "\n".join([
        "---",
        "library_name: sentence-transformers",
        "tags: [sparse-encoder, splade, searchlib]",
        "---",
        "",
        "# A sparse model with a dense model's knowledge of one corpus",
        "",
        f"Other readers open this folder as a copy of `{report.sparse_model}`. searchlib adds the",
        f"terms that a linear map predicts of the vectors of `{report.dense_model}`, by",
        f"{report.document_share:.0%} in documents and {report.query_share:.0%} in queries (these "
        f"with up to {report.extra_query_terms} terms more).",
        "",
        f"- made by `searchlib blend` of {report.passages:,} passages, without labels: ridge "
        f"regression (strength {STRENGTH}, constant {CONSTANT}), seed {report.seed}",
        f"- on {report.held_out:,} passages of documents that a first fit had not seen, its mean "
        f"cosine to the sparse model's own vectors is {report.cosine:.3f}; that of the mean vector "
        f"of the others is {report.baseline:.3f}",
        "- whether answers get better, these figures do not say; `searchlib eval` with judged "
        "queries does",
        "",
    ])  # fmt: skip
