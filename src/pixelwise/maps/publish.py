"""Names for complete files: either all files of a set get theirs, or none."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from pixelwise.errors import InputError, OutputError
from pixelwise.maps.disk import is_blank, refusal, remove, sync, why_not_ours
from pixelwise.maps.records import Seal
from pixelwise.rasters.headers import TAG
from pixelwise.rasters.tags import find_tags
from pixelwise.regular_files import irregular, open_regular

__all__ = [
    "HALF_WRITTEN",
    "HEAD_SLACK",
    "PARTIAL",
    "REPLACED",
    "SIDECARS",
    "SUFFIXES",
    "Pending",
    "PendingFile",
    "check_length",
    "is_hardly_begun",
    "is_ours",
    "is_own_sidecar",
    "mark",
    "marked",
    "pam",
    "publish",
    "restore",
    "still_hidden",
]

log = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff")

#: In the name of a file that is not complete, after that of the output.
PARTIAL = ".partial"
#: In the name of a file that is being replaced together with others.
REPLACED = ".replaced"

#: GDAL's sidecar for what the file itself cannot hold.
PAM = ".aux.xml"
#: How a sidecar that we write begins.
PAM_BEGINNING = b"<PAMDataset><SRS>"
#: Files that other programs put beside a GeoTIFF: statistics, overviews, a mask.
SIDECARS = (PAM, ".ovr", ".msk")

#: `.trend.partial.tif`, `.trend.partial.tif.aux.xml`, `.trend.partial.replaced.tif`, `.trend.partial.replaced.nc`, ...
HALF_WRITTEN = re.compile(
    rf"\.(?P<stem>.+){re.escape(PARTIAL)}(?P<replaced>{re.escape(REPLACED)})?"
    rf"(?P<suffix>(?i:{'|'.join(map(re.escape, (*SUFFIXES, '.nc')))}))"
    rf"(?P<sidecar>{'|'.join(map(re.escape, SIDECARS))})?",
    re.DOTALL,
)

#: Bytes at the start of a file, more than its head, that distinguish it from others.
SEALED = 1 << 20

#: Space in a file's head for what is known only at the end.
HEAD_SLACK = 64 << 10

#: How a file begins until its head is written at the end: then the map that it belongs to follows, and a line feed.
MARK = b"half-written by pixelwise for "
#: No system has longer paths; in JSON a byte takes up to six.
LONGEST_PATH = 6 * 4096
#: The TIFF tag in which GDAL keeps texts.
GDAL_METADATA = 42112


def pam(path: Path) -> Path:
    """Return where GDAL looks for a file's sidecar."""
    return path.with_name(path.name + PAM)


def still_hidden(temporary: Path, final: Path, is_sealed: Callable[[Path], bool]) -> bool:
    """Whether an output that an earlier run completed has its temporary name still, not its final one.

    Raises
    ------
    OutputError
        When what has these names is not what was sealed.
    """
    for path in (temporary, final):
        with contextlib.suppress(OSError, InputError):
            if is_sealed(path):
                return path == temporary
    raise OutputError(f"{final}: was complete, but is gone or changed; --restart computes it again")


@dataclass(frozen=True)
class PendingFile:
    """A file under its temporary name: in the final folder, but hidden, so that no glob takes it for a layer.

    Attributes
    ----------
    final
        Its name.
    hidden
        Its temporary name, if that does not follow from its name.

    Raises
    ------
    OutputError
        When the names needed beside the final one are too long.
    """

    final: Path
    hidden: Path | None = None

    def __post_init__(self) -> None:
        check_length(
            self.final, max((self.temporary, *self.aside.values()), key=lambda path: len(os.fsencode(path.name)))
        )

    @property
    def temporary(self) -> Path:
        """Its name until it is complete."""
        return self.hidden or self.final.with_name(f".{self.final.stem}{PARTIAL}{self.final.suffix}")

    @property
    def aside(self) -> dict[str, Path]:
        """Where a map and, by suffix, its sidecars are kept until everything that belongs together is replaced."""
        name = f".{self.final.stem}{PARTIAL}{REPLACED}{self.final.suffix}"
        return {suffix: self.final.with_name(name + suffix) for suffix in ("", *SIDECARS)}

    def seal(self) -> Seal:
        """Return what distinguishes the complete file from others: its size, and a checksum of its head."""
        return _seal(self.temporary)

    def is_waiting(self, seal: Seal) -> bool:
        """Whether a file sealed by an earlier run still lacks its final name.

        Raises
        ------
        OutputError
            When it has neither name.
        """
        return still_hidden(self.temporary, self.final, lambda path: not irregular(path) and _seal(path) == seal)

    def check_beside(self, *, overwrite: bool) -> None:
        """Look for files that would be read as part of the new file, and for files of others under our hidden names.

        Raises
        ------
        OutputError
            When there are any.
        """
        try:
            names = [path.name for path in self.final.parent.iterdir()]
        except OSError:  # the folder may be writable but not listable: then only exact names can be found
            names = [f"{self.final.name}{s}" for s in SIDECARS if os.path.lexists(f"{self.final}{s}")]
        folder = self.final.parent
        # GDAL ignores case when it looks for some of them.
        sidecars = {f"{self.final.name}{suffix}".lower(): f"{self.final.name}{suffix}" for suffix in SIDECARS}
        for name in names:
            if (exact := sidecars.get(name.lower())) is None:
                continue
            known = name == exact and irregular(folder / name) in ("", "a link")
            if not (overwrite and known):
                remedy = "remove it, or --overwrite does" if known else "remove it"
                raise OutputError(f"{folder / name}: exists, and would be read with {self.final.name}; {remedy}")
        for path in self.aside.values():
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            # While the old file is being replaced, it has both names.
            if reason := why_not_ours(status, folder, linked=True):
                raise OutputError(f"{self.final}: {path.name} beside it {reason}; remove it, or choose another output")

    def recover(self) -> None:
        """Give a file back its name if a job was killed while it replaced it; only where links are impossible.

        Raises
        ------
        OutputError
            When it cannot be renamed.
        """
        if os.path.lexists(self.final) or not os.path.lexists(self.aside[""]):
            return
        self.check_beside(overwrite=True)  # only what is ours
        for suffix, aside in self.aside.items():
            if os.path.lexists(aside):
                restore(aside, self.final.with_name(self.final.name + suffix))

    def drop_sidecar(self) -> None:
        """Remove the sidecar that an earlier run wrote for the half-written file; it would be read with this one.

        Raises
        ------
        OutputError
            When it is not ours, or cannot be removed.
        """
        for path in (self.temporary.with_name(self.temporary.name + suffix) for suffix in SIDECARS):
            try:
                if not os.path.lexists(path):
                    continue
                if not is_own_sidecar(path):
                    raise OutputError(
                        f"{self.final}: {path.name} beside it is not a pixelwise file; remove it, or choose another "
                        "output"
                    )
                path.unlink(missing_ok=True)
            except OSError as error:
                raise refusal(f"{self.final}: {path.name} beside it cannot be removed", error) from None

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a final name that has been taken since the job began.

        Raises
        ------
        OutputError
            When it has been.
        """
        if kind := irregular(self.final):
            raise OutputError(f"{self.final}: is now {kind}; remove it, and run the same command again to resume")
        for suffix in () if overwrite else ("", *SIDECARS):
            path = self.final.with_name(self.final.name + suffix)
            if os.path.lexists(path) and not self._is_ahead(path):
                raise OutputError(f"{path}: now exists; --overwrite replaces it with the map, which is complete")

    def _is_ahead(self, path: Path) -> bool:
        """Whether a path is the sidecar of this file, which still lacks its name, as after a kill between renames."""
        sidecar = pam(self.temporary)
        if path != pam(self.final) or os.path.lexists(self.final) or not is_own_sidecar(path, whole=True):
            return False
        with contextlib.suppress(OSError, InputError), open_regular(path) as one, open_regular(sidecar) as other:
            return one.read() == other.read()
        return False

    def replace(self, back: list[tuple[Path, Path]], *, alone: bool) -> None:
        """Give the file its name, and record at each step how to undo it."""
        for suffix, aside in self.aside.items():
            before = self.final.with_name(self.final.name + suffix)
            # A single file is replaced in one step; old sidecars would be taken for the new map's.
            if (suffix or not alone) and os.path.lexists(before) and not self._is_ahead(before):
                if suffix:
                    log.info("%s, which belongs to the old map, is removed", before)
                _set_aside(before, aside, link=not suffix)
                back.append((aside, before))
        if is_own_sidecar(sidecar := pam(self.temporary)):
            sidecar.replace(pam(self.final))
            back.append((pam(self.final), sidecar))
        self.temporary.replace(self.final)
        back.append((self.final, self.temporary))

    def tidy(self) -> None:
        """Remove what was replaced."""
        for path in self.aside.values():
            remove(path)


def is_own_sidecar(path: Path, *, whole: bool = False) -> bool:
    """Whether a file beside a half-written one is the sidecar that we write, which holds only a CRS.

    A full disk may have truncated it, even to nothing: a `whole` one has at least its distinctive beginning.
    """
    if not path.name.endswith(PAM) or irregular(path):
        return False
    try:
        with open_regular(path) as file:
            if why_not_ours(os.fstat(file.fileno()), path.parent):
                return False
            begin = file.read(len(PAM_BEGINNING))
            return begin == PAM_BEGINNING if whole else PAM_BEGINNING.startswith(begin)
    except InputError:
        return False


def mark(map_: Path, path: Path) -> bytes:
    """Return the first bytes of a half-written file, a part of a map (its pattern, for one file per band)."""
    where = os.path.relpath(os.path.realpath(map_.parent), os.path.realpath(path.parent))
    return MARK + json.dumps((Path(where) / map_.name).as_posix()).encode() + b"\n"


def marked(file: BinaryIO) -> str | None:
    """Return the map that a half-written file belongs to, relative to its folder; None if the file does not say."""
    file.seek(0)
    found = file.read(len(MARK) + LONGEST_PATH + 1)
    if not found.startswith(MARK):
        return None
    try:
        map_ = json.loads(found[len(MARK) :].partition(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    return map_ if isinstance(map_, str) and "\0" not in map_ else None


def is_hardly_begun(file: BinaryIO) -> bool:
    """Whether a file is blank, or holds only the beginning of our mark, as after a kill while that was written.

    Moves the file position. OSError if it cannot be read.
    """
    if is_blank(file):
        return True
    file.seek(0)
    found = file.read(len(MARK) + LONGEST_PATH + 1)
    cut = found.startswith(MARK + b'"') and b"\n" not in found and len(found) <= len(MARK) + LONGEST_PATH
    return cut or MARK.startswith(found)


def is_ours(file: BinaryIO) -> bool:
    """Whether an open file identifies itself as a pixelwise map, complete or half-written; OSError if unreadable."""
    if marked(file) is not None:
        return True
    try:
        field = find_tags(file, (GDAL_METADATA,), kinds={2: "u1"})[GDAL_METADATA]
    except (ValueError, KeyError, struct.error):
        return False
    file.seek(field.position)
    # Our tag is one of the first; a map's provenance may take megabytes.
    return f'name="{TAG}"'.encode() in file.read(min(field.count, SEALED))


def _seal(path: Path) -> Seal:
    with open_regular(path) as file:
        return Seal(os.fstat(file.fileno()).st_size, zlib.crc32(file.read(SEALED)))


def check_length(final: Path, longest: Path) -> None:
    """Refuse an output if the longest name needed beside it is too long.

    Raises
    ------
    OutputError
        When it is.
    """
    size, beside = len(os.fsencode(final.name)), len(os.fsencode(longest.name))
    try:
        most = os.pathconf(final.parent, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    except OSError as error:
        raise OutputError(f"{final}: cannot be written ({error.strerror})") from None
    if beside > most > 0:
        raise OutputError(
            f"{final}: its name has {size} bytes; here it may have at most {most - beside + size}, so that "
            f"hidden files beside it can have longer names; choose a shorter one"
        )
    try:
        with contextlib.suppress(FileNotFoundError):
            longest.lstat()
    except OSError as error:  # the whole path is too long
        raise OutputError(f"{final}: cannot be written: {longest.name} beside it ({error.strerror})") from None


class Pending(Protocol):
    """What is given its name once it is complete: a file, or a folder of files."""

    @property
    def final(self) -> Path:
        """Its name."""

    @property
    def temporary(self) -> Path:
        """Its name until it is complete."""

    def seal(self) -> Seal:
        """Return what distinguishes it, complete, from others."""

    def is_waiting(self, seal: Seal) -> bool:
        """Whether what an earlier run sealed still lacks its final name; OutputError if it has neither name."""

    def check_beside(self, *, overwrite: bool) -> None:
        """Refuse anything of others beside it that would be taken for a part of it."""

    def recover(self) -> None:
        """Give what was set aside its name back, if a job was killed before it gave its own that name.

        Only for whoever does not end that job: what was set aside is the only copy of the old map.
        """

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a final name that has been taken since the job began."""

    def replace(self, back: list[tuple[Path, Path]], *, alone: bool) -> None:
        """Give it its final name, and record at each step how to undo it, as (from, to)."""

    def tidy(self) -> None:
        """Remove what was replaced and is not needed any more."""


def publish(files: Sequence[Pending], waiting: Sequence[Pending], *, overwrite: bool) -> None:
    """Give complete files their names; if one cannot be renamed, or the job is stopped, all keep their old ones.

    Parameters
    ----------
    files
        All files of a set.
    waiting
        Those that do not have their final names yet.
    overwrite
        Whether existing files may be replaced.

    Raises
    ------
    OutputError
        When a name is taken, or a file cannot be renamed.
    """
    #: Renames that would undo it, as (from, to).
    back: list[tuple[Path, Path]] = []
    for file in waiting:
        try:
            file.check_free(overwrite=overwrite)
            file.replace(back, alone=len(files) == 1)
        except BaseException as error:
            for source, target in reversed(back):
                with contextlib.suppress(OSError):
                    source.replace(target)
                    source.unlink(missing_ok=True)  # two links to one file: renaming does nothing
            if isinstance(error, OSError):
                raise refusal(f"{file.final}: cannot be renamed to its final name", error) from None
            raise
    try:
        for folder in {file.final.parent: None for file in files}:
            sync(folder)
    except OSError as error:
        # Not undone: if a folder cannot be synced, the old names are no safer than the new ones.
        raise refusal(f"{files[0].final}: is complete, but its folder cannot be flushed to disk", error) from None
    finally:
        for file in files:
            file.tidy()


def restore(aside: Path, final: Path) -> None:
    """Give what was set aside its name back.

    Raises
    ------
    OutputError
        When it cannot be renamed.
    """
    try:
        aside.replace(final)
    except OSError as error:
        raise refusal(f"{final}: was set aside as {aside.name}, and cannot get its name back", error) from None
    log.warning("%s was restored: a job that was replacing it was killed", final)


def _set_aside(path: Path, aside: Path, *, link: bool) -> None:
    """Give a file another name; with `link`, if links are possible, in addition to its own."""
    aside.unlink(missing_ok=True)
    if link:
        with contextlib.suppress(OSError):  # a file system without links
            os.link(path, aside)
            return
    path.replace(aside)
