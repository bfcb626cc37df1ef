"""Which files of a folder make its tokenizer, and the tokenizer that transformers makes of them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from ..errors import UnsupportedModel
from .weights import read_json

_FILES = (
    *("tokenizer*.json", "vocab*", "merges.txt", "*.model"),
    *("added_tokens.json", "special_tokens_map.json"),
)
_LOWERCASE = re.compile(rb'"lowercase"\s*:\s*(true|false)')


def stands_alone(folder: Path) -> bool:
    """Whether the tokenizer is made from tokenizer.json only.

    It is not where tokenizer_config.json asks for another case than BERT's normaliser has.
    """
    path, settings = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not path.is_file():
        return False
    wanted = read_json(settings).get("do_lower_case") if settings.is_file() else None
    if wanted is None:
        return True
    # subtle: to parse a whole vocabulary for it would take longer than a query
    has = _LOWERCASE.search(path.read_bytes())
    return has is None or (has[1] == b"true") == bool(wanted)


def tokenizer_bytes(folder: Path) -> bytes:
    """Hash of the files that the tokenizer is made from."""
    hasher = hashlib.blake2b(digest_size=32)
    if stands_alone(folder):
        hasher.update((folder / "tokenizer.json").read_bytes())
        return hasher.digest()
    for path in sorted({path for name in _FILES for path in folder.glob(name)}):
        if path.is_file():
            data = path.read_bytes()
            hasher.update(f"{path.name} {len(data)}\n".encode() + data)
    return hasher.digest()


def made_by_transformers(folder: Path) -> Any:
    """transformers' tokenizer of a folder. Raises UnsupportedModel where it makes none."""
    from .quiet import quiet

    # subtle: without files transformers makes a tokenizer that knows no word
    if not any(
        found for kind in ("tokenizer.json", "vocab*", "*.model") for found in folder.glob(kind)
    ):
        raise UnsupportedModel(f"{folder} has no tokenizer.json; get the model anew")
    try:
        with quiet():
            import transformers

            return transformers.AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip()
        # what ends in a colon announces lines that are left out here
        told = "" if reason.endswith(":") else f" ({reason[:200]})"
        there = (folder / "tokenizer.json").is_file()
        raise UnsupportedModel(
            f"{folder}: no tokenizer can be made from its files{told}; "
            f"{'get the model anew' if there else 'bring a tokenizer.json'}"
        ) from None


def gives_types(folder: Path) -> bool:
    """Whether transformers' tokenizer of a folder tells a pair's tokens apart by types."""
    return "token_type_ids" in made_by_transformers(folder).model_input_names
