"""``pixelwise clean``."""

from __future__ import annotations

from pathlib import Path

import click

from pixelwise.cli.report import debug_option, emit
from pixelwise.errors import OutputError

__all__ = ["clean"]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@debug_option
def clean(folder: Path) -> None:
    """Remove what stopped jobs left in FOLDER.

    These are hidden files: journals, from which a job goes on, and half-written maps. Without its journal a
    stopped job begins anew. Nothing is removed while a job is writing into the folder.
    """
    from pixelwise.journal import JOURNAL_SUFFIX, is_locked
    from pixelwise.sinks.publish import PARTIAL

    journals = sorted(folder.glob(f".*{JOURNAL_SUFFIX}"))
    for journal in journals:
        if is_locked(journal):
            emit(f"{journal}: in use by a running job; nothing is removed from this folder", error=True, lines=False)
            return
    for leftover in (*journals, *sorted(folder.glob(f".*{PARTIAL}*.tif*"))):
        try:
            size = leftover.lstat().st_size
            leftover.unlink()
        except OSError as error:
            raise OutputError(f"{leftover}: cannot be removed ({error.strerror})") from None
        emit(f"{leftover} ({size / 1e6:.1f} MB)", lines=False)
