"""Jobs that are stopped in the middle, and what they leave."""

from collections.abc import Callable
from pathlib import Path


class Stop(Exception):
    """Ends a job in the middle, as Ctrl+C or an error of a worker does."""


def stopped_after(blocks: int, error: type[BaseException] = Stop) -> Callable[[int, int], None]:
    """Return a progress callback that raises once so many blocks are done."""
    calls: list[int] = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) >= blocks:
            raise error

    return progress


def hidden(folder: Path) -> list[str]:
    """Return the names of what jobs left in a folder."""
    return sorted(path.name for path in folder.glob(".*"))


def visible(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder that are not hidden."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
