"""What nobody may do with what a file says: run it. Read in the sources, with `ast`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_layers import MODULES, imports, place

# whose reading runs what it reads, or that run commands
MODULES_BANNED = (
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"),
    *("yaml", "code", "codeop", "runpy", "imp", "pty", "ctypes", "xml", "xmlrpc", "tarfile"),
    "subprocess",
)
CALLS_BANNED = (
    *("eval", "exec", "compile", "__import__", "breakpoint", "torch.load", "os.system"),
    *("os.popen", "torch.hub.load", "torch.jit.load", "pd.read_pickle", "yaml.load"),
    *(
        "os.execv",
        "os.execvp",
        "os.spawnv",
        "os.posix_spawn",
        "importlib.import_module",
        "import_module",
    ),
)
# keyword: the one value that it may have
KEYWORDS = {"allow_pickle": False, "trust_remote_code": False, "weights_only": True, "shell": False}
# place: what it may do all the same, and why
ALLOWED = {
    "searchlib/encoders/fetching.py": ("subprocess",),  # pip, with a fixed list of words
    "indexes/pq.py": ("import_module",),  # our own extension, named in the source
    "cli/commands.py": ("import_module",),  # our own modules, named in the source
    "searchlib/__init__.py": ("import_module",),  # our own modules, when first asked for
    "searchlib/evaluation/measures.py": ("subprocess",),  # the name of an error
    "benchmarks": ("subprocess", "import_module"),  # not installed; peers are named in the source
}


def banned(source: str, where: str) -> Iterator[str]:
    """Every import and call of a module that is not allowed."""
    allowed = ALLOWED.get(where) or ALLOWED.get(where.partition("/")[0], ())
    found = [(0, name) for name in imports(source, where) if name.split(".")[0] in MODULES_BANNED]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in CALLS_BANNED:
            found.append((node.lineno, called))
        if called in ("np.load", "numpy.load", "np.fromregex") and not any(
            keyword.arg == "allow_pickle" for keyword in node.keywords
        ):
            found.append((node.lineno, called))
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg in KEYWORDS and not (
                isinstance(value, ast.Constant) and value.value is KEYWORDS[keyword.arg]
            ):
                found.append((node.lineno, f"{called}({ast.unparse(keyword)})"))
    for line, what in found:
        if not any(name in what.split(".") for name in allowed):
            yield f"{where}:{line}: {what}"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_nothing_on_disk_is_executed(path: Path) -> None:
    assert list(banned(path.read_text(encoding="utf-8"), place(path))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "def f():\n    import yaml",
        "import subprocess", "import xml.etree.ElementTree", "eval(text)", "exec(text)",
        "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)",
        "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=wanted)",
        "os.system(text)", "run(text, shell=True)", "f(trust_remote_code=True)",
        "f(trust_remote_code=asked)", "importlib.import_module(name)", "import_module(name)",
        "compile(text, '', 'exec')", "__import__(name)", "os.popen(text)",
    ],
)  # fmt: skip
def test_a_banned_one_is_noticed(source: str) -> None:
    assert list(banned(source, "indexes/arrays.py"))


@pytest.mark.parametrize(
    "source", ["np.load(path, allow_pickle=False)", "re.compile(x)", "json.load(f)", "import json"]
)
def test_others_are_not(source: str) -> None:
    assert list(banned(source, "indexes/arrays.py")) == []
