"""Files of arrays: what is written comes back, and no damage crashes the reader."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from indexes.arrays import ALIGNMENT, DTYPES, MAGIC, map_arrays, write_arrays
from indexes.errors import Damaged, SearchlibError, StorageFailed, UnsupportedFormat

Arrays = dict[str, NDArray[Any]]

EXAMPLE: Arrays = {
    "numbers": np.arange(7, dtype=np.int64),
    "halves": np.array([[0.5, 1.5], [2.5, 65504]], np.float16),
    "größe": np.array([255], np.uint8),
}


def written(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    write_arrays(file, arrays)
    return file.getvalue()


def mapped(folder: Path, content: bytes) -> Arrays:
    path = folder / "field.arrays"
    path.write_bytes(content)
    return map_arrays(path)


def with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    prefix = MAGIC + (1).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    return prefix + text + bytes(256)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.sampled_from(sorted(DTYPES)).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, min_side=0, max_side=5))
        ),
        max_size=5,
    )
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, arrays: Arrays) -> None:
    back = mapped(tmp_path_factory.mktemp("arrays"), written(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_arrays_are_aligned_and_read_only(tmp_path: Path) -> None:
    for array in mapped(tmp_path, written(EXAMPLE)).values():
        assert array.ctypes.data % ALIGNMENT == 0
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_byte_order_and_memory_order_do_not_matter(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    back = mapped(tmp_path, written({"a": array}))["a"]
    assert back.dtype.str == "<f4"
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("dtype", ["O", "f8", "U3", "bool"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match="illegal dtype"):
        written({"a": np.zeros(2, dtype)})


def test_every_truncation_is_damage(tmp_path: Path) -> None:
    content = written(EXAMPLE)
    for length in range(len(content)):
        with pytest.raises(Damaged, match=r"field\.arrays"):
            mapped(tmp_path, content[:length])


def test_any_garbled_byte_of_the_header_is_damage_or_harmless(tmp_path: Path) -> None:
    content = written(EXAMPLE)
    end = 16 + int.from_bytes(content[12:16], "little")
    messages = []
    for place in range(end):
        for flip in (1, 0x80, 0xFF):
            garbled = bytearray(content)
            garbled[place] ^= flip
            try:
                for array in mapped(tmp_path, bytes(garbled)).values():
                    array.sum()
            except SearchlibError as error:
                messages.append(str(error))
    assert len(messages) > end
    assert all("field.arrays" in message for message in messages)


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {},
        {"dtype": "<f4", "shape": [4], "offset": -64},
        {"dtype": "<f4", "shape": [4], "offset": 65},
        {"dtype": "<f4", "shape": [-1], "offset": 64},
        {"dtype": "<f4", "shape": [2**62, 2**62], "offset": 64},
        {"dtype": "<f4", "shape": [0, 2**70], "offset": 64},
        {"dtype": "<f4", "shape": [1] * 100, "offset": 64},
        {"dtype": "<f4", "shape": [True], "offset": 64},
        {"dtype": "<f4", "shape": 4, "offset": 64},
        {"dtype": "|O", "shape": [4], "offset": 64},
        {"dtype": ["<f4"], "shape": [4], "offset": 64},
        {"dtype": "<f4", "shape": [4], "offset": 2**70},
    ],
)
def test_illegal_entries_are_damage(tmp_path: Path, entry: object) -> None:
    with pytest.raises(Damaged, match=r"field\.arrays"):
        mapped(tmp_path, with_header({"a": entry}))


@pytest.mark.parametrize("header", [[], 3, None, "x"])
def test_a_header_that_is_no_object_is_damage(tmp_path: Path, header: object) -> None:
    with pytest.raises(Damaged, match=r"field\.arrays"):
        mapped(tmp_path, with_header(header))


def test_another_version_is_named(tmp_path: Path) -> None:
    content = bytearray(written(EXAMPLE))
    content[8] = 7
    with pytest.raises(UnsupportedFormat, match="format 7"):
        mapped(tmp_path, bytes(content))


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="none"):
        map_arrays(tmp_path / "none")
    with pytest.raises(StorageFailed, match=tmp_path.name):
        map_arrays(tmp_path)
