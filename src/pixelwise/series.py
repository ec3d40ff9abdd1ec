"""The series behind the pixels of a map: its inputs, opened again as the map says, and its method.

A map may come from anywhere, so what it says about how it was made is data, never an instruction, as in `verify`: files
outside its folder, files that its options name, and functions are opened and run only if the user names them again.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pixelwise.bands import STATUS_BAND, Floats, Status
from pixelwise.choices import Extent
from pixelwise.dates.axis import iso
from pixelwise.errors import InputError
from pixelwise.maps.map import Map
from pixelwise.method import Method
from pixelwise.methods.functions.base import UserFunction
from pixelwise.opening.gain_presets import load_gain_preset
from pixelwise.opening.sources import Source, resolve
from pixelwise.opening.survey import survey
from pixelwise.rasters.datasets import local_only
from pixelwise.rasters.points import Point, pixel_at
from pixelwise.rasters.resolution import names_crs
from pixelwise.rasters.urls import Location
from pixelwise.stacks.base import FileStack
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.fits import Fit
from pixelwise.stacks.raster import RasterStack
from pixelwise.stacks.reductions import names_function
from pixelwise.stacks.series import Series, read_series
from pixelwise.stacks.spec import InputSpec
from pixelwise.verify.making import Making, RecordedGains, damaged, recorded_making, short
from pixelwise.verify.pixels import read_map
from pixelwise.verify.qvalues import without_qvalues
from pixelwise.verify.recompute import method_of
from pixelwise.verify.sources import check_unchanged, places_of, table_of_gains

__all__ = ["Origin", "fits_of_map", "origin_of"]

log = logging.getLogger(__name__)

#: What a user types before the name of a map.
COMMAND = ("pixelwise", "series", "--map")


@dataclass(frozen=True, eq=False)
class Origin:
    """What a map was made from, and how, so that single pixels can be computed again.

    Attributes
    ----------
    map, path
        The map, and where it is.
    making
        What it says about its making.
    stack
        Its inputs, on its grid.
    method
        Its method.
    """

    map: Map
    path: Path
    making: Making
    stack: FileStack
    method: Method

    def fits(self, pixels: Sequence[tuple[int, int]], names: Sequence[str] = ()) -> tuple[Fit, ...]:
        """Return what the map's method says of some pixels, with their series; each input file is read once.

        The numbers are those of the map, in its type and unit of time. A number that differs from what the map holds is
        logged.

        Parameters
        ----------
        pixels
            Row and column of each, from 0.
        names
            What the user calls them.

        Raises
        ------
        ParameterError
            When a pixel lies outside.
        InputError
            When a file cannot be read.
        """
        series = read_series(self.stack, pixels, names, halo=self.method.halo)
        if not series:
            return ()
        method = _tried(self.method, series)
        rows, cols = (np.array(numbers, dtype=np.int64) for numbers in zip(*pixels, strict=True))
        with local_only():
            stored = read_map(self.map, rows, cols)
        status = stored[self.map.names.index(STATUS_BAND.name)]
        bands = [name for name in self.map.names if name != STATUS_BAND.name]
        output = self.making.output
        # Polygons and rasters that limited the area are not opened again: the map says which pixels they left out.
        found = tuple(
            replace(one, inside=code != Status.OUTSIDE).fit(
                method,
                bands=bands,
                per=output.per,
                min_valid=output.needs.min_valid,
                min_span=output.needs.min_span,
                dtype=output.dtype,  # type: ignore[arg-type]
            )
            for one, code in zip(series, status.tolist(), strict=True)
        )
        for fit, numbers in zip(found, stored.T, strict=True):
            self._compare(fit, numbers)
        return found

    def fits_at(self, points: Sequence[Point]) -> tuple[Fit, ...]:
        """Return what `fits` does for the pixels in which points lie.

        Raises
        ------
        ParameterError
            When one lies outside.
        InputError
            When it cannot be transformed, or a file cannot be read.
        """
        pixels = [pixel_at(self.map.grid, point) for point in points]
        return self.fits(pixels, [point.name for point in points])

    def _compare(self, fit: Fit, stored: Floats) -> None:
        """Log the first number that the map holds otherwise."""
        for name, value in zip(self.map.names, stored.tolist(), strict=True):
            again = fit[name]
            if not (again == value or (np.isnan(again) and np.isnan(value))):
                log.warning(
                    "%s: %s is %.9g in the map, but %.9g computed again, at row %d, column %d: did inputs or versions "
                    "change? `pixelwise verify` compares more pixels",
                    self.path, name, value, again, fit.series.row, fit.series.col,
                )  # fmt: skip
                return


def _tried(method: Method, series: Sequence[Series]) -> Method:
    """Return a function after its trial on all pixels at once, as in a job; other methods need none."""
    if not isinstance(method, UserFunction):
        return method
    table = np.stack([one.values for one in series], axis=1).astype(np.float64)
    if not (np.count_nonzero(~np.isnan(table), axis=0) >= method.min_obs).any():
        return method
    return method.rehearse(series[0].axis, lambda: table)


def fits_of_map(
    map_: Map,
    path: str | Path,
    pixels: Sequence[tuple[int, int]],
    source: Source | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    method: str | Method | Callable[..., Any] | None = None,
    command: Sequence[str] = (),
) -> tuple[Fit, ...]:
    """Return the series of some pixels of a map, with what its method says of them; each input file is read once.

    Parameters
    ----------
    map_, path
        What `open_map` returned, and what it was given.
    pixels
        Row and column of each, from 0.
    source, options, method, command
        As in `origin_of`.

    Returns
    -------
    tuple of Fit
        In the order of the pixels; ``fit.series`` are the observations.

    Raises
    ------
    InputError, ParameterError
        As `origin_of` and `Origin.fits` do.
    """
    return origin_of(map_, path, source, options=options, method=method, command=command).fits(pixels)


@local_only()
def origin_of(
    map_: Map,
    path: str | Path,
    source: Source | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    method: str | Method | Callable[..., Any] | None = None,
    command: Sequence[str] = (),
) -> Origin:
    """Open the inputs of a map again, as it says that they were opened.

    Parameters
    ----------
    map_, path
        What `open_map` returned, and what it was given.
    source
        All inputs of the map, as for `open_stack`, if they are outside its folder or were moved.
    options
        Input options that replace those of the map. Options that name files (a mask, a table of dates, a product) must
        be given again.
    method
        The function that made the map: ``file.py:function`` or the function itself. It is run only if given here.
    command
        What to type before the names of files, for errors.

    Raises
    ------
    InputError
        When the map does not say how it was made, or its inputs have changed, moved, or would be read differently.
    ParameterError
        When a function must be given, or is not the one that made the map.
    """
    path, given = Path(path), dict(options or {})
    if not map_.paths:
        raise InputError("a map in memory does not say where its inputs are: use the series of its stack")
    _check_kind(map_, path, command)
    # Q-values depend on all pixels: no series gives them.
    map_, _ = without_qvalues(map_, path)
    making = recorded_making(map_, path)
    used = method_of(making, method, map_, path)
    folder = map_.paths[0].parent
    spec = _spec_of(making, given, folder, path, command)
    files: Source = _own_files(making, folder, path, command or (*COMMAND, str(path))) if source is None else source
    stack = _composites(map_, survey(files, spec).stack(), spec, path)
    _check_layers(making, stack, path, check_sizes=source is not None)
    return Origin(map_, path, making, _on_grid(map_, stack, path), used)


def _check_kind(map_: Map, path: Path, command: Sequence[str]) -> None:
    """Refuse maps whose inputs cannot be opened from what they say."""
    instead = "`pixelwise series INPUT` has --method" if command else "give INPUT and --method instead of --map"
    described = map_.provenance.get("input")
    if map_.provenance.get("further_inputs"):
        raise InputError(f"{path}: its method has covariates: {instead}, and --with NAME=FILES")
    if not isinstance(described, dict):
        raise InputError(f"{path}: does not say from which files it was made: {instead}")
    if "kind" in described:
        raise InputError(f"{path}: was not made from files, but from {short(described['kind'])}")
    composite = described.get("composite")
    if isinstance(composite, dict) and "by" in composite:
        raise InputError(f"{path}: its composites were chosen by another stack (by=): use the series of that stack")


def _spec_of(making: Making, given: Mapping[str, Any], folder: Path, path: Path, command: Sequence[str]) -> InputSpec:
    """Return the input options of a map, with those that the user gives; files that only the map names are refused."""
    # Other commands lack the options of inputs.
    show = f"`{shlex.join((*COMMAND, str(path)))}` shows its series, if you " if command else ""
    spec = making.spec
    naming = {
        "times": spec.times is not None and "%" not in spec.times,
        "align": spec.align is not None and not names_crs(spec.align),
        "mask": spec.mask not in (None, "none"),
        "product": spec.product is not None and spec.product.endswith(".toml"),
        "extent": isinstance(spec.extent, str) and spec.extent not in get_args(Extent),
        "composite": spec.composite is not None and names_function(spec.composite),
    }
    for name, names_file in naming.items():
        if names_file and name not in given:
            value = getattr(spec, name)
            raise InputError(
                f"{path}: was made with --{name} {value}; a file that a map names is opened only if you name it again: "
                f"{show}add --{name} with its present path"
            )
    table = table_of_gains(making, folder, given.get("gains"), path, f"{show}add --gains FILE")
    if making.gains is not None:
        _check_preset(making.gains, path)
        given = {**given, "gains": table or making.gains.preset}
    return spec.replace(region=None, where=None).replace(**given)


def _check_preset(gains: RecordedGains, path: Path) -> None:
    """Refuse a preset that has changed since a map was made."""
    if gains.preset and load_gain_preset(gains.preset).sha256 != gains.sha256:
        raise InputError(
            f"{path}: was made with other gains of the preset {gains.preset} than this version of pixelwise has: use "
            "the version that made it"
        )


def _own_files(making: Making, folder: Path, path: Path, command: Sequence[str]) -> list[Path]:
    """Return the input files of a map that lie in its folder, as they were."""
    places = places_of(making, folder, None, path, command=command)
    local = {name: place for name, place in places.items() if isinstance(place, Path)}
    gone = [str(place) for place in local.values() if not os.path.lexists(place)]
    if gone:
        raise InputError(
            f"{path}: {len(gone)} of its {len(local)} input files are no longer there, such as {gone[0]}; if they or "
            f"the map were moved, name them: {shlex.join(command)} FILES"
        )
    behind = {name: Path(os.path.normpath(folder.resolve() / name)) for name in making.behind}
    check_unchanged(making.files | making.behind, local | behind)
    # With `--mask` the masks are another source; a product's are among its own files.
    masks_apart = making.spec.mask not in (None, "none")
    pieces = {name for layer in making.layers for name, _ in layer.pieces}
    files = [place for name, place in local.items() if name in pieces or not masks_apart]
    found = [place for place, _ in resolve(files)]
    if sorted(map(str, found)) != sorted(map(str, files)):
        other = next((place for place in found if place not in files), files[0])
        raise damaged(path, f"it names files that refer to others, such as {other}")
    return files


def _composites(map_: Map, stack: RasterStack, spec: InputSpec, path: Path) -> FileStack:
    """Return the composites of a map with its periods, or the stack itself if it has none."""
    if spec.composite is None:
        return stack
    described = map_.provenance["input"].get("composite")
    described = described if isinstance(described, dict) else {}
    seed = described.get("seed", 0)
    if not isinstance(seed, int):
        raise damaged(path, f"seed is {short(seed)}")
    made = stack.composite(
        spec.composite, spec.every, spec.season, spec.min_count, equal_count=spec.equal_count, seed=seed,
        parameters=spec.composites.parameters,
    )  # fmt: skip
    periods, now = described.get("periods"), made.periods.labels
    if not isinstance(periods, list) or not periods or not set(map(str, periods)) <= set(now):
        raise InputError(f"{path}: has {short(periods)} of periods, but its inputs give {now[0]}..{now[-1]}")
    return made if len(periods) == len(now) else made.take([now.index(str(label)) for label in periods])


def _check_layers(making: Making, stack: FileStack, path: Path, *, check_sizes: bool) -> None:
    """Refuse inputs that are not those of the map: other layers, dates, bands or sizes."""
    scenes = stack.scenes if isinstance(stack, CompositeStack) else stack
    assert isinstance(scenes, RasterStack)  # noqa: S101 - as `open_stack` made it

    def known(date: Any, pieces: Sequence[tuple[str, int]]) -> tuple[Any, ...]:
        return date, [(name.rpartition("/")[2], band) for name, band in pieces]

    then = [known(layer.date, layer.pieces) for layer in making.layers]
    now = [
        known(
            datetime.fromisoformat(iso(one.date, one.precision)),
            [(str(piece.path), piece.band) for piece in one.pieces],
        )
        for one in scenes.layers
    ]
    if then != now:
        differing = next((pair for pair in zip(then, now, strict=False) if pair[0] != pair[1]), (then[-1], now[-1]))
        was, is_ = (f"{layer[0].date()} of {layer[1][0][0]}" for layer in differing)
        raise InputError(
            f"{path}: these inputs are not those of the map, or are read differently: {len(now)} layers instead of "
            f"{len(then)}, {is_} instead of {was}; name all files of the map, and no others"
        )
    if check_sizes:
        pairs = zip(making.layers, scenes.layers, strict=True)
        places: dict[str, Location] = {
            name: piece.path for layer, one in pairs for (name, _), piece in zip(layer.pieces, one.pieces, strict=True)
        }
        check_unchanged({name: making.files[name] for name in places}, places)


def _on_grid(map_: Map, stack: FileStack, path: Path) -> FileStack:
    """Return the stack on the grid of the map, which may be a part of it."""
    if stack.grid.shares_lattice(map_.grid):
        place = stack.grid.place_of(map_.grid)
        if place == stack.grid.block:
            return stack
        if place.intersection(stack.grid.block) == place:
            return stack.crop(place)
    raise InputError(
        f"{path}: is not on the grid of its inputs: {'; '.join(stack.grid.differences(map_.grid))}; name all files of "
        "the map, and give --extent or --align as it was made"
    )
