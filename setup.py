"""The optional C extensions; everything else is in pyproject.toml.

Without a C compiler the package installs all the same, and does their work with numpy and torch.
"""

from pathlib import Path

from setuptools import Extension, setup

# No fused multiply-add but where a kernel asks for it: BM25's and sparse scores, how scores are
# fused, and which codes are nearest must not depend on compiler or processor. Encoders may.
STRICT = "-ffp-contract=off"


def extension(name: str, sources: list[str], *options: str) -> Extension:
    """One module for all Pythons from 3.11 on (the limited API)."""
    folder = Path(sources[0]).parent
    return Extension(
        name,
        sources=sources,
        depends=sorted(str(path) for path in folder.glob("*.h")),
        extra_compile_args=["-std=gnu11", "-O3", "-pthread", *options],
        extra_link_args=["-pthread"],
        py_limited_api=True,
        optional=True,
    )


setup(
    ext_modules=[
        extension("indexes._kernels", sorted(map(str, Path("indexes/native").glob("*.c"))), STRICT),
        extension("indexes._scan", ["indexes/_scan.c"], STRICT),
        extension("searchlib._fusion", ["searchlib/_fusion.c"], STRICT),
        extension("searchlib.encoders._fused", ["searchlib/encoders/_fused.c"]),
        extension("searchlib.encoders._ternary", ["searchlib/encoders/_ternary.c"], STRICT),
        extension("searchlib.encoders._words", ["searchlib/encoders/_words.c"]),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
