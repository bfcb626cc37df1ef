"""Help: every command has it, it ends with an example, and every example runs."""

from __future__ import annotations

import shlex
from importlib import import_module
from pathlib import Path

import pytest
from commandline import WORDS_ONLY, Run

COMMANDS = (
    "index", "add", "update", "delete", "sync", "reencode", "search", "browse", "facets",
    "explain", "expand", "run", "eval", "compare", "tune", "info", "verify", "merge", "vacuum",
    "models", "blend", "adapt", "finetune", "distill", "glance", "gaps",
)  # fmt: skip
NEEDING_MODELS = (  # they have tests of their own
    "expand", "models", "reencode", "blend", "adapt", "finetune", "distill", "glance", "gaps",
    "tune",
)  # fmt: skip


def examples(help: str) -> list[list[str]]:
    """The command lines below `Example:`, which must be the help's last part."""
    _, found, tail = help.partition("Example:\n")
    assert found
    return [shlex.split(line)[1:] for line in tail.strip().splitlines()]


def test_every_command_is_found_in_its_module() -> None:
    from cli.commands import MODULES, Commands, named

    assert set(COMMANDS) == set(MODULES)
    for module in set(MODULES.values()):
        made = import_module(f"cli.{module}").commands.registered_commands
        assert [named(info) for info in made] == [
            n for n, home in MODULES.items() if home == module
        ]
    assert [command.name for command in Commands().values()] == list(MODULES)
    assert Commands().get("nonsense") is None


@pytest.mark.parametrize("command", COMMANDS)
def test_trec_is_a_format_of_rankings_alone(cli: Run, command: str) -> None:
    help = " ".join(cli(command, "--help").out.split())
    of_rankings = command in ("search", "browse", "run")
    assert ("--format <table|json|trec>" in help) is of_rankings
    assert ("--format <table|json> " in help) is not of_rankings


def test_help_names_every_command(cli: Run) -> None:
    help = cli("--help").out
    listed = [line.split()[0] for line in help.splitlines() if line.startswith("  ")]
    assert set(COMMANDS) <= set(listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_each_argument_is_and_ends_with_an_example(cli: Run, command: str) -> None:
    result = cli(command, "--help")
    assert result.code == 0
    assert all(len(line) <= 80 for line in result.out.splitlines())
    for line in examples(result.out):
        assert line[0] in COMMANDS
    assert any(line[0] == command for line in examples(result.out))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in NEEDING_MODELS])
def test_every_example_runs(cli: Run, notes: Path, command: str) -> None:
    for example in examples(cli(command, "--help").out):
        extra = ()
        if example[0] == "index":  # a fresh index, without models: they have tests of their own
            example[1] = "fresh-" + example[1]
            extra = tuple(option for option in WORDS_ONLY if option not in example)
        result = cli(*example, *extra)
        assert result.code == 0, f"{example}: {result.err}"


def test_the_first_example_of_all_runs(cli: Run, folder: Path) -> None:
    index, search = examples(cli("--help").out)
    assert cli(*index, *WORDS_ONLY).code == 0
    assert cli(*search).lines[0]["id"] == "note-1"


def test_models_example_runs(cli: Run, folder: Path) -> None:
    (example,) = examples(cli("models", "--help").out)
    assert cli(*example).code == 0


def test_without_a_command_help_is_shown_and_the_exit_code_is_2(cli: Run) -> None:
    result = cli()
    assert result.code == 2
    assert "Commands:" in result.err + result.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("search",),
        ("search", "x", "y", "--no-such-option"),
        ("search", "x", "y", "-k", "many"),
        ("search", "x", "y", "--format", "xml"),
        ("index", "x"),
        ("index", "x", "notes.jsonl", "--memory", "much"),
        ("eval", "x"),
        ("compare", "a", "b"),
        ("expand", "moon", "--model", "a", "--index", "b"),
        ("adapt", "notes.jsonl"),
        ("adapt", "notes.jsonl", "--out", "m", "--kind", "lexical"),
        ("adapt", "notes.jsonl", "--out", "m", "--no-sparse"),
        ("adapt", "notes.jsonl", "--out", "m", "--no-dense", "--kind", "dense"),
        ("adapt", "notes.jsonl", "--out", "m", "--split", "test"),
        ("finetune", "notes.jsonl", "--out", "m", "--queries", "collection/queries.jsonl"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli: Run, folder: Path, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert "Error:" in result.err
    assert result.out == ""


def test_version(cli: Run) -> None:
    import searchlib

    assert cli("--version").out.split() == ["searchlib", searchlib.__version__]


def test_the_defaults_shown_are_the_defaults(cli: Run) -> None:
    from searchlib import Settings

    help = " ".join(cli("index", "--help").out.split())
    for option in ("dense-model", "sparse-model", "passage-tokens", "overlap", "language", "k1",
                   "b", "dense-kind"):  # fmt: skip
        shown = help.partition(f"--{option} ")[2].partition("[default: ")[2].partition("]")[0]
        default = getattr(Settings(), option.replace("-", "_"))
        assert shown.replace(" ", "") == str(default), option


@pytest.mark.parametrize("command", ["index", "add", "sync", "adapt", "finetune"])
def test_the_longest_document_is_the_library_s(cli: Run, command: str) -> None:
    """What one command reads, no other may refuse."""
    from cli.options import size
    from searchlib.formats import ReadOptions

    help = " ".join(cli(command, "--help").out.split())
    shown = help.partition("--max-document ")[2].partition("[default: ")[2].partition("]")[0]
    assert size(shown) == ReadOptions().max_document_bytes
