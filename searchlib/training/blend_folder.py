"""A blend as a folder: the map between two models that it names, and the card."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..encoders.blend_layout import CONFIG, FOLDER, BlendLayout
from ..encoders.gains import FOLDER as GAINS
from ..encoders.ternary import Ternary
from .new_folder import new_folder


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
    prior: str | None  # the blend that the fit began with
    seed: int
    seconds: float


def write_blend(
    layout: BlendLayout, map: Ternary, report: Report, gains: Path | None = None
) -> None:
    """The folder of a layout's path: whole, or not at all. `gains`: of a model that has factors.

    Raises BadInput, StorageFailed.
    """
    from safetensors.numpy import save_file

    config = {
        "sparse": layout.sparse,
        "sparse_digest": layout.sparse_digest,
        "dense": layout.dense,
        "dense_fingerprint": layout.dense_fingerprint,
        "document_share": layout.document_share,
        "query_share": layout.query_share,
        "extra_query_terms": layout.extra_query_terms,
    }
    with new_folder(layout.path) as folder:
        (folder / FOLDER).mkdir()
        save_file(map.tensors, folder / FOLDER / "model.safetensors")
        (folder / FOLDER / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
        if gains is not None:
            shutil.copytree(gains / GAINS, folder / GAINS)
        (folder / "README.md").write_text(card(layout, report), encoding="utf-8")


def card(layout: BlendLayout, report: Report) -> str:
    """The model card."""
    prior = f", beginning with the map of `{report.prior}`" if report.prior else ""
    return "\n".join([
        "---",
        "tags: [sparse-encoder, splade, searchlib]",
        "---",
        "",
        "# A sparse model with a dense model's knowledge",
        "",
        f"searchlib runs `{layout.sparse}` and adds the terms that a linear map predicts of the",
        f"vectors of `{layout.dense}`, by {layout.document_share:.0%} in documents and",
        f"{layout.query_share:.0%} in queries (these with up to {layout.extra_query_terms} terms "
        "more). Both models are named here, not copied.",
        "",
        f"- made by `searchlib blend` of {report.passages:,} passages, without labels, by ridge "
        f"regression{prior}; entries are -1, 0 or 1 times a scale a term; seed {report.seed}",
        f"- on {report.held_out:,} passages of documents that a first fit had not seen, its mean "
        f"cosine to the sparse model's own vectors is {report.cosine:.3f}; that of the mean vector "
        f"of the others is {report.baseline:.3f}",
        "- whether answers get better, these figures do not say; `searchlib eval` with judged "
        "queries does",
        "",
    ])  # fmt: skip
