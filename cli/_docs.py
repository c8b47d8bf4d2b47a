"""docs/cli.md, made from the commands themselves: `python -m chiasm.cli._docs > docs/cli.md`. A test holds it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from . import app

__all__ = ["text"]

_HEAD = """# The command line

Made from the commands by `python -m chiasm.cli._docs > docs/cli.md`; a test fails when it is not up to date.

Every command ends with 0 when it is done, 1 when it checked something that is not well (`doctor`, `bench`) or its
output was closed, 2 after one line of `error: …` on standard error, and 130 after Ctrl-C or SIGTERM.
`CHIASM_TRACEBACK=1` shows where an error came from. Answers go to standard output, progress and summaries to
standard error.
"""


def text() -> str:
    """The whole file."""
    group: Any = typer.main.get_command(app())
    lines = [_HEAD]
    for name, command in group.commands.items():
        lines += [f"## chiasm {name}", *_description(command), "", *_table(command), ""]
    return "\n".join(lines)


def _description(command: Any) -> Iterator[str]:
    """The docstring; an example stands as a block."""
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        words = " ".join(block.split())
        if words.startswith("Example: "):
            yield from ("", "```sh", words.removeprefix("Example: "), "```")
        else:
            yield from ("", words)


def _table(command: Any) -> Iterator[str]:
    """One row for each argument and option, in the order of --help."""
    yield from ("| | | default |", "|---|---|---|")
    for parameter in command.params:
        yield f"| {_name(parameter)} | {_cell(parameter.help)} | {_default(parameter)} |"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper()}`"
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    default = parameter.default
    return "" if default is None or default is False or default == () else f"`{default}`"


def _cell(words: str | None) -> str:
    return " ".join((words or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    print(text(), end="")
