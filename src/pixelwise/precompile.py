"""Compile every kernel before it is needed: for container images, and for clusters.

Kernels are compiled for the types of their arrays on first use. So each method is applied to a few pixels of noise, for
both types of values and of maps and each choice of its parameters, and small files of every kind are read.
"""

from __future__ import annotations

import logging
import tempfile
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pixelwise import methods
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import OutputError, ParameterError
from pixelwise.grid import Block
from pixelwise.kernels.jit import compiling, kernel_folder
from pixelwise.method import Method, parameters_of
from pixelwise.methods import METHODS
from pixelwise.methods.wls import WEIGHTS
from pixelwise.opening.survey import open_stack
from pixelwise.stacks.reductions import REDUCTIONS

__all__ = ["folder_of_kernels", "steps"]

#: Choices that annotations do not list. `wls` takes as many weights as there are layers.
UNLISTED_CHOICES: dict[str, dict[str, Sequence[Any]]] = {
    "theil_sen": {"deseasonalise": ["month"]},
    "mann_kendall": {"deseasonalise": ["month"]},
    "seasonal_kendall": {"season": ["quarter"]},
    "regress": {"covariates": ["x", "x,time"]},
    "harmonic": {"harmonics": [2]},
    "polynomial": {"degree": [1, 3]},
    "summary": {"quantiles": ["none", "p10,p90"]},
    "contextual_mann_kendall": {"window": [5]},
}
#: The types of values and of maps.
TYPES = ("float32", "float64")
PIXELS = 4
RECTIFICATION = "rectification"
#: Longer than the series for which methods have special kernels.
YEARS, MONTHS, LAYERS = 24, 48, 100

EDGE = 40
#: How files are written; those in PACKED also with nodata and scale.
KINDS: tuple[dict[str, Any], ...] = (
    {"compress": "lzw"},
    {},
    {"compress": "lzw", "predictor": 2},
    {"compress": "deflate"},
    {"compress": "deflate", "predictor": 2, "tiled": True, "blockxsize": 16, "blockysize": 16},
)
PACKED = KINDS[:2]
STORED = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def folder_of_kernels() -> Path:
    """Return the folder in which machine code is kept.

    Raises
    ------
    OutputError
        When no folder is writable.
    """
    folder = kernel_folder()
    if folder is None:
        raise OutputError("no writable folder to keep machine code in: set NUMBA_CACHE_DIR to one")
    return folder


def steps(names: Sequence[str] = ()) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield what to compile, as a label and a function: reading, and what is named (everything if nothing is).

    Besides methods, ``rectification`` can be named.

    Raises
    ------
    ParameterError
        When a method is unknown.
    """
    factories = [methods.get(name) for name in names if name != RECTIFICATION] if names else METHODS
    yield "reading", _read
    yield "composites", _compose
    if not names or RECTIFICATION in names:
        yield RECTIFICATION, _rectify
    for factory in factories:
        yield factory.__name__, lambda factory=factory: _apply(factory)  # type: ignore[misc]


# --- methods -------------------------------------------------------------------------------------------------


def _apply(factory: Callable[..., Method]) -> None:
    """Apply a method as jobs do, with all its choices."""
    axes = [
        TimeAxis.from_times(np.arange(2000.0, 2000 + YEARS)),
        _months(MONTHS),
        _months(LAYERS),
    ]
    with compiling(factory.__name__):
        covariate = (WEIGHTS if factory.__name__ == "wls" else "x",)
        for method, axis, inputs in product(_choices(factory), axes, ((), covariate)):
            _apply_to(method, axis, inputs)


def _months(count: int) -> TimeAxis:
    first = np.datetime64("2000-01", "M")
    return TimeAxis.from_times(np.arange(first, first + np.timedelta64(count, "M")).astype("datetime64[D]"))


def _choices(factory: Callable[..., Method]) -> list[Method]:
    """Return a method with its defaults, and with each other choice of each parameter."""
    chosen = [factory()]
    unlisted = UNLISTED_CHOICES.get(factory.__name__, {})
    for name, parameter in parameters_of(factory).items():
        for value in (*_listed(parameter.annotation), *unlisted.get(name, ())):
            if value != parameter.default:
                # Some choices need others to go with them, and are just numbers to the same kernels.
                with suppress(ParameterError):
                    chosen.append(factory(**{name: value}))
    if factory.__name__ == "wls":
        chosen += [factory(weights=[1.0] * count) for count in (YEARS, MONTHS, LAYERS)]
    return chosen


def _listed(annotation: Any) -> tuple[Any, ...]:
    """Return the choices that an annotation lists."""
    if annotation is bool:
        return (True, False)
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


def _apply_to(method: Method, axis: TimeAxis, inputs: Sequence[str]) -> None:
    """Apply a method to noise of every type, unless it refuses the dates or inputs."""
    try:
        method.check_axis(axis)
        every = [band.name for band in method.bands]
        bounds = [method.bind(axis, bands, dict.fromkeys(inputs, axis)) for bands in (None, every)]
    except ParameterError:
        return
    random = np.random.default_rng(0)
    for bound in bounds:
        size = (PIXELS,) if not bound.halo else (PIXELS + 2 * bound.halo,) * 2
        noise = random.normal(0.5, 0.1, (1 + len(inputs), len(axis), *size))
        noise[random.random(noise.shape) < 0.1] = np.nan
        for types in product(TYPES, repeat=1 + len(inputs)):
            for dtype in TYPES:
                bound(tuple(a.astype(t) for a, t in zip(noise, types, strict=True)), dtype)


# --- files ---------------------------------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log messages about our own small files; compilation has its own log."""
    loggers = [logging.getLogger(f"pixelwise.{package}") for package in ("opening", "rasters", "stacks")]
    for log in loggers:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log in loggers:
            log.setLevel(logging.NOTSET)


def _read() -> None:
    """Read small files of every type, compression and packing, as float32 and as float64."""
    with tempfile.TemporaryDirectory() as name, _quiet():
        for stored, (number, kind), nodata, scale in product(STORED, enumerate(KINDS), (None, 7), (1.0, 0.5)):
            # Packing is decoded by type alone, so two ways of storing the blocks are enough.
            if (nodata or scale != 1) and kind not in PACKED:
                continue
            predictor = {"predictor": 3} if stored.startswith("float") and "predictor" in kind else {}
            folder = Path(name, f"{stored}_{number}_{nodata}_{scale}")
            for year in (2000, 2001):
                _write(folder / f"{year}.tif", stored, scale=scale, nodata=nodata, **{**kind, **predictor})
            options: list[dict[str, Any]] = [{}]
            if kind in PACKED and nodata is None and scale == 1:
                options += [{"valid_range": (0, 1000)}, {"nodata": (7, 8)}]
            for more in options:
                _take(open_stack(folder, **more))
            # In a stack with a float64 layer, all layers become float64.
            _write(folder / "2002.tif", TYPES[-1], nodata=nodata)
            for more in options:
                _take(open_stack(folder, **more))


def _compose() -> None:
    """Reduce a few scenes with every reduction, as float32 and as float64."""
    with tempfile.TemporaryDirectory() as name, _quiet():
        for stored in ("float32", "float64"):
            for year, month in product((2000, 2001, 2002), (2, 5, 8, 11)):
                _write(Path(name, stored, f"{year}-{month:02}-15.tif"), stored, seed=12 * year + month)
            stack = open_stack(Path(name, stored))
            for how in (*REDUCTIONS, "p10"):
                _take(stack.composite(how))
                if how != "count":
                    _take(stack.composite(how, equal_count=2))
            for how in ("max", "min"):
                _take(stack.composite(how, by=stack))


def _rectify() -> None:
    """Weigh the pixels of two images of noise."""
    from pixelwise.kernels import irmad

    noise = np.random.default_rng(0).normal(size=(2, 2, 100))
    with compiling(RECTIFICATION):
        chunks = irmad.pack(noise[0], noise[1], np.zeros(4), np.ones(4), 2)
        irmad.moments(chunks, 2, np.ones((1, 2, 4)), np.zeros((1, 2)), np.full(1, -1))
        irmad.weights(chunks, 2, np.ones((2, 4)), np.zeros(2))


def _take(stack: Any) -> None:
    """Read a whole stack, and a part that cuts through its blocks."""
    grid = stack.grid
    stack.read(grid.block)
    stack.read(Block(3, 5, grid.height - 7, grid.width - 9))


def _write(path: Path, stored: str, seed: int = 0, scale: float = 1.0, **profile: Any) -> None:
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 100, (1, EDGE, EDGE)).astype(stored)
    transform = rasterio.Affine(30, 0, 500000, 0, -30, 4000000)
    with rasterio.open(
        path, "w", driver="GTiff", height=EDGE, width=EDGE, count=1, dtype=stored, crs="EPSG:32617",
        transform=transform, **profile,
    ) as dataset:  # fmt: skip
        dataset.write(values)
        dataset.scales = (scale,)
