"""Safetensors files as numpy arrays, mapped rather than read, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModel

_TYPES: dict[str, type[np.generic]] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
    "BF16": np.uint16,  # read as bits: numpy has no bfloat16
}
_LARGEST_HEADER = 100 << 20
_LARGEST_JSON = 256 << 20  # bytes: a vocabulary of millions
# what reading numbers that contradict each other ends in
_NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Weights(Mapping[str, NDArray[Any]]):
    """The tensors of one safetensors file, or of a sharded set, by name; read-only views.

    Raises UnsupportedModel where there is no such file or where it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._tensors: dict[str, tuple[mmap.mmap, Path, int, int, str, tuple[int, ...]]] = {}
        for path in weight_files(folder):
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            size = int.from_bytes(data[:8], "little")
            if not 2 <= size <= min(_LARGEST_HEADER, len(data) - 8):
                raise ValueError("its header is cut short")
            header: dict[str, Any] = json.loads(data[8 : 8 + size])
            header.pop("__metadata__", None)
            for name, entry in header.items():
                begin, end = (8 + size + int(offset) for offset in entry["data_offsets"])
                shape = tuple(int(n) for n in entry["shape"])
                kind = str(entry["dtype"])
                length = int(np.prod(shape, dtype=np.int64)) * np.dtype(_TYPES[kind]).itemsize
                if not 8 + size <= begin <= end <= len(data) or end - begin != length:
                    raise ValueError(f"tensor {name!r} lies outside it")
                self._tensors[name] = (data, path, begin, end, kind, shape)
        except OSError as error:
            raise UnsupportedModel(f"cannot read {path}: {error.strerror}") from None
        except _NONSENSE as error:
            reason = error if type(error) is ValueError else "its header makes no sense"
            raise UnsupportedModel(f"{path} is damaged: {reason}; get the model anew") from None

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Tensor `name` with its shape; half precision comes as float32."""
        data, _, begin, _, kind, shape = self._tensors[name]
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, dtype=_TYPES[kind], count=count, offset=begin).reshape(shape)
        if kind == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(np.float32) if kind == "F16" else array

    def __iter__(self) -> Any:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def digest(self) -> bytes:
        """Hash of names, types, shapes and a sample of every tensor: 16 blocks of 1 KiB each.

        Training changes every tensor, so a sample tells two models apart; a full hash of 90 MB
        would take longer than a query.
        """
        hasher = hashlib.blake2b(digest_size=32)
        for name in sorted(self._tensors):
            data, _, begin, end, kind, shape = self._tensors[name]
            hasher.update(f"{name} {kind} {shape}\n".encode())
            for offset in _sample(begin, end):
                hasher.update(data[offset : min(offset + 1024, end)])
        return hasher.digest()


def _sample(begin: int, end: int) -> range:
    blocks = 16
    if end - begin <= blocks * 1024:
        return range(begin, end, 1024)
    return range(begin, end, (end - begin) // blocks)


def refuse_adapter(folder: Path) -> None:
    """Raise UnsupportedModel for a folder whose weights count only with an adapter's."""
    if (folder / "adapter_config.json").is_file():
        raise UnsupportedModel(
            f"{folder} is an adapter (adapter_config.json), or has one beside its weights, which "
            "is not applied here; load it with peft, and use what merge_and_unload() and "
            "save_pretrained(folder) leave"
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: one, or the shards that its index names."""
    refuse_adapter(folder)
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        with sense(index):
            shards = sorted({Path(str(s)).name for s in read_json(index)["weight_map"].values()})
        paths = [folder / shard for shard in shards]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise UnsupportedModel(f"{folder} lacks {missing[0]}; get the model anew")
        if paths:
            return paths
    others = [path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".h5")]
    has = f" (only {sorted(others)[0]}, which may hold code)" if others else ""
    raise UnsupportedModel(
        f"{folder} has no model.safetensors{has}; convert it: load it with transformers where you "
        "trust it and save_pretrained(folder, safe_serialization=True)"
    )


@contextmanager
def sense(path: Path) -> Iterator[None]:
    """Raise UnsupportedModel, naming the file or folder, where what is in it makes no sense."""
    try:
        yield
    except _NONSENSE as error:
        reason = str(error).split("\n", 1)[0][:120] or type(error).__name__
        raise UnsupportedModel(
            f"{path}: its parts do not go together ({reason}); get the model anew"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model; UnsupportedModel if it is none."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise UnsupportedModel(f"{path} is larger than {_LARGEST_JSON:,} bytes")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UnsupportedModel(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UnsupportedModel(f"{path} is not JSON; get the model anew") from None
    if not isinstance(value, dict):
        raise UnsupportedModel(f"{path} is not a JSON object; get the model anew")
    return value
