"""How the command line speaks: errors in one line, a log and a progress bar on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from pixelwise.errors import InputError, PixelwiseError

__all__ = ["Commands", "debug_option", "emit", "printable", "progress_bar"]

INTERRUPTED = 130


def printable(text: str, *, lines: bool = True) -> str:
    """Escape control characters: names in files are somebody else's text, and terminals obey them.

    Line feeds are kept where the text may have `lines`.
    """
    kept = "\n" if lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def emit(text: str = "", *, error: bool = False, lines: bool = True) -> None:
    """Print text, escaped; as one line where it may not have `lines`."""
    if error and _above_bar:
        _above_bar[-1](printable(text, lines=lines))
    else:
        click.echo(printable(text, lines=lines), err=error)


#: Where a progress bar is drawn, what prints a line above it, from any thread.
_above_bar: list[Callable[[str], None]] = []


class Commands(click.Group):
    """Commands whose mistakes end in one clear line and status 1."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        _keep_paragraphs(self)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command."""
        _keep_paragraphs(cmd)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with _log_on_stderr():
                return super().invoke(ctx)
        except PixelwiseError as error:
            if ctx.meta.get("pixelwise.debug"):
                raise
            if isinstance(error, InputError):
                for problem in error.problems:
                    emit(f"error: {problem}", error=True, lines=False)
            else:  # may hold the traceback of a user's function
                emit(f"error: {error}", error=True)
            sys.exit(1)
        except KeyboardInterrupt:
            emit("interrupted", error=True)
            sys.exit(INTERRUPTED)


def _keep_paragraphs(command: click.Command) -> None:
    """Put click's mark of a paragraph that keeps its lines, one character, where a raw docstring has two."""
    if command.help:
        command.help = command.help.replace("\\b", "\b")


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Show our log while a command runs; that of the libraries repeats what an error says."""
    log, handler = logging.getLogger("pixelwise"), _Stderr()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Stderr(logging.Handler):
    """Writes to whatever stderr is now; a stream kept from start-up may be closed by then."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        emit(f"{level}{self.format(record)}", error=True)


def debug_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--debug``."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta["pixelwise.debug"] = value

    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show a traceback for every error.",
    )(command)


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give a progress callback that draws a bar on stderr; None where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pixels", total=None, speed="")
        _above_bar.append(partial(bar.console.print, markup=False, highlight=False, soft_wrap=True))

        def update(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, speed=f"{speed / 1e6:.2f} Mpx/s" if speed else "")

        try:
            yield update
        finally:
            _above_bar.pop()
