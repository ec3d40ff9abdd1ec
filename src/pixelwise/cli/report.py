"""How the command line speaks: errors in one line, a log and a progress bar on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from pixelwise.errors import InputError, PixelwiseError

__all__ = ["Commands", "debug_option", "emit", "printable", "progress_bar"]

INTERRUPTED = 130


def printable(text: str) -> str:
    """Escape control characters: names in files are somebody else's text, and terminals obey them."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def emit(text: str = "", *, error: bool = False) -> None:
    """Print text, escaped."""
    click.echo(printable(text), err=error)


class Commands(click.Group):
    """Commands whose mistakes end in one clear line and status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Stderr()])
        logging.getLogger("pixelwise").setLevel(logging.INFO)
        try:
            return super().invoke(ctx)
        except PixelwiseError as error:
            if ctx.meta.get("pixelwise.debug"):
                raise
            problems = error.problems if isinstance(error, InputError) else (str(error),)
            for problem in problems:
                emit(f"error: {problem}", error=True)
            sys.exit(1)
        except KeyboardInterrupt:
            emit("interrupted", error=True)
            sys.exit(INTERRUPTED)


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

        def update(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, speed=f"{speed / 1e6:.2f} Mpx/s" if speed else "")

        yield update
