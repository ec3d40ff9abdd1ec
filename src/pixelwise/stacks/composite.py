"""Stacks of composites: the layers of each calendar period, reduced to one in the workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Status
from pixelwise.choices import Every
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.periods import Periods, make_periods
from pixelwise.dates.tables import read_range
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Bounds, Grid
from pixelwise.method import BoundMethod, Method
from pixelwise.methods.lookup import as_method
from pixelwise.rasters.area import Area
from pixelwise.rasters.handles import HANDLES, OpenFiles
from pixelwise.rasters.stamps import Stamp
from pixelwise.rasters.urls import Location
from pixelwise.stacks.base import BlockReader, FileStack, LayerStack, Layout
from pixelwise.stacks.file_reader import FileReader
from pixelwise.stacks.reductions import Composite, names_function
from pixelwise.words import count

__all__ = ["CompositeStack", "FunctionReducer", "composited"]

log = logging.getLogger(__name__)


class Reducer(Protocol):
    """How the layers of one period are reduced to one."""

    def dtype(self, stored: Any) -> np.dtype[Any]:
        """Return the type of the result for values of type `stored`."""

    def reduce(
        self,
        values: NDArray[Any],
        out: NDArray[Any],
        days: NDArray[np.int64] | None,
        cell: tuple[int, int, int] | None,
        ordinal: int,
        by: NDArray[Any] | None,
    ) -> None:
        """Reduce (time, pixel) to (pixel,), as `Composite.reduce` does."""


@dataclass(frozen=True)
class FunctionReducer:
    """A function that reduces a period's series to one value.

    Attributes
    ----------
    method
        A method with one band.
    bound
        The method bound to the dates of each period, by its number.
    min_count
        A pixel with fewer observations is missing.
    """

    method: Method
    bound: Mapping[int, BoundMethod]
    min_count: int

    @property
    def how(self) -> str:
        """The function's name."""
        return self.method.name

    def dtype(self, stored: Any) -> np.dtype[Any]:
        """Return float64, the type that functions compute in."""
        return np.dtype(np.float64)

    def reduce(
        self,
        values: NDArray[Any],
        out: NDArray[Any],
        days: NDArray[np.int64] | None,
        cell: tuple[int, int, int] | None,
        ordinal: int,
        by: NDArray[Any] | None,
    ) -> None:
        """Reduce (time, pixel) to (pixel,); NaN where the function fails or there are too few observations."""
        result, status = self.bound[ordinal]((values,))
        counts = np.count_nonzero(~np.isnan(values), axis=0)
        failed = status == Status.FUNCTION_FAILED
        if failed.any():
            self._log_failure(self.bound[ordinal], values[:, failed.argmax()])
        lacking = failed | (counts < self.min_count)
        np.copyto(out, np.where(lacking, np.nan, result[0]))

    def _log_failure(self, bound: BoundMethod, series: NDArray[Any]) -> None:
        """Log the first failure in this process, with its traceback."""
        if self.method.name not in _FAILED:
            _FAILED.add(self.method.name)
            text = getattr(bound, "traceback_of", lambda _: None)(series) or ""
            log.warning("%s failed at some pixels, which count as missing; the first:\n%s", self.method.name, text)


#: Functions whose failure has been logged.
_FAILED: set[str] = set()


@dataclass(frozen=True, eq=False)
class _Batch:
    """Periods that are read together, and the rows into which each is reduced."""

    rows: tuple[int, ...]
    members: tuple[slice, ...]
    reader: FileReader
    by: FileReader | None
    size: int


@dataclass(frozen=True, eq=False)
class _CompositeReader:
    """Some periods of a stack of composites."""

    stack: CompositeStack
    batches: tuple[_Batch, ...]
    handles: OpenFiles | None

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill the layers of these periods in `parts`, which hold successive strips of a block from top to bottom."""
        table = self.handles
        if table is not None:
            table.turn += 1
        for batch in self.batches:
            shape = (batch.size, block.height, block.width)
            scenes = self.stack.scenes
            values = HANDLES.scratch("scenes", shape, scenes.dtype)
            batch.reader.read_into(block, (values,), table)
            by = None
            if batch.by is not None and self.stack.by is not None:
                by = HANDLES.scratch("by", shape, self.stack.by.dtype)
                batch.by.read_into(block, (by,), table)
            for row, members in zip(batch.rows, batch.members, strict=True):
                self._reduce(row, values[members], None if by is None else by[members], block, parts)

    def _reduce(
        self, row: int, values: NDArray[Any], by: NDArray[Any] | None, block: Block, parts: Sequence[NDArray[Any]]
    ) -> None:
        periods, (top, left) = self.stack.periods, self.stack.scenes.corner
        if len(parts) == 1:
            out = parts[0][row].reshape(-1)
        else:
            out = HANDLES.scratch("composite", (block.pixels,), self.stack.dtype)
        self.stack.reducer.reduce(
            values.reshape(len(values), -1),
            out,
            periods.days[row],
            (top + block.row, left + block.col, block.width),
            int(periods.ordinals[row]),
            None if by is None else by.reshape(len(by), -1),
        )
        start = 0
        for part in parts if len(parts) > 1 else ():
            size = part[row].size
            part[row] = out[start : start + size].reshape(part.shape[1:])
            start += size

    def close(self) -> None:
        """Close its own datasets."""
        if self.handles is not None:
            self.handles.close()


@dataclass(frozen=True, repr=False, eq=False)
class CompositeStack(FileStack):
    """One layer for each calendar period; `RasterStack.composite` makes it.

    Attributes
    ----------
    scenes
        The stack whose layers are reduced.
    periods
        Which of its layers belong to each period.
    reducer
        How they are reduced.
    by
        Another stack that decides which layer's value is taken.
    """

    scenes: LayerStack
    periods: Periods
    reducer: Composite | FunctionReducer
    by: LayerStack | None = None

    @property
    def grid(self) -> Grid:  # type: ignore[override]
        """Where the pixels are."""
        return self.scenes.grid

    @property
    def area(self) -> Area:  # type: ignore[override]
        """The requested pixels."""
        return self.scenes.area

    def __str__(self) -> str:
        first, last = self.periods.labels[0], self.periods.labels[-1]
        return f"{len(self)} layers, {first}..{last}, {self.reducer.how} of: {self.scenes}"

    @property
    def axis(self) -> TimeAxis:
        """When the periods are: their years, or the middle of each."""
        return self.periods.axis

    @property
    def left_out(self) -> tuple[str, ...]:
        """Incomplete periods, for which there is no layer, and why; one line each."""
        return tuple(f"{one}: the {self.scenes.spec.every} is incomplete and left out" for one in self.periods.dropped)

    @property
    def names(self) -> tuple[str, ...]:
        """The dates of the layers, in the form that `open_stack` reads back from band names."""
        return self.periods.band_names

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """float32 if that loses nothing, else float64."""
        return self.reducer.dtype(self.scenes.dtype)

    @property
    def releases_gil(self) -> bool:
        """Whether threads can read it in parallel: a plain Python function makes them wait."""
        return all(bound.releases_gil for bound in getattr(self.reducer, "bound", {}).values())

    @property
    def equal_count(self) -> int | None:
        """How many observations are drawn for each pixel and period; None if all count."""
        drawn: int | None = getattr(self.reducer, "equal_count", None)
        return drawn

    @cached_property
    def layout(self) -> Layout:
        """How best to read it: a period's layers are held beside the result while they are reduced."""
        layout: Layout = self.scenes.layout
        most = max(batch.size for batch in self.whole.batches)
        by_bytes = 0 if self.by is None else most * self.by.dtype.itemsize + self.by.layout.scratch_bytes_per_pixel
        largest = layout if self.by is None else max(layout, self.by.layout, key=lambda one: one.block_bytes)
        return replace(
            layout,
            block_bytes=largest.block_bytes,
            largest=largest.largest,
            itemsize=self.dtype.itemsize,
            scratch_bytes_per_pixel=layout.scratch_bytes_per_pixel
            + most * self.scenes.dtype.itemsize
            + by_bytes
            + self.dtype.itemsize,
            stored_bytes_per_pixel=layout.stored_bytes_per_pixel
            + (0 if self.by is None else self.by.layout.stored_bytes_per_pixel),
            sources=len(self.paths),
            unit=layout.unit if getattr(self.reducer, "how", "") not in ("count", "date_of_max") else "",
        )

    @property
    def extent(self) -> Block:
        """What can be read."""
        extent: Block = self.scenes.extent
        return extent if self.by is None else extent.intersection(self.by.extent) or extent

    @property
    def stamps(self) -> Mapping[Location, Stamp]:  # type: ignore[override]
        """Size and modification time of each file when its header was read."""
        return {**self.scenes.stamps, **({} if self.by is None else self.by.stamps)}

    @property
    def paths(self) -> tuple[Location, ...]:
        """Every file, once."""
        by = () if self.by is None else self.by.paths
        return tuple(dict.fromkeys((*self.scenes.paths, *by)))

    def crop(self, block: Block) -> CompositeStack:
        """Return the stack of one block of its grid."""
        by = None if self.by is None else self.by.crop(block)
        return replace(self, scenes=self.scenes.crop(block), by=by)

    def select(
        self, start: str | int | None = None, end: str | int | None = None, bounds: Bounds | None = None
    ) -> CompositeStack:
        """Return some of the periods, or part of the grid; nothing is read.

        Parameters
        ----------
        start, end
            First and last date, to the year, month or day, compared with the date of each period's layer.
        bounds
            Left, bottom, right, top in units of the CRS; pixels that they touch are kept.

        Raises
        ------
        InputError
            When fewer than two periods are left.
        ParameterError
            When a date cannot be read, or the bounds lie outside.
        """
        dates = self.axis.dates
        kept = np.ones(len(dates), dtype=bool)
        if start is not None:
            kept &= dates >= np.datetime64(read_range(str(start))[0])
        if end is not None:
            kept &= dates <= np.datetime64(read_range(str(end))[1])
        if np.count_nonzero(kept) < 2:
            raise InputError(f"{np.count_nonzero(kept)} of {len(self)} periods are left: a series needs at least two")
        stack = replace(self, periods=self.periods.subset(kept))
        return stack if bounds is None else stack.crop(self.grid.block_of_bounds(bounds))

    def take(self, indices: Sequence[int]) -> CompositeStack:
        """Return the stack of some of its periods, in order."""
        kept = np.zeros(len(self), dtype=bool)
        kept[list(indices)] = True
        return replace(self, periods=self.periods.subset(kept))

    def fetch_ahead(self, block: Block) -> None:
        """Ask servers for a block that a worker of this process will read soon; of local files, nothing is read."""
        for stack in (self.scenes, self.by):
            if stack is not None:
                stack.fetch_ahead(block)

    @cached_property
    def whole(self) -> _CompositeReader:
        """All files, read through the datasets of the calling thread."""
        return self._reader(self.groups, None)

    def readers(self, count: int, handles: int) -> tuple[BlockReader, ...]:
        """Divide the periods into at most `count` shares with their own datasets, about equal in layers."""
        return self._divided(self.groups, count, handles)

    def _divided(self, groups: Sequence[list[int]], count: int, handles: int) -> tuple[_CompositeReader, ...]:
        divided: list[list[list[int]]] = [[] for _ in range(min(count, len(groups)))]
        sizes = [0] * len(divided)
        for group in groups:
            smallest = sizes.index(min(sizes))
            divided[smallest].append(group)
            sizes[smallest] += sum(len(self.periods.members[row]) for row in group)
        return tuple(self._reader(share, OpenFiles.of_at_most(handles)) for share in divided)

    @cached_property
    def groups(self) -> list[list[int]]:
        """Periods to read together: each on its own, except those whose layers are decoded together."""
        groups: list[list[int]] = []
        group_of: dict[Hashable, list[int]] = {}
        for row, members in enumerate(self.periods.members):
            units = {unit for index in members for unit in self.scenes.decoded_together(int(index))}
            known = [group_of[unit] for unit in units if unit in group_of]
            group = known[0] if known else []
            if not known:
                groups.append(group)
            for other in known[1:]:
                if other is not group:
                    group.extend(other)
                    groups.remove(other)
                    group_of.update({unit: group for unit, old in group_of.items() if old is other})
            group.append(row)
            group_of.update(dict.fromkeys(units, group))
        return [sorted(group) for group in groups]

    def _reader(self, groups: Sequence[Sequence[int]], handles: OpenFiles | None) -> _CompositeReader:
        batches = []
        for rows in groups:
            sizes = [len(self.periods.members[row]) for row in rows]
            ends = np.cumsum(sizes).tolist()
            indices = np.concatenate([self.periods.members[row] for row in rows]).tolist()
            batches.append(
                _Batch(
                    rows=tuple(rows),
                    members=tuple(slice(end - size, end) for end, size in zip(ends, sizes, strict=True)),
                    reader=self.scenes.reader(indices, first_row=0),
                    by=None if self.by is None else self.by.reader(indices, first_row=0),
                    size=len(indices),
                )
            )
        return _CompositeReader(self, tuple(batches), handles)

    def warm_up(self) -> None:
        """Open one file and compile what reading needs, in this thread."""
        self.scenes.warm_up()
        if self.by is not None:
            self.by.warm_up()
        # Types decide what is compiled, not the number of layers; a function's parts depend on the period.
        values = np.full((len(self.periods.members[0]), 1), np.nan, dtype=self.scenes.dtype)
        by = None if self.by is None else np.full(values.shape, np.nan, dtype=self.by.dtype)
        out = np.empty(1, dtype=self.dtype)
        self.reducer.reduce(values, out, self.periods.days[0], (0, 0, 1), int(self.periods.ordinals[0]), by)

    def describe(self) -> dict[str, Any]:
        """Return what provenance records about the periods and how they are reduced."""
        periods, reducer = self.periods, self.reducer
        found: dict[str, Any] = {"how": reducer.how, "periods": list(periods.labels), "min_count": reducer.min_count}
        if isinstance(reducer, FunctionReducer):
            found["parameters"] = reducer.method.parameters
        elif reducer.equal_count is not None:
            found |= {"equal_count": reducer.equal_count, "seed": reducer.seed}
        return {
            **found,
            "layers": [len(members) for members in periods.members],
            "dropped": list(map(str, periods.dropped)),
            "short": list(map(str, periods.short)),
            "empty": list(periods.empty),
            "unused": periods.unused,
        }


def composited(
    scenes: LayerStack,
    how: str | Method | Callable[..., Any],
    every: Every,
    season: str | None,
    *,
    by: LayerStack | None,
    min_count: int,
    equal_count: int | None,
    seed: int,
    parameters: Mapping[str, Any],
) -> CompositeStack:
    """Return the stack of composites; see `RasterStack.composite`."""
    periods = make_periods(scenes.axis, every, season)
    if by is not None:
        _check_by(scenes, by)
    asked: dict[str, Any] = {"every": every, "season": season, "min_count": min_count, "equal_count": equal_count}
    # Those of a function that has no file are in the method's own record.
    asked["composite_parameters"] = parameters if isinstance(how, str) else ()
    reducer: Composite | FunctionReducer
    if isinstance(how, str) and not names_function(how):
        reducer = Composite(how, min_count, equal_count, seed)
        if parameters:
            raise ParameterError(f"composite {how} has no parameters: only functions have, given as file.py:function")
        if by is not None and how not in ("max", "min"):
            raise ParameterError(f"by works only with how='max' or 'min', not with {how!r}")
    else:
        if equal_count is not None or by is not None:
            raise ParameterError("equal_count and by work only with built-in composites, not with a function")
        reducer = _function_reducer(scenes, as_method(how, None, parameters), periods, min_count)
    if periods.empty:
        listed = ", ".join(periods.empty[:8]) + (", ..." if len(periods.empty) > 8 else "")
        log.info("%s without a layer: %s", count(periods.empty, str(every)), listed)
    name = how if isinstance(how, str) else reducer.how
    _FAILED.discard(reducer.how)
    stack = CompositeStack(scenes.with_spec(scenes.spec.replace(composite=name, **asked)), periods, reducer, by)
    for text in stack.left_out:
        log.warning(text)
    return stack


def _check_by(scenes: LayerStack, by: LayerStack) -> None:
    words = scenes.grid.differences(by.grid)
    if words:
        raise InputError(f"the stack given as by is not on the grid of the scenes: {'; '.join(words)}")
    if not np.array_equal(scenes.axis.dates, by.axis.dates):
        raise InputError(
            f"the stack given as by has other dates than the scenes: {len(by.axis)} instead of {len(scenes.axis)}, "
            f"{by.axis.days[0]}..{by.axis.days[-1]} instead of {scenes.axis.days[0]}..{scenes.axis.days[-1]}"
        )


def _function_reducer(scenes: LayerStack, method: Method, periods: Periods, min_count: int) -> FunctionReducer:
    """Bind a function to the dates of each period, after a trial on the first one."""
    axes = [_part_of(scenes.axis, members) for members in periods.members]

    def sample() -> NDArray[np.float64]:
        height, width = min(16, scenes.grid.height), min(16, scenes.grid.width)
        centre = Block((scenes.grid.height - height) // 2, (scenes.grid.width - width) // 2, height, width)
        out = np.empty((len(periods.members[0]), height, width), dtype=scenes.dtype)
        with HANDLES.kept(after=False):
            scenes.reader(periods.members[0].tolist(), first_row=0).read_into(centre, (out,))
        return out.reshape(len(out), -1).astype(np.float64)

    tried = method.rehearse(axes[0], sample, scenes.grid.block.pixels * len(axes))
    if len(tried.bands) > 2 or any(band.name != "n" for band in tried.bands[1:]):
        names = ", ".join(band.name for band in tried.bands if band.name != "n")
        raise ParameterError(f"{method.name} returns several values ({names}), but a composite takes one")
    bound = {
        int(ordinal): tried.bind(axis, [tried.bands[0].name], {})
        for ordinal, axis in zip(periods.ordinals, axes, strict=True)
    }
    return FunctionReducer(tried, bound, min_count)


def _part_of(axis: TimeAxis, members: NDArray[np.int64]) -> TimeAxis:
    return TimeAxis(axis.dates[members], axis.years[members], axis.precision, axis.calendar)
