"""Record which parts of a map are done, so that the same job resumes where it was interrupted.

A journal is one hidden file beside the output, appended to and never changed. Its first line describes the job and
the layout of its half-written map; each of the others is one finished block, and the place of its tiles in that map.
Every line is JSON after its checksum; a damaged line is ignored.
"""

from __future__ import annotations

import json
import logging
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.grid import Block, Grid
from pixelwise.maps.disk import BackgroundSync, append, close, drop, is_blank, open_locked, refusal
from pixelwise.maps.records import DoneBlock, Layout, Seal, canonical
from pixelwise.maps.tiles import TILE
from pixelwise.rasters.tags import TILE_UNIT

__all__ = ["JOURNAL_SUFFIX", "Journal", "decode_line", "differences", "encode_line", "is_journal", "journal_of"]

log = logging.getLogger(__name__)

JOURNAL_SUFFIX = ".journal"

#: The format of the lines; a journal in another format cannot be resumed.
FORMAT = 3

#: Blocks of any plan start and end at multiples of this, or at the edge of the raster.
CELL = TILE_UNIT

#: Longer values are not shown where they differ.
LONGEST_VALUES = 100

#: How a first line begins, even one cut short: it may take megabytes, and the run may be killed while writing it.
BEGINNING = re.compile(rb'[0-9a-f]{8} \{"format":[0-9]')

#: No line of a journal is longer: the first names all files of a job, with a hundred bytes each.
LONGEST_LINE = 256 << 20

#: Lines are flushed to disk after this many seconds: a power failure loses no more.
SYNC_SECONDS = 2.0


def journal_of(output: Path) -> Path:
    """Return the path of an output's journal."""
    return output.with_name(f".{output.name}{JOURNAL_SUFFIX}")


class Journal:
    """The finished blocks of one job, on disk.

    Parameters
    ----------
    output
        The map's name; the journal is beside it.
    key
        What the job is, by topic, ready for JSON: a journal is resumed only if all of it is the same.
    grid
        The grid of the map.
    after
        Seconds that a job runs before a journal is worth writing.
    refused
        Why this job cannot be resumed; empty if it can. If set, only the lock is kept.
    restart
        Whether to discard the progress of an earlier run.
    before_restart
        Called, with the journal locked, before anything is discarded: if it raises, nothing is.

    Attributes
    ----------
    layout
        How the run being resumed laid out its half-written map; None if this run starts anew.
    committed
        The seals of that map's files, if it was complete except for their names; else None.

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
        *,
        after: float = 0.0,
        refused: str = "",
        restart: bool = False,
        before_restart: Callable[[], object] = lambda: None,
    ) -> None:
        self.path = journal_of(output)
        self.layout: Layout | None = None
        self.committed: list[Seal] | None = None
        self._output = output
        self._key = json.loads(json.dumps(key))
        self._refused = refused
        self._warned = False
        self._grid = grid
        #: Bytes of complete lines: whatever follows them was half-written, or belongs to another job.
        self._end = 0
        self._found: list[DoneBlock] = []
        #: Bytes of the first line: whatever follows it belongs to the same job, in the same layout.
        self._job = 0
        self._done = np.zeros((-(-grid.height // CELL), -(-grid.width // CELL)), dtype=bool)
        self._begun = self._synced = time.monotonic()
        self._after = after
        #: Lines kept back while the job is too short for a journal.
        self._waiting: list[DoneBlock] = []
        self._syncing = BackgroundSync(f"{output}: its journal {self.path.name}")
        self._file = open_locked(self.path, output)
        try:
            self._refuse_another_file()
            if restart:
                try:
                    before_restart()
                except BaseException:
                    if is_blank(self._file):
                        drop(self._file, self.path)
                    raise
                # At once: a run killed now must not leave it beside another job's half-written map.
                self._cut()
            else:
                self._open()
            if is_blank(self._file):
                self._identify()
        except BaseException as error:
            close(self._file)
            if isinstance(error, OSError):
                raise self._unreadable(error) from None
            raise

    def _refuse_another_file(self) -> None:
        try:
            known = is_journal(self._file) or is_blank(self._file)
            self._file.seek(0)
        except OSError as error:
            raise self._unreadable(error) from None
        if not known:
            raise OutputError(
                f"{self._output}: {self.path.name} beside it is not a pixelwise journal; remove it, or choose another "
                "output"
            )

    def _unreadable(self, error: OSError) -> OutputError:
        return OutputError(f"{self._output}: its journal cannot be read ({error.strerror})")

    def _open(self) -> None:
        """Read what an earlier run left, if there is anything to resume from."""
        try:
            lines = self._file.read().split(b"\n")
        except OSError as error:
            raise self._unreadable(error) from None
        # The last line ends with a line feed, or else was half-written by a killed run.
        head, *records = [decode_line(line) for line in lines[:-1]] or [None]
        if not any(records):
            return  # a short job was killed: nothing is lost with it
        damaged = head is None or not isinstance(head.get("format"), int)
        if head is None or damaged or head["format"] != FORMAT:
            what = "is damaged" if damaged else "is from another version of pixelwise"
            log.warning("%s %s: everything is computed again", self.path.name, what)
            return
        if self._refused:
            raise OutputError(
                f"{self._output}: an unfinished job left {self.path.name}, but this one cannot resume it: "
                f"{self._refused}; --restart discards it"
            )
        differing = differences(head.get("key"), self._key)
        if differing:
            raise OutputError(
                f"{self._output}: a different unfinished job left {self.path.name}: {differing}; --restart discards it"
            )
        try:
            layout = Layout.from_json(head.get("layout"))
            if max(layout.tile) > TILE:
                raise ValueError(f"tiles of {layout.tile}")
        except ValueError:
            log.warning("%s is damaged: everything is computed again", self.path.name)
            return
        self.layout, self._job = layout, _job(head)
        damaged_lines = 0
        for record in records:
            try:
                if record is None:
                    raise ValueError("its checksum is wrong")
                self._take(record)
            # RecursionError: deeply nested lists, which no valid checksum covers
            except (ValueError, TypeError, OverflowError, RecursionError):
                damaged_lines += 1
        if damaged_lines:
            log.warning("%d damaged line(s) of %s: their blocks are computed again", damaged_lines, self.path.name)
        self._end = len(b"\n".join(lines[:-1])) + 1

    def _take(self, record: Mapping[str, Any]) -> None:
        """Note what one line says; ValueError, TypeError, ... where no run of this job can have written it."""
        if "committed" in record:
            found = record["committed"]
            if not isinstance(found, list) or self.layout is None or len(found) != len(self.layout.reserve):
                raise ValueError(f"{self.path.name} does not describe every file")
            self.committed = [Seal.from_json(one, self._job) for one in found]
            return
        done = DoneBlock.from_json(record, self._job)
        block, grid = done.block, self._grid
        for start, size, whole in ((block.row, block.height, grid.height), (block.col, block.width, grid.width)):
            if start % CELL or start + size > whole or ((start + size) % CELL and start + size < whole):
                raise ValueError(f"{block} is not a block of {grid}")
        self._found.append(done)

    def begin(self, layout: Layout) -> None:
        """Write the first line, unless an earlier run's is being resumed.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        self._cut()
        if self.layout is None:
            head = {"format": FORMAT, "key": self._key, "layout": layout.as_json()}
            self._job = _job(head)
            self._append(head)

    def _identify(self) -> None:
        """Write a line that merely identifies the file, so that even a run killed early leaves a known journal.

        The first line replaces it once the job is planned.
        """
        try:
            self._cut()  # zeros, after a power failure
            self._append({"format": FORMAT})
        except BaseException:
            drop(self._file, self.path)
            raise
        self._end = 0

    def _cut(self) -> None:
        """Drop whatever follows the complete lines."""
        try:
            self._file.truncate(self._end)
        except OSError as error:
            raise refusal(f"{self._output}: its journal {self.path.name} cannot be written", error) from None

    def records(self) -> Iterator[DoneBlock]:
        """Yield the blocks that an earlier run finished, to be checked and confirmed."""
        yield from self._found
        # By now each is confirmed or damaged.
        self._found = []

    def confirm(self, block: Block) -> None:
        """Mark a block as done."""
        self._done[self._cells(block)] = True

    def _cells(self, block: Block) -> tuple[slice, slice]:
        return (
            slice(block.row // CELL, -(-(block.row + block.height) // CELL)),
            slice(block.col // CELL, -(-(block.col + block.width) // CELL)),
        )

    @property
    def pixels(self) -> int:
        """Number of finished pixels."""
        rows, cols = np.nonzero(self._done)
        heights = np.minimum(CELL, self._grid.height - rows * CELL)
        return int((heights * np.minimum(CELL, self._grid.width - cols * CELL)).sum())

    def remaining(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Remove finished parts from blocks; blocks that another plan finished partly are split into pieces."""
        for block in blocks:
            done = self._done[self._cells(block)]
            if not done.any():
                yield block
            elif not done.all():
                yield from _pieces(~done, block)

    def add(self, done: DoneBlock) -> None:
        """Append a finished block, unless resuming is refused or the job is still too short for a journal.

        Raises
        ------
        OutputError
            When the disk is full or fails; earlier lines stay intact.
        """
        if self._refused:
            if not self._warned and time.monotonic() - self._begun >= self._after:
                self._warned = True
                log.warning("%s: if this job is stopped, it cannot be resumed: %s", self._output, self._refused)
            return
        self._waiting.append(done)
        if time.monotonic() - self._begun < self._after and not self._done.any():
            return
        for one in self._waiting:
            self._append(one.as_json(self._job))
            self.confirm(one.block)
        self._waiting = []
        if time.monotonic() - self._synced > SYNC_SECONDS and self._syncing.idle:
            self._synced = time.monotonic()
            self._syncing.start([self.path])

    def commit(self, seals: Sequence[Seal]) -> None:
        """Record on disk that the map is complete except for its names, with the seals of its files."""
        if not self._refused:
            self._append({"committed": [seal.as_json(self._job) for seal in seals]})
            self.committed = list(seals)
            self._syncing.start([self.path])
            self._syncing.wait()

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            self._end = append(self._file, encode_line(line), self._end)
        except OSError as error:
            raise refusal(f"{self._output}: its journal {self.path.name} cannot be written", error) from None

    @property
    def worth_keeping(self) -> bool:
        """Whether it holds anything, including what an earlier run left unchecked."""
        return bool(self._found or self._done.any() or self.committed)

    def close(self, *, finished: bool) -> None:
        """Unlock the journal; remove it if the map is finished, or if it holds nothing."""
        self._syncing.close()
        if finished or not self.worth_keeping:
            drop(self._file, self.path)
        else:
            close(self._file)


def is_journal(file: BinaryIO) -> bool:
    """Whether a file is a journal, of any version and however damaged: a line is intact, or the first begins like one.

    Moves the file position. OSError if it cannot be read.
    """
    file.seek(0)
    line = file.readline(LONGEST_LINE)
    if BEGINNING.match(line) or (line and IDENTIFICATION.startswith(line)):
        return True
    while line.endswith(b"\n"):
        checksum, _, text = line[:-1].partition(b" ")
        if text.startswith(b"{") and checksum == b"%08x" % zlib.crc32(text):
            return True
        line = file.readline(LONGEST_LINE)
    return False


def encode_line(line: Mapping[str, Any]) -> bytes:
    """Return a line of a journal: JSON after its checksum."""
    text = canonical(line)
    return b"%08x %s\n" % (zlib.crc32(text), text)


#: The first line of a journal before its job is planned; a run may be killed while writing it.
IDENTIFICATION = encode_line({"format": FORMAT})


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line; None if it is damaged."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _job(head: Mapping[str, Any]) -> int:
    return zlib.crc32(canonical([head["key"], head["layout"]]))


def _pieces(wanted: NDArray[np.bool_], block: Block) -> Iterator[Block]:
    """Divide the wanted cells of a block into rectangles: runs of columns over equal rows."""
    changes = np.flatnonzero((wanted[1:] != wanted[:-1]).any(axis=1)) + 1
    for top, bottom in zip([0, *changes.tolist()], [*changes.tolist(), len(wanted)], strict=True):
        edges = np.flatnonzero(np.diff(wanted[top].astype(np.int8), prepend=0, append=0))
        for left, right in edges.reshape(-1, 2).tolist():
            height = min(bottom * CELL, block.height) - top * CELL
            width = min(right * CELL, block.width) - left * CELL
            yield Block(block.row + top * CELL, block.col + left * CELL, height, width)


def differences(found: Any, wanted: Any, where: str = "") -> str:
    """Describe the first difference between two keys; empty if they are equal."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        # In the order in which this job names them: the most telling comes first.
        for name in dict.fromkeys([*wanted, *sorted(found)]):
            # A journal may hold anything.
            shown = name if name in wanted or name.isidentifier() else json.dumps(name)
            shown = shown[:LONGEST_VALUES]
            words = differences(found.get(name), wanted.get(name), f"{where} {shown}".strip())
            if words:
                return words
        return ""
    if isinstance(found, list) and isinstance(wanted, list):
        if len(found) != len(wanted):
            paths = [{one.get("path") for one in side if isinstance(one, dict)} for side in (found, wanted)]
            odd = sorted(json.dumps(path)[:LONGEST_VALUES] for path in set.symmetric_difference(*paths))
            named = f": {odd[0]}" + (", ..." if len(odd) > 1 else "") if odd else ""
            return f"{where} had {len(found)} entries, has {len(wanted)}{named}"
        for index, (before, now) in enumerate(zip(found, wanted, strict=True)):
            name = now.get("path", index + 1) if isinstance(now, dict) else index + 1
            words = differences(before, now, f"{where} {name}")
            if words:
                return words
        return ""
    if found == wanted:
        return ""
    where = where or "its key"
    try:
        before, now = json.dumps(found), json.dumps(wanted)
    except RecursionError:
        return f"{where} is different"
    return f"{where} was {before}, is {now}" if len(before + now) <= LONGEST_VALUES else f"{where} is different"
