"""How the command line speaks: errors in one line, a log and a progress bar on stderr."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from pixelwise.errors import InputError, PixelwiseError, ResourceError

__all__ = ["Commands", "debug_option", "emit", "printable", "progress_bar"]

#: Something is wrong with data, output, options or a function.
MISTAKEN = 1
#: Something ran out; the same command goes on. EX_TEMPFAIL of sysexits.h, which batch systems take for "try again".
RAN_OUT = 75
#: As shells have it: 128 and the signal's number.
INTERRUPTED, TERMINATED = 130, 143


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
    """Commands whose mistakes end in one clear line and a status that says what may help."""

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
            with _log_on_stderr(), _stopped_cleanly_when_terminated():
                return super().invoke(ctx)
        except PixelwiseError as error:
            if ctx.meta.get("pixelwise.debug"):
                raise
            if isinstance(error, InputError):
                for problem in error.problems:
                    emit(f"error: {problem}", error=True, lines=False)
            else:  # may hold the traceback of a user's function
                emit(f"error: {error}", error=True)
            _leave(RAN_OUT if isinstance(error, ResourceError) else MISTAKEN)
        except _Terminated:
            emit("terminated", error=True)
            _leave(TERMINATED)
        except KeyboardInterrupt:
            emit("interrupted", error=True)
            _leave(INTERRUPTED)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came, as batch systems send it before they kill: what was begun is left in order."""


@contextmanager
def _stopped_cleanly_when_terminated() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(status: int) -> None:
    """End the process, also where threads are at work: after a second Ctrl-C nobody waits for their blocks."""
    if any(t.name.startswith("pixelwise") and t.is_alive() and not t.daemon for t in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


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
