"""Output of the command line: errors on one line, a log and a progress bar on stderr."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from pixelwise.cli.hints import check_hyphens, misplaced_option, unknown_command
from pixelwise.errors import RESOURCES, FunctionError, InputError, OutputError, PixelwiseError, ResourceError
from pixelwise.surroundings import set_numba_file_aside
from pixelwise.words import escaped, one_line

__all__ = ["Commands", "clipped", "debug_option", "emit", "printable", "progress_bar"]

#: A problem with data, output, options or a function.
FAILED = 1
#: A resource ran out; the same command resumes. EX_TEMPFAIL in sysexits.h, which tells batch systems to try again.
RAN_OUT = 75
#: A bug in pixelwise: EX_SOFTWARE in sysexits.h.
BUG = 70
#: As in shells: 128 plus the number of the signal. The second is SIGPIPE: the reader of the output has closed it.
INTERRUPTED, UNREAD, TERMINATED = 130, 141, 143

#: Longer errors are cut in the middle: texts from other people's files may have any length. A path has at most 4096
#: bytes.
LONGEST_LINE = 10_000


def printable(text: str, *, lines: bool = True) -> str:
    """Escape control characters, which terminals obey: names in files may come from anyone.

    Line feeds are kept if the text may have several `lines`.
    """
    return escaped(text, "\n" if lines else "")


def emit(text: str = "", *, error: bool = False, lines: bool = True) -> None:
    """Print text, escaped; on one line unless it may have several `lines`."""
    text = printable(text, lines=lines)
    if error and _above_bar:
        _above_bar[-1](text)
        return
    encoding = getattr(sys.stderr if error else sys.stdout, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    if error:
        # There is no way to report that the log is lost, and it should not stop a job.
        with suppress(OSError):
            click.echo(text, err=True)
        return
    try:
        click.echo(text)
    except BrokenPipeError:
        _give_up_stdout()
        _leave(UNREAD)
    except OSError as failure:
        _give_up_stdout()
        raise _not_printed(failure) from None


def _not_printed(failure: OSError) -> PixelwiseError:
    """Return the error for output that cannot be written."""
    if failure.errno in RESOURCES:
        return ResourceError(f"standard output: {failure.strerror}; free some space and run the same command again")
    return OutputError(f"standard output: {failure.strerror}")


def _give_up_stdout() -> None:
    """Discard all output from now on, or Python would try to flush it on exit, and fail."""
    with suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _open_standard_streams() -> None:
    """Open closed standard streams (`>&-`) on the null device.

    Otherwise the next file that is opened would get the number of the stream, and a library might write its messages
    into a map.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - until the end


def clipped(line: str) -> str:
    """Return a line, cut in the middle if it is longer than `LONGEST_LINE`."""
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


#: While a progress bar is drawn: the function that prints a line above it, from any thread.
_above_bar: list[Callable[[str], None]] = []


class Commands(click.Group):
    """Commands whose errors end in one clear line and a meaningful exit status."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        _keep_paragraphs(self)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command."""
        _keep_paragraphs(cmd)
        super().add_command(cmd, name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command by name, or say what was probably meant."""
        if not ctx.resilient_parsing and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(unknown_command(args[0], self.commands), ctx)
        if not ctx.resilient_parsing and args[0] in self.commands:
            check_hyphens(self.commands[args[0]], args[1:])
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what precedes the command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = misplaced_option(error.option_name, self.commands.values())
            raise error if hint is None else click.UsageError(hint, ctx) from None

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the program."""
        set_numba_file_aside()
        _open_standard_streams()
        try:
            return super().main(*args, **options)
        except OSError as failure:
            if not _is_of_stdout(failure):
                raise
            _give_up_stdout()
            error = _not_printed(failure)
            emit(f"error: {error}", error=True, lines=False)
            _leave(_status_of(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; the boundary at which every error turns into one line and an exit status."""
        try:
            with _log_on_stderr(), _without_undecodable_messages(), _stopped_cleanly_when_terminated():
                return super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = clipped(printable(error.message, lines=False))
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except _Terminated:
            emit("terminated", error=True)
            _leave(TERMINATED)
        except KeyboardInterrupt:
            emit("interrupted", error=True)
            _leave(INTERRUPTED)
        except Exception as error:
            if isinstance(error, OSError) and _is_of_stdout(error):  # click prints the help of a command itself
                raise
            if ctx.meta.get("pixelwise.debug"):
                emit("".join(traceback.format_exception(error)).rstrip(), error=True)
            else:
                _print_error(error)
            _leave(_status_of(error))


def _print_error(error: Exception) -> None:
    """Print an error on one line, or on one for each problem of the input."""
    if isinstance(error, FunctionError):  # may contain the traceback of a user's function
        emit(f"error: {error}", error=True)
        return
    lines = error.problems if isinstance(error, InputError) else (str(error),)
    if isinstance(error, MemoryError):
        reason = f" ({error})" if str(error) else ""
        lines = (f"memory ran out{reason}{_worked_on(error)}; run the same command again with more memory to resume",)
    elif isinstance(error, OSError) and error.strerror is not None:
        lines = (_system_error(error),)
    elif missing := _missing_package(error):
        broken = (
            f"the package {missing} cannot be imported ({one_line(error)}): the installation is incomplete or broken"
        )
        lines = (f"{broken}; install pixelwise again, in a new environment if need be",)
    elif not isinstance(error, PixelwiseError):
        text = one_line(f"{type(error).__name__}: {error}")
        request = "please report it with what the same command prints with --debug"
        lines = (f"{clipped(text)}{_worked_on(error)}; this is a bug in pixelwise: {request}",)
    for line in lines:
        emit(f"error: {clipped(line)}", error=True, lines=False)


def _status_of(error: Exception) -> int:
    """Return the exit status for an error."""
    if isinstance(error, (ResourceError, MemoryError)):
        return RAN_OUT
    if isinstance(error, OSError) and error.strerror is not None:
        return RAN_OUT if error.errno in RESOURCES else FAILED
    return FAILED if isinstance(error, PixelwiseError) or _missing_package(error) else BUG


def _missing_package(error: Exception) -> str:
    """Return which package of others cannot be imported; empty for any other error."""
    name = ((error.name if isinstance(error, ImportError) else "") or "").partition(".")[0]
    return "" if name in ("pixelwise", *sys.stdlib_module_names) else name


def _system_error(error: OSError) -> str:
    """Return in one line what the operating system refused, which is not a bug."""
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same
    except OSError:
        return "the current folder was removed; change to an existing one"
    return f"{error.strerror}{_worked_on(error)}"


def _is_of_stdout(error: OSError) -> bool:
    """Whether the error was raised by click, which opens no files but prints help."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "click"


def _worked_on(error: BaseException) -> str:
    """Name the file that was being processed: the one in the innermost of our functions that has one."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__", "").partition(".")[0] != "pixelwise":
            continue
        for value in frame.f_locals.values():
            ours = type(value).__module__.partition(".")[0] == "pixelwise"
            path = getattr(value, "path", None) if ours else value
            if isinstance(path, Path):
                return f", while processing {path}"
    return ""


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived, which batch systems send before they kill: clean up first."""


@contextmanager
def _stopped_cleanly_when_terminated() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(status: int) -> None:
    """End the process even if threads are running: after a second Ctrl-C nobody waits for their blocks."""
    if any(t.name.startswith("pixelwise") and t.is_alive() and not t.daemon for t in threading.enumerate()):
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _keep_paragraphs(command: click.Command) -> None:
    """Replace click's mark of a fixed paragraph, two characters in a raw docstring, by the one that click expects."""
    if command.help:
        command.help = command.help.replace("\\b", "\b")


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Show our log while a command runs; logs of libraries only repeat what an error says."""
    log, handler = logging.getLogger("pixelwise"), _Stderr()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _without_undecodable_messages() -> Iterator[None]:
    """Print no traceback for messages of GDAL that are not UTF-8, such as those that quote a damaged file.

    rasterio decodes them where it cannot raise an exception, so Cython prints one through both hooks; the error behind
    them is raised anyway.
    """
    before, before_unraisable = sys.excepthook, sys.unraisablehook

    def report(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
        if not (issubclass(kind, UnicodeDecodeError) and frames is None):
            before(kind, error, frames)

    def report_unraisable(what: sys.UnraisableHookArgs) -> None:
        if not (issubclass(what.exc_type, UnicodeDecodeError) and "rasterio" in str(what.object)):
            before_unraisable(what)

    sys.excepthook, sys.unraisablehook = report, report_unraisable
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = before, before_unraisable


class _Stderr(logging.Handler):
    """Writes to the present stderr; a stream kept from the start may be closed."""

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
        is_eager=True,  # so that it also works if another option is wrong
        expose_value=False,
        callback=remember,
        help="Show a traceback for every error.",
    )(command)


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a progress callback that draws a bar on stderr; None if stderr is not a terminal."""
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
