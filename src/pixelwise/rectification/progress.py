"""What is done of a rectification, on disk, so that the same command resumes where it was stopped.

One hidden file beside the table, in the form of the journals of maps: each line is JSON after its checksum, the first
says which job it is of, and each of the others is one finished block of the reference or one scene.
"""

from __future__ import annotations

import base64
import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.bands import Floats
from pixelwise.errors import OutputError
from pixelwise.maps.disk import append, close, drop, is_blank, open_locked, refusal
from pixelwise.maps.journal import decode_line, differences, encode_line, is_journal, journal_of
from pixelwise.rectification.lines import Lines
from pixelwise.rectification.sensors import PairLines

__all__ = ["Progress"]

log = logging.getLogger(__name__)

#: The format of the lines; another one is computed again.
FORMAT = 1


class Progress:
    """The finished parts of one rectification.

    Parameters
    ----------
    output
        The table; the journal is beside it.
    key
        What the job is, ready for JSON: only the same job resumes.
    kind
        What is found for each scene or pair.
    after
        Seconds that a job runs before a journal is worth writing.
    restart
        Whether to discard what an earlier run did.

    Attributes
    ----------
    parts
        (band, pixel) of each finished block of the reference, by number.
    lines
        The lines of each finished scene or pair, by number, or why it has none.

    Raises
    ------
    OutputError
        When another run holds the journal, it belongs to another job, or it cannot be written.
    """

    def __init__(
        self,
        output: Path,
        key: Mapping[str, Any],
        kind: type[Lines] | type[PairLines] = Lines,
        *,
        after: float,
        restart: bool,
    ) -> None:
        self.path = journal_of(output)
        self.parts: dict[int, Floats] = {}
        self.lines: dict[int, Any] = {}
        self._output, self._kind = output, kind
        self._head = {"format": FORMAT, "rectification": key}
        self._after, self._began = after, time.monotonic()
        self._waiting: list[Mapping[str, Any]] = []
        self._end = 0
        self._file = open_locked(self.path, output)
        try:
            if not (is_journal(self._file) or is_blank(self._file)):
                raise OutputError(
                    f"{output}: {self.path.name} beside it is not a pixelwise journal; remove it, or choose another "
                    "output"
                )
            if not restart:
                self._resume()
            if not self._end:
                self._waiting = [self._head]
            self._file.truncate(self._end)
        except OSError as error:
            close(self._file)
            raise refusal(f"{output}: its journal {self.path.name} cannot be used", error) from None
        except BaseException:
            close(self._file)
            raise

    def _resume(self) -> None:
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        # The last line ends with a line feed, or else was half-written by a killed run.
        head, *records = [decode_line(line) for line in lines[:-1]] or [None]
        if head is None or not records:
            return
        if head.get("format") != FORMAT or "rectification" not in head:
            raise OutputError(
                f"{self._output}: {self.path.name} beside it belongs to a different job; --restart discards it"
            )
        differing = differences(head["rectification"], self._head["rectification"])
        if differing:
            raise OutputError(
                f"{self._output}: a different unfinished job left {self.path.name}: {differing}; --restart discards it"
            )
        damaged = 0
        for record in records:
            try:
                self._take(record or {})
            except (KeyError, ValueError, TypeError, zlib.error):
                damaged += 1
        if damaged:
            log.warning("%d damaged line(s) of %s: their scenes are compared again", damaged, self.path.name)
        self._end = len(b"\n".join(lines[:-1])) + 1

    def _take(self, record: Mapping[str, Any]) -> None:
        if "part" in record:
            data = zlib.decompress(base64.b64decode(record["values"], validate=True))
            self.parts[int(record["part"])] = np.frombuffer(data).reshape(record["shape"]).copy()
        elif "why" in record:
            self.lines[int(record["scene"])] = str(record["why"])
        else:
            self.lines[int(record["scene"])] = _lines_of(self._kind, record["lines"])

    def add_part(self, number: int, values: Floats) -> None:
        """Keep a block of the reference."""
        text = base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 1)).decode()
        self._add({"part": number, "shape": list(values.shape), "values": text})

    def add_lines(self, number: int, found: Lines | PairLines | str) -> None:
        """Keep the lines of a scene or pair, or why it has none."""
        self._add({"scene": number, **({"why": found} if isinstance(found, str) else {"lines": _as_json(found)})})

    def _add(self, record: Mapping[str, Any]) -> None:
        self._waiting.append(record)
        if time.monotonic() - self._began < self._after and not self._end:
            return
        try:
            for one in self._waiting:
                self._end = append(self._file, encode_line(one), self._end)
        except OSError as error:
            raise refusal(f"{self._output}: its journal {self.path.name} cannot be written", error) from None
        self._waiting = []

    def close(self, *, finished: bool) -> None:
        """Unlock the journal; remove it if the table is written, or if it holds nothing."""
        if finished or not self._end:
            drop(self._file, self.path)
            return
        close(self._file)
        log.warning("%s keeps the progress; run the same command again to resume", self.path)


def _as_json(lines: Lines | PairLines) -> dict[str, Any]:
    found = {field.name: getattr(lines, field.name) for field in fields(lines)}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


def _lines_of(kind: type[Lines] | type[PairLines], record: Mapping[str, Any]) -> Lines | PairLines:
    found: dict[str, Any] = {}
    for field in fields(kind):
        value = record[field.name]
        if isinstance(value, list):
            found[field.name] = np.array(value, dtype=np.bool_ if field.name == "saturated" else np.float64)
        else:
            found[field.name] = value
    return kind(**found)
