"""The command line: one file per command in this folder, nothing but arguments, calls and printing.

A command is a file with a function `command`; its name is the file's. Adding a file adds a command. An error that
chiasm raises on purpose is one line and exit code 2; anything else is a bug and says so; neither shows a traceback
unless `CHIASM_TRACEBACK=1` is set.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..runtime.errors import ChiasmError

__all__ = ["app", "commands", "main"]

_ORDER = (
    *("demo", "run", "generate", "caption", "classify", "index", "search", "inspect", "doctor", "bench", "tune"),
    *("export", "verify", "plan", "compile", "targets", "recipe"),
)
_OPEN = {"allow_extra_args": True, "ignore_unknown_options": True}


def commands() -> list[str]:
    """Names of the commands: the files here that hold a function `command`, the everyday ones first."""
    files = Path(__file__).parent.glob("[!_]*.py")
    names = [path.stem for path in files if "\ndef command(" in path.read_text("utf-8")]
    return sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def _show_version(value: bool) -> None:
    if value:
        from .. import __version__

        print(f"chiasm {__version__}")
        raise typer.Exit


def _callback(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Several senses, one decision, on a small computer.

    Start with `chiasm demo`, or `chiasm doctor` when something does not work.
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def app() -> typer.Typer:
    """The typer application over every command in this folder."""
    made = typer.Typer(
        name="chiasm", invoke_without_command=True, add_completion=False, pretty_exceptions_enable=False,
        rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}, callback=_callback,
    )  # fmt: skip
    for name in commands():
        module = importlib.import_module(f".{name}", __name__)
        settings = _OPEN if getattr(module, "OPEN", False) else {}
        made.command(name, context_settings=settings, short_help=_first_sentence(module.command))(module.command)
    return made


def _first_sentence(function: Callable[..., None]) -> str:
    """The line of a command in the list of commands."""
    return " ".join((function.__doc__ or "").split()).split(". ")[0].split(":")[0].rstrip(".") + "."


def main(words: Sequence[str] | None = None) -> None:
    """Run one command line (default: the process's own) and exit: 0 done, 1 checked and not well, 2 an error."""
    try:
        _heed_termination()
        code = app()(args=None if words is None else list(words), prog_name="chiasm", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        code = _explain(error)
    sys.exit(code if isinstance(code, int) else 0)


def _heed_termination() -> None:
    """`kill`, `timeout` and systemd send SIGTERM, a connection that breaks SIGHUP: they end a command as Ctrl-C does,
    in good order. What is ignored, as `nohup` has it, stays so."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # A command line inside another program leaves that program's own handling alone.
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def _explain(error: Exception) -> int:
    """Print one line for an error and give the exit code."""
    if os.environ.get("CHIASM_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
        return 2
    complaint = getattr(error, "format_message", None)
    if isinstance(error, ChiasmError):
        _say(str(error))
    elif complaint is not None:
        hint = getattr(getattr(error, "ctx", None), "command_path", "chiasm")
        message = str(complaint()).rstrip(".").replace("Value error, ", "")
        _say(f"{message}{'' if message.endswith('?') else '.'} Try: {hint} --help")
    elif isinstance(error, typer.Abort):
        _say("interrupted")
    elif isinstance(error, ImportError) and _extra_of(error) is not None:
        _say(f"{error}. Run: pip install 'chiasm[{_extra_of(error)}]', or see: chiasm doctor")
    else:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        _say(f"{words}. This is a bug in chiasm: please report it with the output of CHIASM_TRACEBACK=1.")
    return 2


def _extra_of(error: ImportError) -> str | None:
    """The extra that brings a package which is missing, or which cannot be loaded."""
    from .common import EXTRAS

    package = (error.name or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if package in modules), None)


def _say(words: str) -> None:
    sys.stderr.write(f"error: {' '.join(words.split())}\n")
