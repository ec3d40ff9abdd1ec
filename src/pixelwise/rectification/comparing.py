"""Compare scenes: one task for each, or for each pair of them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.choices import Rectification
from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.jobs.job import Workspace
from pixelwise.rasters.handles import take_losses
from pixelwise.rectification.controls import ControlsError, control_lines, control_sets
from pixelwise.rectification.irmad import DegenerateError
from pixelwise.rectification.lines import Lines, invariant_lines, irmad_lines
from pixelwise.rectification.sample import Sample
from pixelwise.rectification.scenes import Scene, common, read_scene
from pixelwise.rectification.sensors import PairLines
from pixelwise.stacks.base import Stack
from pixelwise.stacks.raster import RasterStack

__all__ = ["LEAST_PIXELS", "LEAST_SCENES", "Compared", "Comparison", "Controls", "LinesT", "RowsWork"]

LinesT = TypeVar("LinesT", Lines, PairLines)

#: (pixel,) which pixels belong to the bright control set, and which to the dark one.
Controls = tuple[NDArray[np.bool_], NDArray[np.bool_]]

#: At a pixel that only one or two scenes see, the reference is this scene, or half of it: IR-MAD would take such pixels
#: for the unchanged ones, and find gains of 1.
LEAST_SCENES = 3
#: Gains of fewer pixels are worthless: with 2 000, the worst of 6 bands is off by 2.8 % (median of simulations).
LEAST_PIXELS = 2_000


@dataclass(frozen=True, eq=False)
class Compared(Generic[LinesT]):
    """What a worker found out about one row.

    Attributes
    ----------
    block
        Which row.
    lines
        Its lines, or why it has none.
    lost
        Windows of files that could not be read and count as missing.
    seconds
        How long it took.
    """

    block: Block
    lines: LinesT | str
    lost: int
    seconds: float


@dataclass(frozen=True, eq=False, kw_only=True)
class RowsWork(ABC, Generic[LinesT]):
    """Scenes, or pairs of them, as rows of a table: block (row, 0, 1, 1) is that with this number.

    Attributes
    ----------
    stack, scenes, sample
        The scenes, and at which pixels they are compared.
    method
        How the lines are found.
    handles
        How many datasets one thread keeps open.
    """

    stack: RasterStack
    scenes: tuple[Scene, ...]
    sample: Sample
    method: Rectification
    handles: int = 200
    team: int = 1

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The stack of the scenes."""
        return (self.stack,)

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of rows."""

    @property
    @abstractmethod
    def held(self) -> int:
        """How many numbers a worker holds of a row, about."""

    @abstractmethod
    def row(self, number: int) -> LinesT | str:
        """Return the lines of a row, or why it has none."""

    def fetch_ahead(self, block: Block) -> None:
        """Ask servers for nothing: the blocks of a scene are requested as it is read."""

    def kernels(self, name: str) -> str:
        """Name the kernels."""
        return f"{name}: {self.method}"

    def try_out(self) -> None:
        """Compile what compares scenes."""
        values = np.random.default_rng(0).normal(size=(2, 64))
        irmad_lines(values, values + 0.1 * values[::-1])

    def compute(self, block: Block, workspace: Workspace) -> Compared[LinesT]:
        """Return the lines of a row."""
        del workspace
        began = time.perf_counter()
        take_losses()  # discards those of earlier reads in this thread
        lines = self.row(block.row)
        return Compared(block, lines, len(take_losses()), time.perf_counter() - began)


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(RowsWork[Lines]):
    """Scenes compared with the reference.

    Attributes
    ----------
    reference
        (band + 1, pixel) with NaN where it has no value; then of how many scenes it is made.
    controls
        The control sets; None if they are found in each scene.
    """

    reference: Floats
    controls: Controls | None = None

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(pixel,) where the reference has values of enough scenes to be more than one of them."""
        counts = self.reference[-1]
        enough: NDArray[np.bool_] = counts >= min(LEAST_SCENES, counts.max(initial=0))
        return common(self.reference[:-1]) & enough

    @property
    def count(self) -> int:
        """Number of scenes."""
        return len(self.scenes)

    @property
    def held(self) -> int:
        """Numbers of a scene, of the reference and of what is made of both."""
        return 8 * self.reference.size

    def row(self, number: int) -> Lines | str:
        """Return the lines of a scene, or why it has none."""
        scene = self.scenes[number]
        values = read_scene(self.stack, scene, self.sample)
        try:
            return self._lines(values, scene.image.names)
        except DegenerateError as error:
            return f"band {scene.image.names[error.band]} of the {error.image} {error.reason}"
        except (ControlsError, InputError) as error:
            return str(error)

    def _lines(self, values: Floats, names: tuple[str, ...]) -> Lines:
        valid = common(values) & self.known
        counts = self.reference[-1]
        # Beside many scenes, a reference of few is hardly more than this scene.
        valid &= counts >= 0.5 * counts[valid].max(initial=0)
        count = int(np.count_nonzero(valid))
        if count < LEAST_PIXELS and self.controls is None:
            raise InputError(f"{count} sampled pixels have values in it and the reference, fewer than {LEAST_PIXELS}")
        reference, own = self.reference[:-1, valid], values[:, valid]
        if self.method == "irmad":
            return irmad_lines(reference, own)
        if self.method == "regression":
            return invariant_lines(reference, own)
        if self.controls is None:
            return control_lines(reference, own, names, *control_sets(reference, own, names))
        return control_lines(reference, own, names, *(one[valid] for one in self.controls))
