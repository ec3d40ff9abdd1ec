"""Parts of a map: rectangles that jobs of a queue compute, each on its own, as maps of their own."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np

from pixelwise.choices import Compression, TiffDriver, ZarrFormat
from pixelwise.dates.axis import Precision, TimeAxis
from pixelwise.dates.calendars import Calendar
from pixelwise.errors import ParameterError
from pixelwise.grid import LARGEST_SIZE, Block, Grid
from pixelwise.rasters.tags import TILE_UNIT
from pixelwise.stacks.base import Layout
from pixelwise.words import width_by_height

__all__ = ["PARTS_SUFFIX", "Part", "PartRecord", "array_expression", "folder_of", "make_up", "share_of"]

#: What the folder of parts has in its name besides that of the map.
PARTS_SUFFIX = ".parts"
#: No queue takes more tasks in an array.
MOST_PARTS = 1_000_000


@dataclass(frozen=True)
class Part:
    """One of several parts of a map.

    Attributes
    ----------
    index, count
        Its number, from 1, and how many there are.

    Raises
    ------
    ParameterError
        When there is no such part.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not (1 <= self.index <= self.count <= MOST_PARTS):
            raise ParameterError(f"part {self}: expected I/N with I from 1 to N, and N at most {MOST_PARTS}")

    @classmethod
    def of(cls, given: Any) -> Self:
        """Return the part of a pair of numbers, or of ``I/N``.

        Raises
        ------
        ParameterError
            When it is something else.
        """
        if isinstance(given, str):
            return cls.parse(given)
        if isinstance(given, (tuple, list)) and len(given) == 2 and all(map(_whole, given)):
            return cls(*given)
        raise ParameterError(f"part {given!r}: expected (I, N), such as (3, 10) for the third of ten")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the part of ``I/N``.

        Raises
        ------
        ParameterError
            When it is something else.
        """
        found = re.fullmatch(r"\s*([0-9]{1,9})/([0-9]{1,9})\s*", text)
        if found is None:
            raise ParameterError(f"part {text!r}: expected I/N, such as 3/10 for the third of ten")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def stem(self) -> str:
        """Its name, without a suffix."""
        return f"part-{self.index:0{len(str(self.count))}}-of-{self.count}"


def folder_of(output: Path) -> Path:
    """Return the folder of the parts of a map."""
    # Of a map with a file for each band, braces would be replaced in the names of its parts.
    return output.with_name(output.name.replace("{band}", "bands") + PARTS_SUFFIX)


def share_of(grid: Grid, layout: Layout, part: Part) -> Block:
    """Return the pixels of a part: whole blocks of the files, as long as there are enough.

    It depends on the grid, the blocks of the files and the part alone, not on the memory or cores of a machine: the
    parts of a map fit together wherever they are computed.

    Raises
    ------
    ParameterError
        When the map has fewer rectangles than parts.
    """
    for height, width in (
        (math.lcm(layout.block_height, TILE_UNIT), math.lcm(layout.block_width, TILE_UNIT)),
        (TILE_UNIT, TILE_UNIT),  # cuts blocks of files, which are then decoded several times
    ):
        rows, cols = math.ceil(grid.height / height), math.ceil(grid.width / width)
        if rows * cols >= part.count:
            break
    else:
        raise ParameterError(
            f"part {part}: a map of {width_by_height(grid.width, grid.height)} has {rows * cols} parts at most"
        )
    bands = min(part.count, rows)
    # Bands of rows first; each is divided into columns if there are more parts than bands.
    firsts = [band * part.count // bands for band in range(bands + 1)]
    band = next(index for index, (first, after) in enumerate(pairwise(firsts)) if first < part.index <= after)
    among = firsts[band + 1] - firsts[band]
    top, bottom = (min(edge * rows // bands * height, grid.height) for edge in (band, band + 1))
    column = part.index - 1 - firsts[band]
    left, right = (min(edge * cols // among * width, grid.width) for edge in (column, column + 1))
    return Block(top, left, bottom - top, right - left)


@dataclass(frozen=True)
class PartRecord:
    """What the tags of a part say about it; tags may come from anywhere.

    Attributes
    ----------
    part
        Which one it is.
    block
        Its pixels in the whole map.
    size
        Rows and columns of the whole map.
    compress, zarr_format, driver
        The form of the whole map, as in `Execution`.
    axis
        The dates of layers that are written beside it; None if there are none.

    Raises
    ------
    ValueError
        When no job has written this.
    """

    part: Part
    block: Block
    size: tuple[int, int]
    compress: Compression | None
    zarr_format: int
    driver: str
    axis: TimeAxis | None = None

    def __post_init__(self) -> None:
        if not all(_whole(edge) and 0 < edge <= LARGEST_SIZE for edge in self.size):
            raise ValueError(f"size {self.size}")
        if not all(map(_whole, astuple(self.block))) or self.block.intersection(Block(0, 0, *self.size)) != self.block:
            raise ValueError(f"block {self.block}")
        choices = ((self.compress, (None, *get_args(Compression))), (self.driver, get_args(TiffDriver)))
        if any(one not in among for one, among in choices) or self.zarr_format not in get_args(ZarrFormat):
            raise ValueError(f"form {self.compress}, {self.zarr_format}, {self.driver}")

    @classmethod
    def from_json(cls, found: Any) -> PartRecord:
        """Return what `as_json` made.

        Raises
        ------
        ValueError
            When it made something else.
        """
        try:
            axis = None if "axis" not in found else _axis_from_json(found["axis"])
            index, count, block, size = (found[name] for name in ("index", "count", "block", "size"))
            if not (_whole(index) and _whole(count)):
                raise ValueError(f"part {index!r} of {count!r}")
            form = found["form"]
            return cls(
                Part(index, count),
                Block(*block),
                tuple(size),
                form["compress"],
                form["zarr_format"],
                form["driver"],
                axis,
            )
        except (KeyError, TypeError, OverflowError, ParameterError) as error:
            raise ValueError(str(error)) from None

    def as_json(self) -> dict[str, Any]:
        """Return it as `from_json` reads it."""
        found: dict[str, Any] = {
            "index": self.part.index,
            "count": self.part.count,
            "block": list(astuple(self.block)),
            "size": list(self.size),
            "form": {"compress": self.compress, "zarr_format": self.zarr_format, "driver": self.driver},
        }
        if self.axis is not None:
            found["axis"] = {
                "dates": np.datetime_as_string(self.axis.dates).tolist(),
                "years": self.axis.years.tolist(),
                "precision": self.axis.precision,
                "calendar": self.axis.calendar,
            }
        return found


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _axis_from_json(found: Any) -> TimeAxis:
    if found["precision"] not in get_args(Precision) or found["calendar"] not in get_args(Calendar):
        raise ValueError(f"dates of precision {found['precision']!r} in the calendar {found['calendar']!r}")
    dates = np.array(found["dates"], dtype="datetime64[s]")
    return TimeAxis(dates, np.array(found["years"], dtype=np.float64), found["precision"], found["calendar"])


def array_expression(numbers: Collection[int]) -> str:
    """Return numbers as queues write arrays: ``3,17-19``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def make_up(blocks: Sequence[Block], size: tuple[int, int]) -> bool:
    """Whether blocks as `share_of` gives them cover a raster of (rows, columns), each pixel once."""
    whole = Block(0, 0, *size)
    # With as many pixels as there are, blocks that leave none out do not overlap. And no memory is asked for otherwise.
    if sum(block.pixels for block in blocks) != whole.pixels:
        return False
    covered = np.zeros((-(-size[0] // TILE_UNIT), -(-size[1] // TILE_UNIT)), dtype=bool)
    for block in blocks:
        bottom, right = block.row + block.height, block.col + block.width
        edges = ((block.row, 0), (block.col, 0), (bottom, size[0]), (right, size[1]))
        if block.intersection(whole) != block or any(edge % TILE_UNIT and edge != end for edge, end in edges):
            return False
        covered[block.row // TILE_UNIT : -(-bottom // TILE_UNIT), block.col // TILE_UNIT : -(-right // TILE_UNIT)] = (
            True
        )
    return bool(covered.all())
