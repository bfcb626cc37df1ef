"""The command that changes metadata: update."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .opening import open_to_write
from .options import Format, IndexPath, OutputFormat, all_of, example
from .output import chosen, print_json
from .reading import listed_ids

if TYPE_CHECKING:
    from searchlib import Engine, UpdateReport

commands = typer.Typer()
AT_ONCE = 100  # documents whose metadata are read together


@commands.command(
    epilog=example(
        "searchlib update notes.index note-1 note-2 --set year=2020 --unset tags",
        "searchlib update notes.index --where 'year < 2001' --set old=true",
    )
)
def update(
    path: IndexPath,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Ids; - reads them from stdin, one a line."),
    ] = None,
    *,
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a key; the value is JSON, or else a text. a.b=1 sets a key of an object.",
        ),
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Remove a key, where it is.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Change the documents that a filter selects (several: all), not ids."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help='JSON Lines, or - for stdin: {"id": "a", "year": 2020, "draft": null}; '
            "null removes a key.",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="With --from: what a line says is all of the metadata."),
    ] = False,
    format: OutputFormat = None,
) -> None:
    """Changes metadata, and only that: nothing is encoded again.

    All changes are made in one commit, or none. Of documents that `sync` keeps, the files say what
    they are: the next sync takes such changes back, so change the files.
    """
    condition = all_of(where)
    if (bool(ids) + (condition is not None) + (source is not None)) != 1:
        raise typer.BadParameter("give ids, or --where, or --from")
    if (source is None) is not bool(set or unset):
        raise typer.BadParameter("give --set or --unset, but not with --from")
    if replace and source is None:
        raise typer.BadParameter("--replace goes with --from")
    with open_to_write(path) as engine:
        if source is not None:
            from searchlib.formats.changes import read_changes

            changes: Iterable[tuple[str, Any]] = read_changes(source)
        else:
            changes = _same(engine, ids or [], condition, _patch(set or [], unset or []))
        report = (engine.replace_metadata if replace else engine.update)(changes)
    if chosen(format) is Format.table:
        typer.echo(f"{report.updated} updated, {report.unchanged} unchanged")
    else:
        print_json({"updated": report.updated, "unchanged": report.unchanged})
    if report.missing:
        _refuse(report, path)


def _same(
    engine: Engine, ids: list[str], where: str | None, patch: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The patch for each document, without removals of what it does not have."""
    # subtle: begun when the engine has the lock, so that the filter sees the last commit
    named = listed_ids(ids) if where is None else engine.ids_where(where)
    rest = iter(dict.fromkeys(named))
    while some := list(itertools.islice(rest, AT_ONCE)):
        numbers = engine.snapshot.lookup(some)
        records = engine.snapshot.records(numbers[numbers >= 0])
        metadata = {record.id: record.metadata for record in records}
        for id in some:
            yield id, _without_vain_removals(patch, metadata.get(id, {}))


def _without_vain_removals(patch: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """The patch without keys to remove that are not there: it would make empty objects for them.

    >>> _without_vain_removals({"a": {"b": None}, "c": None, "d": 1}, {"c": 2})
    {'c': None, 'd': 1}
    """
    result = {}
    for key, value in patch.items():
        if value and isinstance(value, dict):
            inner = metadata.get(key)
            rest = _without_vain_removals(value, inner if isinstance(inner, dict) else {})
            if rest:
                result[key] = rest
        elif value is not None or key in metadata:
            result[key] = value
    return result


def _refuse(report: UpdateReport, path: object) -> NoReturn:
    from searchlib.errors import NotFound

    count = len(report.missing)
    some = ", ".join(map(repr, report.missing[:3])) + ", ..." * (count > 3)
    others = "the others are updated" if report.updated + report.unchanged else "nothing updated"
    raise NotFound(f"{count} ids not in {path}: {some}; {others}")


def _patch(set: list[str], unset: list[str]) -> dict[str, Any]:
    """The merge patch that the options ask for."""
    patch: dict[str, Any] = {}
    for option in set:
        key, equals, value = option.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option!r}: write --set key=value")
        _put(patch, key, _value(value))
    for key in unset:
        _put(patch, key, None)
    return patch


def _put(patch: dict[str, Any], path: str, value: Any) -> None:
    from indexes.errors import BadFilter
    from indexes.filters import parse_field

    try:  # subtle: without back quotes, blanks and the like may stand here, though not in filters
        names = parse_field(path) if "`" in path else tuple(path.split("."))
    except BadFilter:
        names = ()
    if not names or not all(names):
        raise typer.BadParameter(
            f"{path!r} is no key; write year, or author.name, or `with spaces`.name"
        )
    if path in ("id", "title", "text"):
        raise typer.BadParameter(f"{path!r} is no metadata; add the document again to change it")
    for name in names[:-1]:
        inner = patch.setdefault(name, {})
        if not isinstance(inner, dict):
            raise typer.BadParameter(f"{path!r}: {name!r} is set to something else already")
        patch = inner
    patch[names[-1]] = value


def _value(text: str) -> Any:
    """What a text says in JSON, else the text.

    >>> [_value(text) for text in ("2020", "true", '["a", 1]', "007", "NaN", "plain")]
    [2020, True, ['a', 1], '007', 'NaN', 'plain']
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text
