"""Composites of which some are read from the file that holds them already, and only the others are made of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.rasters.stamps import Stamp
from pixelwise.rasters.urls import Location
from pixelwise.stacks.base import BlockReader, LayerStack, Layout
from pixelwise.stacks.composite import CompositeStack

__all__ = ["AppendedStack"]


@dataclass(frozen=True, eq=False)
class _Shifted:
    """A reader of consecutive layers of a file, which are consecutive layers of the whole stack as well."""

    reader: BlockReader
    first: int
    count: int

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill these layers in `parts`."""
        self.reader.read_into(block, [part[self.first : self.first + self.count] for part in parts])

    def close(self) -> None:
        """Close its own datasets."""
        self.reader.close()


@dataclass(frozen=True, eq=False)
class _All:
    """Several readers, one after the other."""

    readers: tuple[BlockReader, ...]

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill the layers of each."""
        for reader in self.readers:
            reader.read_into(block, parts)

    def close(self) -> None:
        """Close their own datasets."""
        for reader in self.readers:
            reader.close()


@dataclass(frozen=True, repr=False, eq=False)
class AppendedStack(CompositeStack):
    """The same layers as a `CompositeStack` has, to the bit.

    It is described by all of its scenes, but reads only those of the periods that are not in the file yet.

    Attributes
    ----------
    kept
        The layers that are in the file.
    rows
        Which periods they are, ascending; not all of them.
    """

    kept: LayerStack = field(kw_only=True)
    rows: tuple[int, ...] = field(kw_only=True)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """A type that holds the layers of the file and those that are made."""
        return np.promote_types(self.reducer.dtype(self.scenes.dtype), self.kept.dtype)

    @property
    def made(self) -> tuple[int, ...]:
        """The periods that are made of scenes."""
        return tuple(sorted(set(range(len(self))) - set(self.rows)))

    @cached_property
    def _read(self) -> LayerStack:
        """The scenes that are read."""
        return self.scenes.take(sorted({int(index) for row in self.made for index in self.periods.members[row]}))

    @cached_property
    def layout(self) -> Layout:
        """How best to read it."""
        made = np.isin(np.arange(len(self)), self.made)
        composites = CompositeStack(self.scenes, self.periods.subset(made), self.reducer, self.by).layout
        own, scenes = self.kept.layout, self._read.layout
        larger = max(composites, own, key=lambda one: one.block_bytes)
        return replace(
            composites,
            block_bytes=larger.block_bytes,
            largest=larger.largest,
            itemsize=self.dtype.itemsize,
            scratch_bytes_per_pixel=max(composites.scratch_bytes_per_pixel, own.scratch_bytes_per_pixel),
            stored_bytes_per_pixel=scenes.stored_bytes_per_pixel + own.stored_bytes_per_pixel,
            open_file_bytes=max(composites.open_file_bytes, own.open_file_bytes),
            sources=composites.sources + own.sources,
            serial=composites.serial or own.serial,
        )

    @property
    def extent(self) -> Block:
        """What can be read."""
        extent = super().extent
        return extent.intersection(self.kept.extent) or extent

    @property
    def stamps(self) -> dict[Location, Stamp]:  # type: ignore[override]
        """Size and modification time of each file when its header was read, that of the composites included."""
        return {**super().stamps, **self.kept.stamps}

    def crop(self, block: Block) -> AppendedStack:
        """Return the stack of one block of its grid."""
        by = None if self.by is None else self.by.crop(block)
        return replace(self, scenes=self.scenes.crop(block), by=by, kept=self.kept.crop(block))

    @property
    def plain(self) -> CompositeStack:
        """The stack of which every period is made of its scenes."""
        return CompositeStack(self.scenes, self.periods, self.reducer, self.by)

    def take(self, indices: Sequence[int]) -> CompositeStack:  # type: ignore[override]
        """Return the stack of some of its periods, made of their scenes."""
        return self.plain.take(indices)

    def select(self, *args: Any, **options: Any) -> CompositeStack:
        """Return some of the periods, made of their scenes, or part of the grid."""
        return self.plain.select(*args, **options)

    def fetch_ahead(self, block: Block) -> None:
        """Ask servers for a block that a worker of this process will read soon; of local files, nothing is read."""
        self._read.fetch_ahead(block)

    @cached_property
    def _runs(self) -> list[tuple[int, LayerStack]]:
        """The layers of the file, in runs of consecutive ones: the row of the first, and the stack of them."""
        # Within a run, row and index differ by the same number.
        runs = [list(run) for _, run in groupby(enumerate(self.rows), key=lambda pair: pair[1] - pair[0])]
        return [(run[0][1], self.kept.take([index for index, _ in run])) for run in runs]

    @cached_property
    def _groups_made(self) -> list[list[int]]:
        """Periods that are made of scenes, those together that are best read together."""
        made = set(self.made)
        groups = ([row for row in group if row in made] for group in self.groups)
        return [group for group in groups if group]

    @cached_property
    def whole(self) -> _All:  # type: ignore[override]
        """All files, read through the datasets of the calling thread."""
        kept = (_Shifted(stack.whole, first, len(stack)) for first, stack in self._runs)
        return _All((*kept, self._reader(self._groups_made, None)))

    def readers(self, count: int, handles: int) -> tuple[BlockReader, ...]:
        """Divide the periods into shares with their own datasets: of those that are made, and of those in the file."""
        made = self._divided(self._groups_made, max(count // 2, 1), handles)
        share = max((count - len(made)) // max(len(self._runs), 1), 1)
        return (
            *made,
            *(
                _Shifted(reader, first, len(stack))
                for first, stack in self._runs
                for reader in stack.readers(share, handles)
            ),
        )

    def warm_up(self) -> None:
        """Open one file of each kind and compile what reading needs, in this thread."""
        super().warm_up()
        self.kept.warm_up()
