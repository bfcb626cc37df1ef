"""The sub-commands, by name: what is not called is not imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from typer.main import get_command_from_info
from typer.models import CommandInfo

MODULES = {
    "index": "index",
    "add": "index",
    "delete": "index",
    "info": "index",
    "verify": "maintenance",
    "update": "update",
    "sync": "renew",
    "reencode": "renew",
    "search": "search",
    "explain": "search",
    "expand": "search",
    "browse": "browse",
    "facets": "browse",
    "run": "evaluate",
    "eval": "evaluate",
    "compare": "evaluate",
    "tune": "tune",
    "merge": "maintenance",
    "vacuum": "maintenance",
    "models": "models",
    "blend": "blend",
    "adapt": "train",
    "finetune": "train",
    "distill": "distill",
    "glance": "glance",
    "gaps": "gaps",
}
"""The module of each sub-command, in the order in which the help lists them."""


class Commands(Mapping[str, Any]):
    """The sub-commands by name, each made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        module = import_module(f".{MODULES[name]}", __package__)
        [info] = (some for some in module.commands.registered_commands if named(some) == name)
        return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode=None)

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


def named(command: CommandInfo) -> str:
    """The name by which a command is called."""
    return str(command.name or getattr(command.callback, "__name__", ""))
