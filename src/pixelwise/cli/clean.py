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
    """Delete leftovers of interrupted jobs in FOLDER.

    Leftovers are hidden files: half-written maps and classes, and the journals with which jobs resume. Without them, an
    interrupted job starts from scratch. Files of running jobs, other users and other programs are kept; files
    that look like leftovers but are kept are listed on stderr with the reason.
    """
    from pixelwise.maps.leftovers import remove_leftovers

    found, failed = 0, []
    for leftover in remove_leftovers(folder):
        found += 1
        if leftover.failed:
            failed.append(leftover)
        elif leftover.kept:
            emit(f"{leftover.path}: kept, since {leftover.kept}", error=True, lines=False)
        else:
            emit(f"{leftover.path} ({leftover.size / 1e6:.1f} MB)", lines=False)
    if failed:
        more = f", and {len(failed) - 1} more file{'s' if len(failed) > 2 else ''}" if len(failed) > 1 else ""
        raise OutputError(f"{failed[0].path}: {failed[0].kept.removeprefix('it ')}{more}")
    if not found:
        emit(f"{folder}: no leftovers of interrupted jobs", error=True, lines=False)
