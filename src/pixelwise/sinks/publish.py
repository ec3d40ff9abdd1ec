"""Names for files that are complete: all of a set get theirs, or none."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.disk import refusal, remove, sync
from pixelwise.errors import OutputError

__all__ = ["PARTIAL", "PendingFile", "pam", "publish"]

#: In the name of a file that is not complete, after that of the output.
PARTIAL = ".partial"
#: In the name of a file that is being replaced together with others.
REPLACED = ".replaced"

#: GDAL's sidecar for what a file itself cannot hold.
PAM = ".aux.xml"
#: What other programs put beside a GeoTIFF: statistics, overviews, a mask.
SIDECARS = (PAM, ".ovr", ".msk")

#: Bytes at the start of a file, its head and more, that tell it from another.
SEALED = 1 << 20


def pam(path: Path) -> Path:
    """Return where GDAL looks for a file's sidecar."""
    return path.with_name(path.name + PAM)


@dataclass(frozen=True)
class PendingFile:
    """A file under its temporary name: hidden, so that no glob takes it for a layer, in the folder of the final one.

    Raises
    ------
    OutputError
        When names beside the final one are too long.
    """

    final: Path

    def __post_init__(self) -> None:
        longest = max((self.temporary, *self.aside.values()), key=lambda path: len(path.name))
        try:
            with contextlib.suppress(FileNotFoundError):
                longest.lstat()
        except OSError as error:
            raise OutputError(f"{self.final}: cannot be written: {longest.name} beside it ({error.strerror})") from None

    @property
    def temporary(self) -> Path:
        """Its name until it is complete."""
        return self.final.with_name(f".{self.final.stem}{PARTIAL}{self.final.suffix}")

    @property
    def aside(self) -> dict[str, Path]:
        """Where a map and, by suffix, its sidecars are kept until all that belongs together is replaced."""
        name = f".{self.final.stem}{PARTIAL}{REPLACED}{self.final.suffix}"
        return {suffix: self.final.with_name(name + suffix) for suffix in ("", *SIDECARS)}

    def seal(self) -> list[int]:
        """Return what tells the complete file from others: its size, and a checksum of its head."""
        return _seal(self.temporary)

    def is_waiting(self, seal: list[int]) -> bool:
        """Whether a file that an earlier run sealed has not got its name yet.

        Raises
        ------
        OutputError
            When it is neither here nor there.
        """
        with contextlib.suppress(OSError):
            if _seal(self.temporary) == seal:
                return True
        with contextlib.suppress(OSError):
            if _seal(self.final) == seal:
                return False
        raise OutputError(f"{self.final}: was complete, but is gone or changed; --restart computes it again")


def _seal(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [os.fstat(file.fileno()).st_size, zlib.crc32(file.read(SEALED))]


def publish(files: Sequence[PendingFile], waiting: Sequence[PendingFile], *, overwrite: bool) -> None:
    """Give complete files their names; where one cannot be renamed, or the job is stopped, none has its new one.

    Parameters
    ----------
    files
        All of a set.
    waiting
        Those that have not got their names yet.
    overwrite
        Whether files of these names may be replaced.

    Raises
    ------
    OutputError
        When a name is taken, or a file cannot be renamed.
    """
    #: What would undo it: from where to where.
    back: list[tuple[Path, Path]] = []
    for file in waiting:
        try:
            if not overwrite and os.path.lexists(file.final):
                raise OutputError(f"{file.final}: exists by now; --overwrite replaces it by the map that is complete")
            _replace(file, back, alone=len(files) == 1)
        except BaseException as error:
            for source, target in reversed(back):
                with contextlib.suppress(OSError):
                    source.replace(target)
                    source.unlink(missing_ok=True)  # two links to one file: renaming does nothing
            if isinstance(error, OSError):
                raise refusal(f"{file.final}: cannot be given its name", error) from None
            raise
    try:
        for folder in {file.final.parent: None for file in files}:
            sync(folder)
    except OSError as error:
        # Not undone: a folder that cannot be synced keeps the old names no more safely than the new ones.
        raise refusal(f"{files[0].final}: is complete, but its folder cannot be brought to disk", error) from None
    finally:
        for path in (path for file in files for path in file.aside.values()):
            remove(path)


def _replace(file: PendingFile, back: list[tuple[Path, Path]], *, alone: bool) -> None:
    """Give one file its name, and note at each step what would undo it."""
    for suffix, aside in file.aside.items():
        before = file.final.with_name(file.final.name + suffix)
        # A single file is replaced in one step; sidecars of what is replaced would be taken for the new map's.
        if (suffix or not alone) and before.exists():
            _set_aside(before, aside, link=not suffix)
            back.append((aside, before))
    if (sidecar := pam(file.temporary)).exists():
        sidecar.replace(pam(file.final))
        back.append((pam(file.final), sidecar))
    file.temporary.replace(file.final)
    back.append((file.final, file.temporary))


def _set_aside(path: Path, aside: Path, *, link: bool) -> None:
    """Give a file another name; where links are possible and wanted, beside its own."""
    aside.unlink(missing_ok=True)
    if link:
        with contextlib.suppress(OSError):  # a file system without links
            os.link(path, aside)
            return
    path.replace(aside)
