"""The `searchlib` command: its sub-commands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from . import errors
from .commands import Commands
from .errors import DEBUG
from .options import example
from .signals import INTERRUPTED

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # wherever this typer keeps it

app = typer.Typer(
    name="searchlib",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=example(
        "searchlib index notes.index notes.jsonl",
        'searchlib search notes.index "how do plants eat"',
    ),
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from searchlib import __version__

        typer.echo(f"searchlib {__version__}")
        raise typer.Exit


@app.callback()
def searchlib(
    debug: Annotated[
        bool, typer.Option("--debug", envvar=DEBUG, help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version)
    ] = False,
) -> None:
    """Search by words and by meaning: BM25, learned-sparse and dense in one index.

    Results go to stdout: tables on a terminal, JSON Lines when piped. Progress goes to stderr.
    """
    if debug:
        os.environ[DEBUG] = "1"


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    if not sys.stdout.isatty():  # JSON is UTF-8, whatever the locale; no id may break a line
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(_run(arguments))


def _program() -> Any:
    program: Any = typer.main.get_command(app)
    program.commands = Commands()
    return program


def _run(arguments: list[str] | None) -> int:
    try:
        code = _program()(arguments, prog_name="searchlib", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # typer turns a broken pipe into SystemExit: the reader, say `head`, has had enough
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            return error.code if isinstance(error.code, int) else 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UsageError as error:
        error.show()  # type: ignore[attr-defined]  # a UsageError, see above
        return 2
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if errors.debugging():
            raise
        return errors.report(error)
    if code == INTERRUPTED:
        errors.say("interrupted")
    return code if isinstance(code, int) else 0
