"""Base classes of the commands: help in panels, an optional value for `--json`, and suggestions for misspelt names."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from voxrank.config import PANELS
from voxrank.errors import OptionError, did_you_mean

JSON, STANDARD_OUTPUT, END = "--json", "-", "--"
THIS_COMMAND = "This command"
ORDER = (*PANELS, THIS_COMMAND)
"""Panels of `--help`, in order."""
CONTEXT = {"help_option_names": ["--help", "-h"]}
"""Click settings shared by all commands."""


class Command(TyperCommand):
    """A command with help panels and an optional value for `--json`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, sorted by panel."""
        return in_panels(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; in completion, drop a last option that has no value yet."""
        if ctx.resilient_parsing and args and args[-1].startswith("-"):
            args = args[:-1]
        return super().parse_args(ctx, with_json_value(args))


class Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, sorted by panel."""
        return in_panels(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command with the given name.

        Raises:
            OptionError: there is no command with that name.
        """
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise OptionError(f"unknown command {args[0]!r}; {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


def in_panels(params: list[Any]) -> list[Any]:
    """Sort options by their panel, and hide the type name of flags, which have no value."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
        if param.param_type_name == "option":
            param.rich_help_panel = param.rich_help_panel or THIS_COMMAND
    return sorted(params, key=_panel_index)


def _panel_index(param: Any) -> int:
    """Return the index of an option's panel; arguments come first."""
    return -1 if param.param_type_name != "option" else ORDER.index(param.rich_help_panel)


def with_json_value(args: list[str]) -> list[str]:
    """Give a bare `--json` the value "-".

    The following argument is the value only if it is "-" or ends in ".json", so that the data are never taken for it.
    `--json=FILE` accepts any name.

    Example:
        >>> with_json_value(["--json", "train.csv", "--json", "a.json", "--json=b"])
        ['--json=-', 'train.csv', '--json=a.json', '--json=b']
    """
    complete: list[str] = []
    remaining = iter(args)
    is_bare = False
    for arg in remaining:
        if arg == END:
            return [*complete, arg, *remaining]
        if is_bare and (arg == STANDARD_OUTPUT or (arg.lower().endswith(".json") and not arg.startswith("-"))):
            complete[-1] = f"{JSON}={arg}"
        else:
            complete.append(f"{JSON}={STANDARD_OUTPUT}" if arg == JSON else arg)
        is_bare = arg == JSON
    return complete
