"""Which part of a map is done: so that the same job, started again, goes on where it was stopped.

A journal is one hidden file beside the output, appended to and never changed: what the job is, as JSON, then one
record per finished block. A record says which pixels it holds and carries checksums; a damaged one is as if it were
not there. Nothing in it is code.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.disk import BackgroundSync
from pixelwise.errors import OutputError
from pixelwise.grid import Block, Grid
from pixelwise.plan import TILE_UNIT

__all__ = ["JOURNAL_SUFFIX", "Journal", "is_locked", "journal_of"]

log = logging.getLogger("pixelwise")

JOURNAL_SUFFIX = ".journal"

#: First bytes of the file; a later layout gets another number.
MAGIC = b"pixelwise journal 1\n"
#: Length and checksum of the JSON that follows.
HEAD = struct.Struct("<QI")
#: A mark to find records by, row, column, height and width of the block, bytes that follow, their checksum, and
#: that of this record's head.
MARK = b"\x89pwblock"
RECORD = struct.Struct("<8sIIIIQII")

#: Blocks of any plan start and end at multiples of this, or at the edge of the raster.
CELL = TILE_UNIT

#: Longer values are not shown where they differ.
LONGEST_VALUES = 100

#: Records are brought to disk after so many seconds: a power failure loses no more.
SYNC_SECONDS = 2.0


def journal_of(output: Path) -> Path:
    """Return where the journal of an output is."""
    return output.with_name(f".{output.name}{JOURNAL_SUFFIX}")


class Journal:
    """The finished blocks of one job, on disk.

    Parameters
    ----------
    output
        The map's name; the journal lies beside it.
    key
        What the job is, by topic, ready for JSON: a journal is gone on with only where all of it is the same.
    grid, bands, dtype
        Of the map; a record holds `bands` values of `dtype` per pixel and a status.
    refused
        Why this job cannot be gone on with, where that is so: then nothing is kept, only the lock.
    restart
        Whether what an earlier run left is dropped.

    Raises
    ------
    OutputError
        When another run holds the journal, it belongs to another job, or it cannot be written.
    """

    def __init__(
        self,
        output: Path,
        key: Mapping[str, Any],
        grid: Grid,
        bands: int,
        dtype: str,
        *,
        refused: str = "",
        restart: bool = False,
    ) -> None:
        self.path = journal_of(output)
        self._output = output
        self._refused = refused
        self._grid, self._bands, self._dtype = grid, bands, np.dtype(dtype)
        self._done = np.zeros((-(-grid.height // CELL), -(-grid.width // CELL)), dtype=bool)
        self._synced = time.monotonic()
        self._syncing = BackgroundSync(f"{output}: its journal {self.path.name}")
        self._file = self._locked()
        try:
            self._records = self._start(key, restart=restart)
        except BaseException:
            self._file.close()
            raise

    def _locked(self) -> BinaryIO:
        """Open the file and lock it: the system unlocks it when this process ends, however it ends."""
        while True:
            try:
                file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
            except OSError as error:
                raise OutputError(f"{self._output}: its journal cannot be written ({error.strerror})") from None
            try:
                _lock(file)
            except OSError as error:
                file.close()
                if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                    reason = f"its journal cannot be locked here ({error.strerror}); write to a local disk"
                else:
                    reason = f"another run is writing it (it holds {self.path.name}); wait, or choose another output"
                raise OutputError(f"{self._output}: {reason}") from None
            # The run that held it may have ended, and removed what was just opened, in between.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    return file
            file.close()

    def _start(self, key: Mapping[str, Any], *, restart: bool) -> int:
        """Check or write the head; return where records begin."""
        text = json.dumps(key, sort_keys=True).encode()
        found = None if restart else self._read_key()
        if found is not None and os.fstat(self._file.fileno()).st_size == found[1]:
            found = None  # a short job was killed: nothing is lost with it
        if found is not None and self._refused:
            raise OutputError(
                f"{self._output}: an unfinished job left {self.path.name}, but this one cannot go on with it: "
                f"{self._refused}; --restart drops it"
            )
        if found is not None:
            differing = _differences(found[0], json.loads(text))
            if differing:
                raise OutputError(
                    f"{self._output}: an unfinished job of another kind left {self.path.name}: {differing}; "
                    "--restart drops it"
                )
            return found[1]
        self._file.truncate(0)
        self._file.seek(0)
        self._append(MAGIC + HEAD.pack(len(text), zlib.crc32(text)) + text)
        return self._file.tell()

    def _read_key(self) -> tuple[Any, int] | None:
        """Return the key of an earlier run and where its records begin; None where there is no whole one."""
        head = self._file.read(len(MAGIC) + HEAD.size)
        if len(head) < len(MAGIC) + HEAD.size or not head.startswith(MAGIC):
            return None
        size, checksum = HEAD.unpack_from(head, len(MAGIC))
        if size > os.fstat(self._file.fileno()).st_size:
            return None
        text = self._file.read(size)
        if zlib.crc32(text) != checksum:
            return None
        return json.loads(text), self._file.tell()

    def blocks(self) -> Iterator[tuple[Block, NDArray[Any], NDArray[np.uint8]]]:
        """Yield what is done: blocks, their (band, y, x) values and (y, x) status. To be exhausted before `add`.

        Raises
        ------
        OutputError
            When the journal cannot be read.
        """
        end, damaged = self._records, 0
        size = os.fstat(self._file.fileno()).st_size
        try:
            while (start := self._find_record(end, size)) is not None:
                block, length, checksum = start[1:]
                damaged += start[0] != end
                self._file.seek(start[0] + RECORD.size)
                payload = self._file.read(length)
                end = start[0] + RECORD.size + length
                if zlib.crc32(payload) != checksum:
                    damaged += 1
                    continue
                split = block.pixels * self._bands * self._dtype.itemsize
                values = np.frombuffer(payload, self._dtype, count=block.pixels * self._bands)
                status = np.frombuffer(payload, np.uint8, offset=split)
                self._done[self._cells(block)] = True
                yield (
                    block,
                    values.reshape(self._bands, block.height, block.width),
                    status.reshape(block.height, block.width),
                )
            # What a killed run left half-written; the next record follows the last whole one.
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise OutputError(f"{self._output}: its journal cannot be read ({error.strerror})") from None
        if damaged:
            log.warning("%d damaged part(s) of %s are computed again", damaged, self.path.name)

    def _find_record(self, begin: int, size: int) -> tuple[int, Block, int, int] | None:
        """Return the next record from `begin` on whose head is whole: its place, block, length and checksum."""
        position = begin
        while position + RECORD.size <= size:
            self._file.seek(position)
            head = self._file.read(RECORD.size)
            mark, row, col, height, width, length, checksum, own = RECORD.unpack(head)
            if mark == MARK and own == zlib.crc32(head[:-4]) and position + RECORD.size + length <= size:
                return position, Block(row, col, height, width), length, checksum
            # A damaged head: the next mark is that of another record, or of none.
            position += 1
            self._file.seek(position)
            chunk = self._file.read(1 << 20)
            at = chunk.find(MARK)
            position += at if at >= 0 else max(len(chunk) - len(MARK) + 1, 1)
        return None

    def _cells(self, block: Block) -> tuple[slice, slice]:
        return (
            slice(block.row // CELL, -(-(block.row + block.height) // CELL)),
            slice(block.col // CELL, -(-(block.col + block.width) // CELL)),
        )

    @property
    def pixels(self) -> int:
        """How many pixels are done."""
        rows, cols = np.nonzero(self._done)
        heights = np.minimum(CELL, self._grid.height - rows * CELL)
        return int((heights * np.minimum(CELL, self._grid.width - cols * CELL)).sum())

    def remaining(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Cut what is done out of blocks; blocks that another plan had done in part fall into pieces."""
        for block in blocks:
            done = self._done[self._cells(block)]
            if not done.any():
                yield block
            elif not done.all():
                yield from _pieces(~done, block)

    def add(self, block: Block, values: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Append a finished block, unless that is refused.

        Raises
        ------
        OutputError
            When the disk is full or fails; what was appended before stays whole.
        """
        if self._refused:
            return
        parts = [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in (values, status)]
        checksum = zlib.crc32(parts[1], zlib.crc32(parts[0]))
        length = sum(part.nbytes for part in parts)
        head = RECORD.pack(MARK, block.row, block.col, block.height, block.width, length, checksum, 0)[:-4]
        self._append(head + struct.pack("<I", zlib.crc32(head)), *parts)
        self._done[self._cells(block)] = True
        if time.monotonic() - self._synced > SYNC_SECONDS and self._syncing.idle:
            self._synced = time.monotonic()
            self._syncing.start(self.path)

    def _append(self, *parts: bytes | memoryview) -> None:
        begin = self._file.tell()
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(begin)
                self._file.seek(begin)
            raise OutputError(
                f"{self._output}: its journal {self.path.name} cannot be written ({error.strerror}); make room and "
                "start the same command again: it goes on from here"
            ) from None

    @property
    def worth_keeping(self) -> bool:
        """Whether it holds anything."""
        return bool(self._done.any())

    def close(self, *, finished: bool) -> None:
        """Unlock the journal; remove it when the map is finished, or when it holds nothing."""
        self._syncing.close()
        removed = finished or not self.worth_keeping
        if removed and os.name != "nt":
            # While it is locked: the next run makes its own.
            self.path.unlink(missing_ok=True)
        self._file.close()
        if removed and os.name == "nt":
            # Windows removes no open file; another run may hold it by now.
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def _pieces(wanted: NDArray[np.bool_], block: Block) -> Iterator[Block]:
    """Cut the wanted cells of a block into rectangles: runs of columns over rows that are alike."""
    changes = np.flatnonzero((wanted[1:] != wanted[:-1]).any(axis=1)) + 1
    for top, bottom in zip([0, *changes.tolist()], [*changes.tolist(), len(wanted)], strict=True):
        edges = np.flatnonzero(np.diff(wanted[top].astype(np.int8), prepend=0, append=0))
        for left, right in edges.reshape(-1, 2).tolist():
            height = min(bottom * CELL, block.height) - top * CELL
            width = min(right * CELL, block.width) - left * CELL
            yield Block(block.row + top * CELL, block.col + left * CELL, height, width)


def _differences(found: Any, wanted: Any, where: str = "") -> str:
    """Say in words where two keys differ first; nothing where they are the same."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted(found.keys() | wanted.keys()):
            words = _differences(found.get(name), wanted.get(name), f"{where} {name}".strip())
            if words:
                return words
        return ""
    if isinstance(found, list) and isinstance(wanted, list):
        if len(found) != len(wanted):
            return f"{where} had {len(found)} entries, has {len(wanted)}"
        for index, (before, now) in enumerate(zip(found, wanted, strict=True)):
            name = now.get("path", index + 1) if isinstance(now, dict) else index + 1
            words = _differences(before, now, f"{where} {name}")
            if words:
                return words
        return ""
    if found == wanted:
        return ""
    before, now = json.dumps(found), json.dumps(wanted)
    return f"{where} was {before}, is {now}" if len(before + now) <= LONGEST_VALUES else f"{where} is another"


def is_locked(path: Path) -> bool:
    """Whether a run holds a journal now."""
    try:
        with path.open("r+b") as file:
            _lock(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock(file: BinaryIO) -> None:
    """Lock a file for this open file alone, or raise OSError where somebody else has."""
    if os.name == "nt":
        import msvcrt

        # Far behind the data: Windows lets nobody read what is locked.
        file.seek(1 << 62)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        file.seek(0)
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
