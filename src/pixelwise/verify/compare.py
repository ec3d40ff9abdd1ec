"""Does a map hold what its inputs give? Pixels are computed again, slowly, by another way than `apply` took.

A map may come from anywhere, so what it says of its making is data, never an order: a file outside its folder, and a
function, are opened and run only where the user names them again.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from affine import Affine, TransformNotInvertibleError
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from pixelwise import methods
from pixelwise.bands import STATUS_BAND, Band, Floats, Status, rescale
from pixelwise.dates.axis import Precision, TimeAxis
from pixelwise.dates.completeness import Completeness
from pixelwise.errors import InputError, ParameterError, PixelwiseError
from pixelwise.grid import Block, same_crs
from pixelwise.jobs.plan import smaller_blocks
from pixelwise.jobs.provenance import plain
from pixelwise.maps.map import Map, open_map, open_quietly
from pixelwise.method import BoundMethod, Method, parameters_of
from pixelwise.methods.functions.loading import load_function
from pixelwise.methods.functions.pixel import COUNT_BAND, SIMPLE_TYPES, PixelFunction, UserFunction, as_method
from pixelwise.opening.sources import Source, resolve
from pixelwise.rasters.datasets import GDAL_ERRORS, NAMERS, local_only, open_local
from pixelwise.rasters.tiff import DamagedBlockError, Streams
from pixelwise.rasters.vrt import is_vrt, sources_of
from pixelwise.rasters.windows import alpha_of, largest_behind, streams_of
from pixelwise.rasters.zlib_blocks import PlainBlocks, open_plainly
from pixelwise.regular_files import check_regular, is_file, is_utf8
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import one_line, shown

__all__ = ["Difference", "Verification", "verify"]

#: Numbers of a map of `ols` are within this of exact ones: p-values come from tables that are good for 1e-9, all else
#: is closer. To it comes the rounding to the map's type, 1.2e-7 for float32.
RELATIVE = 1e-9

#: Sums of up to a thousand deviations in float64 are known to 2e-13 of the deviations' size. So a slope is not known
#: relative to itself, which may be 0, but to what it would be if all variance were trend.
DIGITS = 1e-12

#: Squares of deviations leave float64 beyond these, where `ols` gives status 6.
SMALLEST_SQUARES, LARGEST_SQUARES = 1e-290, 1e290

#: Values that are held at once: 32 MB.
AT_ONCE = 4 << 20

#: Pixels of a sample: to draw as many takes up to 400 MB. Larger comparisons are of all pixels, which are not drawn.
LARGEST_SAMPLE = 10_000_000

#: Bytes of one block of a file as decoded, which is read for each pixel in it.
LARGEST_BLOCK = 2 << 30

#: So many differences are kept; all are counted.
MOST_KEPT = 1000

#: Centres of pixels of a map and of its inputs lie upon each other within so many pixels: `open_stack` allows 0.01.
OFF_CENTRE = 0.02

#: No name, path or set of input options is longer.
LONGEST = 10_000

#: What reading somebody else's words may raise.
DAMAGES = (PixelwiseError, ValueError, TypeError, ArithmeticError, RecursionError)

#: Input options of which there is no second implementation here.
NOT_RECOMPUTED = ("align", "product", "value", "mask", "mask_band", "region", "where")

#: So many paths are named in one error.
NAMED = 5

PRECISIONS: tuple[Precision, ...] = ("year", "month", "period", "day", "second")
EPOCH = datetime(1970, 1, 1)

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of a map that is not what its inputs give.

    Attributes
    ----------
    band
        Name of the band.
    row, col
        Of the pixel, from 0.
    x, y
        Of its centre, in units of the map's CRS.
    value, recomputed
        What the map holds, and what it should hold.
    """

    band: str
    row: int
    col: int
    x: float
    y: float
    value: float
    recomputed: float


@dataclass(frozen=True)
class Verification:
    """What a comparison found.

    Attributes
    ----------
    pixels, total
        How many were compared, of how many.
    files
        How many input files the map was made of.
    by
        What computed the pixels again.
    tolerance
        Largest relative difference that passes; 0 where numbers must be the same.
    differing
        How many numbers differ.
    differences
        The first thousand of them, row by row.
    made_by
        The version of pixelwise that the map says it was made by; empty where it says none.
    """

    pixels: int
    total: int
    files: int
    by: str
    tolerance: float
    differing: int
    differences: tuple[Difference, ...]
    made_by: str = ""


@local_only()
def verify(
    map_path: str | Path,
    source: Source | None = None,
    *,
    method: str | Method | Callable[..., Any] | None = None,
    pixels: int = 1000,
    everything: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Compute pixels of a map again from its inputs, and compare.

    Files are read by rasterio alone, one run of pixels at a time; missing values, dates and duplicates are worked out
    in plain NumPy, and `ols` in exact arithmetic. What has no second implementation is computed by the method itself,
    one pixel at a time.

    Parameters
    ----------
    map_path
        What `open_map` takes.
    source
        Input files that lie outside the map's folder, as `open_stack` takes them: no others of these are opened.
    method
        The function that made the map, again: ``file.py:function`` or the function. It is run only if given here.
    pixels
        How many to compare, drawn at random without repetition.
    everything
        Compare all instead.
    seed
        Of the sample.
    progress
        Called with pixels done and pixels in all.

    Returns
    -------
    Verification

    Raises
    ------
    InputError
        When the map or its inputs cannot be read, inputs changed since, or the map cannot be verified.
    ParameterError
        When a function has to be given, or is not the one that made the map.
    """
    if pixels < 1:
        raise ParameterError(f"pixels {pixels} is impossible: at least one is wanted")
    if pixels > LARGEST_SAMPLE and not everything:
        raise ParameterError(
            f"pixels {pixels} is impossible: at most {LARGEST_SAMPLE} are drawn; --all (everything=True) compares all"
        )
    path = Path(map_path)
    map_ = open_map(path)
    making = _making_of(map_, path)
    compute = _recomputation(making, method, map_, path)
    places = _places_of(making, map_.paths[0].parent, source, path)
    behind = {name: Path(os.path.normpath(map_.paths[0].parent.resolve() / name)) for name in making.behind}
    _check_unchanged(making.files | making.behind, places | behind)
    inputs = _inputs_of(making, places, map_)
    kinds = np.array([[map_.band(name).integer] for name in map_.names])
    relative = np.where(kinds, 0.0, compute.tolerance)
    dtype = np.dtype(making.dtype)
    scaled = dict(zip((band.name for band in compute.bands), rescale(compute.bands, making.per)[1], strict=True))
    factors = np.array([[scaled.get(name, 1.0)] for name in map_.names])
    total = map_.grid.height * map_.grid.width
    compared = total if everything else min(pixels, total)
    differing = done = 0
    kept: list[Difference] = []
    for chosen in _chosen(total, compared, seed, max(1, AT_ONCE // making.pieces)):
        rows, cols = np.divmod(chosen, map_.grid.width)
        found = _read_map(map_, rows, cols)
        series, lost = _series(making, inputs, map_.grid.transform, rows, cols)
        try:
            expected, slack = (table * factors for table in compute(series))
        except ArithmeticError:
            raise InputError(f"{path}: cannot be verified: its numbers are too large for float64") from None
        status = expected[map_.names.index(STATUS_BAND.name)]
        lacking = _lacking(making, series)
        expected[np.ix_(~kinds[:, 0], lacking)] = np.nan
        status[lacking & (status != Status.NO_OBSERVATION)] = Status.TOO_FEW
        status[lost & (status == Status.OK)] = Status.DATES_LOST
        wrong = _wrong(found, expected, slack, relative, dtype)
        differing += int(np.count_nonzero(wrong))
        for pixel, band in np.argwhere(wrong.T)[: MOST_KEPT - len(kept)].tolist():
            row, col = int(rows[pixel]), int(cols[pixel])
            x, y = map_.grid.transform @ (col + 0.5, row + 0.5)
            value, recomputed = float(found[band, pixel]), float(expected[band, pixel])
            kept.append(Difference(map_.names[band], row, col, x, y, value, recomputed))
        done += len(chosen)
        if progress is not None:
            progress(done, compared)
    return Verification(
        compared, total, len(places), compute.by, compute.tolerance, differing, tuple(kept), _version_of(map_)
    )


def _chosen(total: int, count: int, seed: int, at_once: int) -> Iterator[NDArray[np.int64]]:
    """Yield numbers of pixels, row by row, so many at once: `count` of `total`, the same for the same seed."""
    if count == total:
        yield from (np.arange(start, min(start + at_once, total)) for start in range(0, total, at_once))
        return
    sample = np.sort(_drawn(np.random.default_rng(seed), total, count))
    yield from (sample[start : start + at_once] for start in range(0, count, at_once))


def _drawn(rng: np.random.Generator, total: int, count: int) -> NDArray[np.int64]:
    """Return `count` different ones of `total` numbers, in memory for a few times `count` only."""
    # In between NumPy would make all numbers first: 4 GB to draw 10 million.
    if not 4 * count < total < 100 * count or total <= 1 << 20:
        chosen: NDArray[np.int64] = rng.choice(total, count, replace=False, shuffle=False)
        return chosen
    found = np.empty(0, dtype=np.int64)
    while len(found) < count:
        found = np.union1d(found, rng.integers(total, size=count))
    return found[rng.choice(len(found), count, replace=False, shuffle=False)]


def _wrong(found: Floats, expected: Floats, slack: Floats, relative: Floats, dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Return (band, pixel) whether numbers differ; `expected` as rounded to the map's type."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(dtype).astype(np.float64)
        # Numbers too small for the type lose digits, and then are 0.
        smallest = np.where(relative > 0, np.finfo(dtype).tiny, 0.0)
        near = np.abs(found - rounded) <= relative * np.abs(expected) + slack + smallest
    wrong: NDArray[np.bool_] = ~(near | (found == rounded) | (np.isnan(found) & np.isnan(expected)))
    return wrong


# ------------------------------------------------------------------------------------------ what a map says


@dataclass(frozen=True, slots=True)
class _Layer:
    date: datetime
    precision: Precision
    pieces: tuple[tuple[str, int], ...]

    @property
    def year(self) -> float:
        """The decimal year, as DESIGN has it: a plain year is that number."""
        if self.precision == "year":
            return float(self.date.year)
        return 1970.0 + (self.date - EPOCH).total_seconds() / 86400.0 / 365.25


@dataclass(frozen=True)
class _Making:
    """What a map says of its making, checked: nothing in it is trusted."""

    method: str
    parameters: dict[str, Any]
    dtype: str
    spec: InputSpec
    needs: Completeness
    per: str
    layers: tuple[_Layer, ...]
    files: dict[str, tuple[int, int]]
    behind: dict[str, tuple[int, int]]
    alpha_read: frozenset[str]
    #: Of a function, what else it is than its source, and by which Python; of older maps nothing.
    beneath: Any = None
    python: Any = None

    @property
    def made_by_function(self) -> bool:
        """Whether a user's function made it, of which the map has the source text."""
        return "function" in self.parameters

    @property
    def pieces(self) -> int:
        return sum(len(layer.pieces) for layer in self.layers)


def _making_of(map_: Map, path: Path) -> _Making:
    provenance = map_.provenance
    if "written" in provenance:
        raise InputError(f"{path}: is a stack that was written beside a map, not a map: verify the map")
    if provenance.get("further_inputs"):
        raise InputError(f"{path}: cannot be verified: its method has further inputs")
    described = provenance.get("input")
    if isinstance(described, dict) and "kind" in described:
        raise InputError(f"{path}: cannot be verified: its input is no stack of files, but {_short(described['kind'])}")
    if isinstance(described, dict) and "composite" in described:
        raise InputError(f"{path}: cannot be verified: what --composite did is not computed again")
    try:
        making = _Making(
            method=_take(provenance, "method", str),
            parameters=_take(provenance, "parameters", dict),
            dtype=_take(provenance, "dtype", str),
            spec=_spec_of(_take(_take(provenance, "input", dict), "spec", dict)),
            needs=Completeness(provenance.get("min_valid", 0.0), provenance.get("min_span", 0.0)),
            per=_per_of(provenance),
            layers=tuple(map(_layer_of, _take(provenance["input"], "layers_used", list))),
            files=dict(map(_file_of, _take(provenance["input"], "files", list))),
            behind=dict(map(_file_of, provenance["input"].get("behind", []))),
            alpha_read=frozenset(map(str, provenance["input"].get("alpha_read", []))),
            beneath=provenance.get("function"),
            python=_take(provenance, "versions", dict).get("python") if "versions" in provenance else None,
        )
        _check_making(making)
        if _take(provenance, "bands", list) != list(map_.names) or STATUS_BAND.name not in map_.names:
            raise ValueError(f"its bands are not {', '.join(map_.names)}")
    except DAMAGES as error:
        raise _damaged(path, error) from None
    beyond = [f"--{name.replace('_', '-')}" for name in making.spec.as_dict() if name in NOT_RECOMPUTED]
    if beyond:
        raise InputError(f"{path}: cannot be verified: what {' and '.join(beyond)} did is not computed again")
    return making


def _version_of(map_: Map) -> str:
    """Return the version of pixelwise that a map names, where that is one."""
    versions = map_.provenance.get("versions")
    version = versions.get("pixelwise") if isinstance(versions, dict) else None
    return version if isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,40}", version, re.ASCII) else ""


def _per_of(provenance: Mapping[str, Any]) -> str:
    per = provenance.get("per", "year")
    if per not in ("year", "decade"):
        raise ValueError(f"per is {_short(per)}")
    return str(per)


def _damaged(path: Path, why: object) -> InputError:
    text = str(why)
    shown = text if len(text) <= 300 else f"{text[:297]}..."
    return InputError(f"{path}: what it says of its making is damaged ({shown})")


def _check_making(making: _Making) -> None:
    if making.dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {_short(making.dtype)}")
    if len(making.method) > LONGEST:
        raise ValueError(f"method is {_short(making.method)}")
    years = [layer.year for layer in making.layers]
    if not years or sorted(years) != years:
        raise ValueError("its dates do not ascend")
    pieces = [piece for layer in making.layers for piece in layer.pieces]
    unknown = [name for name, _ in pieces if name not in making.files]
    if unknown:
        raise ValueError(f"{_short(unknown[0])} is not among its files")
    # So that a comparison reads no more than there is, however long the list.
    for (name, band), times in Counter((os.path.normpath(name), band) for name, band in pieces).items():
        if times > 1:
            raise ValueError(f"band {band} of {_short(name)} is there {times} times")


def _take(holder: Any, name: str, kind: type[T]) -> T:
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {_short(value)}")
    return value


def _length(value: Any) -> int:
    """Return how many characters a value's words have together; numbers, such as a weight for each date, have none."""
    if isinstance(value, dict):
        return sum(len(key) + _length(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(1 + _length(item) for item in value if not isinstance(item, (int, float)))
    return len(value) if isinstance(value, str) else 0


def _short(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"a {type(value).__name__}"
    return shown(value, 80)


def _spec_of(described: dict[str, Any]) -> InputSpec:
    # An error looks for what is most like a name, which takes minutes with a long one.
    if len(json.dumps(described)) > LONGEST:
        raise ValueError("spec is too long")
    # JSON has no NaN: `plain` writes it as a text.
    values = dict(described)
    for name in ("nodata", "valid_range"):
        if name in values:
            values[name] = [float(value) if isinstance(value, str) else value for value in _take(values, name, list)]
            # What overflows is said here.
            list(map(float, values[name]))
    return InputSpec().replace(**values)


def _layer_of(described: Any) -> _Layer:
    date, precision = datetime.fromisoformat(_take(described, "date", str)), _take(described, "precision", str)
    if precision not in PRECISIONS or date.tzinfo is not None:
        raise ValueError(f"{_short(described['date'])} has the precision {_short(precision)}")
    pieces = []
    for piece in _take(described, "pieces", list):
        name, band = piece
        if not isinstance(name, str) or not isinstance(band, int) or isinstance(band, bool) or band < 1:
            raise ValueError(f"a piece is {_short(name)}, {_short(band)}")
        pieces.append((name, band))
    if not pieces:
        raise ValueError(f"{date.date()} has no pieces")
    return _Layer(date, precision, tuple(pieces))


def _file_of(described: Any) -> tuple[str, tuple[int, int]]:
    name = _take(described, "path", str)
    if not 0 < len(name) <= LONGEST or "\0" in name or not is_utf8(name):
        raise ValueError(f"a file is {_short(name)}")
    return name, (_take(described, "size", int), _take(described, "mtime_ns", int))


# ---------------------------------------------------------------------------------- which files are opened


def _places_of(making: _Making, folder: Path, source: Source | None, path: Path) -> dict[str, Path]:
    """Return where the files of a map are, by the names that it has for them.

    Raises
    ------
    InputError
        When some lie outside its folder and the user did not name them.
    """
    named = set() if source is None else {file.resolve() for file, _ in resolve(source)}
    tree = folder.resolve()

    def opens(place: Path) -> bool:
        # Links are followed: what counts is which file is opened.
        return not place.as_posix().startswith("/vsi") and (place.resolve().is_relative_to(tree) or _in(named, place))

    places: dict[str, Path] = {}
    outside: dict[str, Path] = {}
    for name in making.files:
        # As it was written: relative to where the folder really is, by names alone from there on.
        place = Path(os.path.normpath(tree / name))
        remote = "://" in name or name.startswith("/vsi")
        try:
            allowed = not remote and opens(place) and (not Path(name).is_absolute() or _in(named, place))
        except (OSError, RuntimeError) as error:  # a name that is too long, links that go round
            raise InputError(f"{path}: its file {name} cannot be looked for ({error})") from None
        if remote:
            raise InputError(f"{path}: its file {name} is not local and is not opened; download it first")
        (places if allowed else outside)[name] = place
    if outside:
        raise InputError(*_outside(path, outside))
    listed: dict[Path, list[str]] = {}
    for place in places.values():
        if is_file(place) and not _in(named, place):
            _check_sources(place, opens, path, listed)
    return places


def _in(named: set[Path], place: Path) -> bool:
    return place.resolve() in named


def _outside(path: Path, outside: Mapping[str, Path]) -> Iterator[str]:
    for name in list(outside)[:NAMED]:
        yield f"{path}: its file {name} lies outside its folder and is opened only when you name it"
    if len(outside) > NAMED:
        yield f"... and {len(outside) - NAMED} more files like these"
    folders = list(dict.fromkeys(str(place.parent) for place in outside.values()))
    named = [str(place) for place in outside.values()] if len(outside) <= NAMED else folders[:NAMED]
    yield f"if these are the files that you mean: {shlex.join(['pixelwise', 'verify', str(path), *named])}"


def _check_sources(file: Path, opens: Callable[[Path], bool], path: Path, listed: dict[Path, list[str]]) -> None:
    """Apply the same rule to what GDAL opens for a file that the user did not name: files beside it, sources of a VRT.

    `listed` is what leads out of folders that were looked at before.
    """
    pending, seen = [file], set()
    while pending:
        vrt = pending.pop()
        if vrt.resolve() in seen:
            continue
        if vrt.parent not in listed:
            listed[vrt.parent] = _leading_out(vrt.parent, opens)
        for name in listed[vrt.parent]:
            if _is_beside(name, vrt):
                raise InputError(
                    f"{path}: beside its file {vrt} lies {name}, a link to a file outside the map's folder; "
                    f"if you mean it: {shlex.join(['pixelwise', 'verify', str(path), str(file)])}"
                )
        if not is_vrt(vrt):
            continue
        seen.add(vrt.resolve())
        for name, place in sources_of(vrt).items():
            if "://" in name or not opens(place.absolute()):
                raise InputError(
                    f"{path}: its file {vrt} names {name}, which lies outside its folder; if you mean it: "
                    f"{shlex.join(['pixelwise', 'verify', str(path), str(vrt)])}"
                )
            pending.append(place)


def _leading_out(folder: Path, opens: Callable[[Path], bool]) -> list[str]:
    """Return the names of a folder that lead to files that are not opened; one that cannot be listed has none."""

    def leads_out(place: Path) -> bool:
        try:
            return not opens(place)
        except (OSError, RuntimeError):  # links that go round
            return True

    try:
        with os.scandir(folder) as entries:
            # What is no link lies where the folder lies.
            outside = leads_out(folder.absolute())
            return [e.name for e in entries if (outside or e.is_symlink()) and leads_out(folder.absolute() / e.name)]
    except OSError:
        return []


def _is_beside(name: str, file: Path) -> bool:
    """Whether GDAL may open what has this name in a file's folder for that file: a sidecar, data of a header."""
    lower, stem = file.name.lower(), file.stem.lower()
    # Texts of some formats name any file of their folder.
    begins = "" if file.suffix.lower() in NAMERS else (lower, f"{stem}.", f"{stem}_")
    return name != file.name and name.lower().startswith(begins)


def _check_unchanged(files: Mapping[str, tuple[int, int]], places: Mapping[str, Path]) -> None:
    """Compare sizes with those of the job; of files behind VRTs and headers and of sidecars too.

    A copy has another time, and a viewer writes statistics into metadata: that is told, and the numbers tell the rest.
    """
    problems, later = [], []
    for name, place in places.items():
        size, mtime_ns = files[name]
        try:
            now = check_regular(place)
        except InputError as error:
            problems.append(str(error))
            continue
        if now.st_size != size and not place.name.lower().endswith(".aux.xml"):
            problems.append(f"{place}: changed since the map was made: {size} bytes then, now {now.st_size}")
        elif (now.st_size, now.st_mtime_ns) != (size, mtime_ns):
            later.append(place)
    if problems:
        raise InputError(*problems)
    if later:
        log.warning(
            "%d input file(s) have another time than when the map was made, as copies have: %s",
            len(later),
            ", ".join(str(place) for place in later[:NAMED]),
        )


# ----------------------------------------------------------------------------------------- reading, plainly


@dataclass(frozen=True)
class _Input:
    """One file, what its bands say of missing values, and which rows of the pieces' table they fill."""

    path: Path
    height: int
    width: int
    inverse: Affine
    bands: tuple[int, ...]
    targets: tuple[int, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[tuple[float, ...], ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    masked: tuple[bool, ...]


def _inputs_of(making: _Making, places: Mapping[str, Path], map_: Map) -> list[_Input]:
    """Read what each file says of itself; options of the job override it."""
    spec = making.spec
    uses: dict[str, list[tuple[int, int]]] = {}
    pieces = [piece for layer in making.layers for piece in layer.pieces]
    for target, (name, band) in enumerate(pieces):
        uses.setdefault(name, []).append((band, target))
    inputs = []
    for name, used in uses.items():
        path = places[name]
        with open_local(path) as dataset:
            if not same_crs(map_.grid.crs, dataset.crs):
                raise InputError(f"{path}: its CRS is not that of the map")
            bands = tuple(band for band, _ in used)
            if max(bands) > dataset.count:
                raise InputError(f"{path}: has {dataset.count} bands, but the map was made of band {max(bands)}")
            _check_blocks(dataset, path)
            # Properties of all bands, each looked at once.
            declared, flags = dataset.nodatavals, [set(own) for own in dataset.mask_flag_enums]
            unmasked = {MaskFlags.all_valid, MaskFlags.nodata}
            if name in making.alpha_read:
                unmasked.add(MaskFlags.alpha)
            dtypes, scales, offsets = dataset.dtypes, dataset.scales, dataset.offsets
            if any(dtypes[b - 1].startswith("complex") for b in bands):
                raise InputError(f"{path}: holds complex numbers; real ones are expected")
            try:
                inverse = ~dataset.transform
            except TransformNotInvertibleError:
                raise InputError(f"{path}: is not on the grid of the map: its pixels have no size") from None
            inputs.append(
                _Input(
                    path=path,
                    height=dataset.height,
                    width=dataset.width,
                    inverse=inverse,
                    bands=bands,
                    targets=tuple(target for _, target in used),
                    dtypes=tuple(dtypes[b - 1] for b in bands),
                    nodata=tuple(_nodata(declared[b - 1], spec) for b in bands),
                    scales=tuple(scales[b - 1] if spec.scale is None else spec.scale for b in bands),
                    offsets=tuple(offsets[b - 1] if spec.offset is None else spec.offset for b in bands),
                    masked=tuple(not flags[b - 1] & unmasked for b in bands),
                )
            )
    return inputs


def _check_blocks(dataset: Any, path: Path) -> None:
    """Refuse blocks that take too much memory: the head of a file may claim any size, and compressed it is nothing."""
    behind = largest_behind(path)
    if behind > LARGEST_BLOCK:
        raise InputError(
            f"{path}: cannot be verified: a block of its masks or sources has {behind / 1e9:.0f} GB, more than "
            f"{LARGEST_BLOCK / 1e9:.1f}; write it with smaller ones: {smaller_blocks(path)}"
        )
    interleaved = dataset.count if str(dataset.profile.get("interleave")) == "pixel" else 1
    for (height, width), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        size = height * width * interleaved * getattr(np, dtype, np.complex128)().itemsize
        if size > LARGEST_BLOCK:
            raise InputError(
                f"{path}: cannot be verified: its blocks of {height} x {width} pixels have {size / 1e9:.0f} GB each, "
                f"more than {LARGEST_BLOCK / 1e9:.1f}; write it with smaller ones: {smaller_blocks(path)}"
            )


def _nodata(declared: float | None, spec: InputSpec) -> tuple[float, ...]:
    if spec.nodata is not None:
        return spec.nodata
    return () if declared is None else (declared,)


def _series(
    making: _Making, inputs: Sequence[_Input], transform: Affine, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (time, pixel) values of some pixels of the map, NaN where missing, and where something was unreadable."""
    x, y = _apply(transform, cols + 0.5, rows + 0.5)
    values = np.full((making.pieces, len(rows)), np.nan)
    covered = np.zeros(values.shape, dtype=bool)
    lost = np.zeros(len(rows), dtype=bool)
    for file in inputs:
        file_cols, file_rows = _apply(file.inverse, x, y)
        inside = (file_cols >= 0) & (file_cols < file.width) & (file_rows >= 0) & (file_rows < file.height)
        pixels = np.flatnonzero(inside)
        if not len(pixels):
            continue
        off = max(float(np.abs(place[pixels] % 1 - 0.5).max()) for place in (file_cols, file_rows))
        if off > OFF_CENTRE:
            raise InputError(f"{file.path}: is not on the grid of the map: off by {off:.2g} pixels")
        covered[np.ix_(np.array(file.targets), pixels)] = True
        at = file_rows[pixels].astype(np.int64), file_cols[pixels].astype(np.int64)
        with _explained(file.path), open_local(file.path) as dataset, _opened(dataset, file) as reader:
            kinds = list(zip(file.dtypes, file.masked, strict=True))
            for dtype, masked in dict.fromkeys(kinds):
                members = [index for index, kind in enumerate(kinds) if kind == (dtype, masked)]
                bands = [file.bands[index] for index in members]
                stored = np.empty((len(bands), len(pixels)), dtype=dtype)
                valid = np.full(stored.shape, 255, dtype=np.uint8)
                for run, window in _runs(*at):
                    if making.spec.on_read_error == "missing":
                        lost[pixels[run]] |= _read_what_is_whole(
                            reader, bands, window, stored[:, run], valid[:, run], masked
                        )
                        continue
                    stored[:, run] = reader.pixels(bands, window)[:, 0]
                    if masked:
                        valid[:, run] = reader.masks(bands, window)[:, 0]
                for row, mask, index in zip(stored, valid, members, strict=True):
                    decoded = _decoded(row, file.nodata[index], file.scales[index], file.offsets[index], making.spec)
                    values[file.targets[index], pixels] = np.where(mask == 0, np.nan, decoded)
    return _layers(making, values, covered), lost


@dataclass(frozen=True)
class _Reader:
    """An open file.

    Attributes
    ----------
    dataset
        As GDAL has it.
    plain
        The file once more, where GDAL would give numbers for blocks that are damaged.
    streams
        What must be looked at before GDAL reads it.
    """

    dataset: Any
    plain: PlainBlocks | None
    streams: Streams

    def shape(self, band: int) -> tuple[int, int]:
        """Return rows and columns of a block."""
        shape: tuple[int, int] = self.dataset.block_shapes[band - 1] if self.plain is None else self.plain.shape
        return shape

    def pixels(self, bands: Sequence[int], window: Window) -> NDArray[Any]:
        """Return (band, y, x)."""
        if self.plain is None:
            self._check(bands, window, pixels=True)
            found: NDArray[Any] = self.dataset.read(list(bands), window=window)
            return found
        found = np.empty((len(bands), window.height, window.width), dtype=self.dataset.dtypes[bands[0] - 1])
        for (index, row, col), _ in np.ndenumerate(found):
            y, x = window.row_off + row, window.col_off + col
            value = self.plain.pixel(bands[index], y, x)
            if value is None:  # GDAL says what an absent block holds
                value = self.dataset.read(bands[index], window=Window(x, y, 1, 1))[0, 0]
            found[index, row, col] = value
        return found

    def masks(self, bands: Sequence[int], window: Window) -> NDArray[Any]:
        """Return (band, y, x), 0 where pixels are missing."""
        alpha = alpha_of(self.dataset, bands[0])
        if alpha is not None:
            return np.repeat(self.pixels([alpha], window) != 0, len(bands), axis=0)
        self._check(bands, window, pixels=False)
        found: NDArray[Any] = self.dataset.read_masks(list(bands), window=window)
        return found

    def _check(self, bands: Sequence[int], window: Window, *, pixels: bool) -> None:
        block = Block(window.row_off, window.col_off, window.height, window.width)
        self.streams.check(bands, block, pixels=pixels, masks=not pixels)


@contextmanager
def _opened(dataset: Any, file: _Input) -> Iterator[_Reader]:
    """Open what else of a file is needed."""
    alike = dataset.driver == "GTiff" and len(set(file.dtypes)) == 1
    blocks = open_plainly(file.path, file.height, file.width, file.dtypes[0]) if alike else None
    with nullcontext() if blocks is None else blocks:
        streams = Streams(()) if dataset.driver == "VRT" else streams_of(dataset)
        yield _Reader(dataset, blocks, streams)


def _read_what_is_whole(
    reader: _Reader,
    bands: Sequence[int],
    window: Window,
    stored: NDArray[Any],
    valid: NDArray[np.uint8],
    masked: bool,
) -> NDArray[np.bool_]:
    """Read pixels band by band into `stored`, and whether they are `valid`; return which could not be read."""
    lost = np.zeros(stored.shape[1], dtype=bool)
    for row, band in enumerate(bands):
        height, width = reader.shape(band)
        # One pixel at a time, by the file's block around it: what is lost of a file is lost by whole blocks.
        for pixel in range(stored.shape[1]):
            y, x = window.row_off, window.col_off + pixel
            top, left = y // height * height, x // width * width
            dataset = reader.dataset
            around = Window(left, top, min(width, dataset.width - left), min(height, dataset.height - top))
            one = around if reader.plain is None else Window(x, y, 1, 1)
            try:
                stored[row, pixel] = reader.pixels([band], one)[0, y - one.row_off, x - one.col_off]
                if masked:
                    one = around if reader.plain is None or alpha_of(dataset, band) is None else one
                    valid[row, pixel] = reader.masks([band], one)[0, y - one.row_off, x - one.col_off]
            except (*GDAL_ERRORS, DamagedBlockError):
                stored[row, pixel] = valid[row, pixel] = 0
                lost[pixel] = True
    return lost


def _apply(transform: Affine, cols: NDArray[Any], rows: NDArray[Any]) -> tuple[Floats, Floats]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * cols + b * rows + c, d * cols + e * rows + f


def _runs(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Iterator[tuple[slice, Window]]:
    """Yield neighbours within a row: their positions, and their window."""
    ends = np.flatnonzero((np.diff(rows) != 0) | (np.diff(cols) != 1)) + 1
    for start, stop in zip([0, *ends.tolist()], [*ends.tolist(), len(rows)], strict=True):
        yield slice(start, stop), Window(int(cols[start]), int(rows[start]), stop - start, 1)


def _decoded(
    stored: NDArray[Any], nodata: Sequence[float], scale: float, offset: float, spec: InputSpec
) -> NDArray[np.float64]:
    """Return values of stored numbers, NaN where missing; see docs/decisions/0002."""
    kind, scaled = stored.dtype, scale != 1 or offset != 0
    missing = np.zeros(stored.shape, dtype=bool)
    with np.errstate(all="ignore"):
        for value in nodata:
            if kind.kind == "f":
                # As GDAL compares (ARE_REAL_EQUAL): within rounding to float32, also of float64.
                meant = kind.type(value)
                near = kind.type(np.finfo(np.float32).eps) * np.abs(stored + meant) * 2
                missing |= (stored == meant) | (np.abs(stored - meant) < near)
            elif float(value).is_integer() and np.iinfo(kind).min <= value <= np.iinfo(kind).max:
                missing |= stored == kind.type(int(value))
        values = stored.astype(np.float64)
        if scaled:
            values = values * scale + offset
        low, high = spec.valid_range or (-math.inf, math.inf)
        if kind == np.float32 and not scaled:
            # As stored: -0.2 of a float32 file lies a little below that of a float64.
            low, high = float(np.float32(low)), float(np.float32(high))
        missing |= ~np.isfinite(values) | (values < low) | (values > high)
    values[missing] = np.nan
    return values


def _layers(making: _Making, values: Floats, covered: NDArray[np.bool_]) -> Floats:
    """Make (time, pixel) of (piece, pixel): the piece that a pixel lies in, or of several their mean or maximum."""
    table = np.full((len(making.layers), values.shape[1]), np.nan)
    first = 0
    for index, layer in enumerate(making.layers):
        own = slice(first, first + len(layer.pieces))
        first = own.stop
        if making.spec.same_date == "max":
            table[index] = np.fmax.reduce(values[own], axis=0)
        elif making.spec.same_date == "mean":
            count = np.count_nonzero(~np.isnan(values[own]), axis=0)
            total = np.zeros(values.shape[1])
            # One after the other, in the order of the job: another order may round otherwise.
            for row in values[own]:
                total += np.where(np.isnan(row), 0.0, row)
            table[index, count > 0] = total[count > 0] / count[count > 0]
        elif making.spec.same_date in ("first", "mosaic"):
            usable = covered[own] if making.spec.same_date == "first" else ~np.isnan(values[own])
            # argmax finds the first; where there is none, any is missing.
            table[index] = np.take_along_axis(values[own], usable.argmax(axis=0)[None], axis=0)[0]
        elif (covered[own].sum(axis=0) > 1).any():
            raise InputError(f"pieces of {layer.date.date()} overlap: {', '.join(n for n, _ in layer.pieces[:NAMED])}")
        else:
            table[index] = np.fmax.reduce(values[own], axis=0)
    return table


def _lacking(making: _Making, series: Floats) -> NDArray[np.bool_]:
    """Return which pixels of (time, pixel) have too few valid layers for their map, or too close together."""
    layers, valid = making.layers, ~np.isnan(series)
    yearly = any(layer.precision == "year" for layer in layers)
    times = np.array([layer.year if yearly else (layer.date - EPOCH).total_seconds() for layer in layers])
    span = np.where(valid, times[:, None], -np.inf).max(axis=0) - np.where(valid, times[:, None], np.inf).min(axis=0)
    # What is reached exactly is enough, whatever the product is rounded to.
    shares = np.array([making.needs.min_valid, making.needs.min_span]) * (1 - 1e-12)
    lacking: NDArray[np.bool_] = valid.sum(axis=0) < shares[0] * len(layers)
    if shares[1]:
        lacking |= span < shares[1] * (times[-1] - times[0])
    return lacking


def _read_map(map_: Map, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Floats:
    """Return (band, pixel) of some pixels of a map."""
    found = np.empty((len(map_.names), len(rows)))
    for path in map_.paths:
        own = [(index, map_.files[name][1]) for index, name in enumerate(map_.names) if map_.files[name][0] == path]
        with _explained(path), open_quietly(path) as dataset:
            for run, window in _runs(rows, cols):
                found[[index for index, _ in own], run] = dataset.read([n for _, n in own], window=window)[:, 0]
    return found


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the file where GDAL fails."""
    try:
        yield
    except (*GDAL_ERRORS, DamagedBlockError) as error:
        reason = one_line(error.__cause__ or error)
        raise InputError(f"{path}: cannot be read ({reason}); is the file truncated?") from None


# -------------------------------------------------------------------------------------------- computing again


class _ByOracle:
    """Computes pixels by another implementation."""

    def __init__(self, name: str, method: Method, making: _Making, names: Sequence[str]) -> None:
        self.by, self._oracle = ORACLES[name]
        self.tolerance = RELATIVE + float(np.finfo(making.dtype).eps)
        self._method, self._names = method, tuple(names)
        self._years = [layer.year for layer in making.layers]

    @property
    def bands(self) -> Sequence[Band]:
        """What the method may compute, ``status`` not among them."""
        return self._method.bands

    def __call__(self, table: Floats) -> tuple[Floats, Floats]:
        """Return (band, pixel) values of (time, pixel), and by how much more than the tolerance they may be off."""
        expected, slack = np.empty((2, len(self._names), table.shape[1]))
        for pixel, series in enumerate(table.T.tolist()):
            answer = self._oracle(self._method, self._years, series)
            for row, name in enumerate(self._names):
                expected[row, pixel], slack[row, pixel] = answer[name]
        return expected, slack


class _ByItself:
    """Computes pixels by the method itself, one at a time: numbers must be the very same."""

    tolerance = 0.0

    def __init__(self, method: Method, making: _Making, names: Sequence[str]) -> None:
        self._method, self._names = method, tuple(names)
        dates, precisions = [layer.date for layer in making.layers], [layer.precision for layer in making.layers]
        self._axis = TimeAxis.from_dates(dates, precisions)
        self._bound = self._bind()

    def _bind(self) -> BoundMethod:
        wanted = [name for name in self._names if name != STATUS_BAND.name]
        return self._method.bind(self._axis, wanted, {})

    @property
    def bands(self) -> Sequence[Band]:
        """What is computed, ``status`` not among them."""
        return self._bound.bands

    @property
    def by(self) -> str:
        """What computed them."""
        compiled = isinstance(self._method, PixelFunction) and self._method.loop is not None
        return f"{self._method.name} itself, {'compiled, ' * compiled}pixel by pixel"

    def __call__(self, table: Floats) -> tuple[Floats, Floats]:
        """Return (band, pixel) values of (time, pixel), and zeros."""
        if isinstance(self._method, UserFunction) and not self._method.decision:
            least = self._method.min_obs
            # A function is tried on pixels that it would be handed, as the job did.
            if (np.count_nonzero(~np.isnan(table), axis=0) >= least).any():
                self._method = self._method.rehearse(self._axis, lambda: table)
                self._bound = self._bind()
        place = self._names.index(STATUS_BAND.name)
        others = [row for row in range(len(self._names)) if row != place]
        expected = np.empty((len(self._names), table.shape[1]))
        for pixel in range(table.shape[1]):
            values, status = self._bound((np.ascontiguousarray(table[:, pixel : pixel + 1]),))
            expected[others, pixel], expected[place, pixel] = values[:, 0], status[0]
        return expected, np.zeros(expected.shape)


def _recomputation(
    making: _Making, given: str | Method | Callable[..., Any] | None, map_: Map, path: Path
) -> _ByOracle | _ByItself:
    """Return what computes the pixels of a map again.

    Raises
    ------
    ParameterError
        When a function has to be given, or is not the one that made the map.
    """
    if given is None:
        method = _registered(making, path)
    elif making.made_by_function or isinstance(given, Method):
        method = _again(making, given, map_.names, path)
    else:
        raise ParameterError(f"{path}: was made by {making.method}, not by a function of your own")
    if method.halo:
        raise InputError(f"{path}: cannot be verified: {method.name} looks at neighbours")
    if given is None and making.method in ORACLES:
        unknown = [name for name in map_.names if name not in {b.name for b in (*method.bands, STATUS_BAND)}]
        if unknown:
            raise _damaged(path, f"{making.method} has no {unknown[0]}")
        # What is asked for less often has no second implementation here.
        if not {band.name for band in method.bands if band.optional} & set(map_.names):
            return _ByOracle(making.method, method, making, map_.names)
    try:
        return _ByItself(method, making, map_.names)
    except (PixelwiseError, ArithmeticError, ValueError) as error:
        raise _damaged(path, error) from None


def _registered(making: _Making, path: Path) -> Method:
    """Build a method from its name and parameters, both of which are mere data."""
    file, name = making.parameters.get("file"), making.method
    if not making.made_by_function and _length(making.parameters) > LONGEST:
        raise _damaged(path, "its parameters are too long")
    if making.made_by_function and isinstance(file, str) and 0 < len(file) <= LONGEST:
        raise ParameterError(
            f"{path}: was made by the function {name} of a file {file}; code that a map names is run only when you "
            f"name it again: --method {shlex.quote(f'{file}:{name}')}, with the path of your file"
        )
    if making.made_by_function:
        raise ParameterError(f"{path}: was made by the function {name}, which is in no file: give it as method=")
    try:
        factory = methods.get(name)
        known = parameters_of(factory)
        method = factory(**{key: value for key, value in making.parameters.items() if _known(key, known)})
    except DAMAGES as error:
        raise _damaged(path, error) from None
    if method.files:
        raise InputError(f"{path}: cannot be verified: its method read a table, and nothing that a map names is opened")
    return method


def _known(name: str, known: Mapping[str, Any]) -> bool:
    if name not in known:
        raise ValueError(f"there is no parameter {_short(name)}")
    return True


def _again(making: _Making, given: str | Method | Callable[..., Any], bands: Sequence[str], path: Path) -> Method:
    """Make a method of what the user gives, with the parameters of the map; check that it is what made the map."""
    thing = load_function(given) if isinstance(given, str) else given
    method = as_method(thing)
    if method.name != making.method:
        raise ParameterError(f"{path}: was made by {making.method}, not by {method.name}")
    if isinstance(method, UserFunction):
        method = _with_parameters(method, thing, making, bands, path)
    now = plain(method.parameters)
    # How it ran is found out again, and a file may be called otherwise. Of some functions no source can be had.
    differing = [
        name
        for name, value in making.parameters.items()
        if name not in ("decision", "file") and now.get(name) != value and None not in (now.get(name), value)
    ]
    if differing:
        raise ParameterError(f"{path}: was made by another {method.name}: its {', '.join(differing)} differs")
    if isinstance(method, UserFunction):
        _tell_changes(method, making, path)
    return method


def _tell_changes(method: UserFunction, making: _Making, path: Path) -> None:
    """Tell what a function uses that has changed since it made a map: the reason where numbers differ."""
    recorded = making.beneath if isinstance(making.beneath, dict) else {}
    packages = recorded.get("packages")
    found = method.fingerprint()
    changed = [
        f"{name} was {_short(packages.get(name))}, is {version}"
        for name, version in found.packages.items()
        if isinstance(packages, dict) and packages.get(name) != version
    ]
    # The digest is one of code, which each Python compiles in its own way.
    if recorded.get("digest", found.digest) != found.digest and making.python == platform.python_version():
        changed.insert(0, "its own code or values are others")
    if changed:
        log.warning("%s: what %s uses has changed since: %s", path, method.name, "; ".join(changed[:NAMED]))


def _with_parameters(method: UserFunction, thing: Any, making: _Making, bands: Sequence[str], path: Path) -> Method:
    """Set the parameters of a function as they were, the names of its values, and whether it may run compiled."""
    now, recorded = method.parameters["parameters"], making.parameters.get("parameters")
    recorded = recorded if isinstance(recorded, dict) else {}
    set_ = {name: value for name, value in recorded.items() if name not in now or now[name] != value}
    for name, value in set_.items():
        if value is not None and not isinstance(value, SIMPLE_TYPES):
            raise _damaged(path, f"parameter {_short(name)} is {_short(value)}")
    names = (
        [name for name in bands if name not in (COUNT_BAND.name, STATUS_BAND.name)] if method.names is None else None
    )
    # What ran in plain Python then may not run compiled now: the last digits might differ.
    compiled = making.parameters.get("decision") == "compiled"
    return as_method(thing, names, set_, None if compiled or not isinstance(method, PixelFunction) else False)


# ------------------------------------------------------------------------------------------------- oracles

#: Values and slack by band of one pixel, from the method, decimal years, and the series with NaN where missing.
Oracle = Callable[[Method, Sequence[float], Sequence[float]], dict[str, tuple[float, float]]]


def _exact_line(method: Method, years: Sequence[float], series: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Fit a straight line in exact arithmetic: whole numbers of any length, each result rounded once.

    `scipy.stats.linregress` has sqrt(1 - r**2), of which nothing is left near ``|r| = 1``, and loses digits of r at
    large offsets: neither would be a fault of the map.
    """
    from scipy.special import betainc

    pairs = [(x, y) for x, y in zip(years, series, strict=True) if not math.isnan(y)]
    n = len(pairs)
    line = dict.fromkeys(("slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr"), (math.nan, 0.0))
    line["n"] = n, 0.0

    def ended(status: Status) -> dict[str, tuple[float, float]]:
        return {**line, STATUS_BAND.name: (status, 0.0)}

    if n < method.parameters["min_obs"]:
        return ended(Status.TOO_FEW if n else Status.NO_OBSERVATION)
    (*xs, origin), x_unit = _whole([*(x for x, _ in pairs), float(method.parameters["origin"])])
    xs, (ys, y_unit) = [x - origin for x in xs], _whole([y for _, y in pairs])
    if len(set(ys)) == 1:
        line["slope"], line["intercept"] = (0.0, 0.0), (pairs[0][1], 0.0)
        return ended(Status.CONSTANT)
    if len(set(xs)) == 1:
        return ended(Status.DEGENERATE)
    # n times the sums of squares and products about the means.
    sum_x, sum_y, sum_xx = sum(xs), sum(ys), sum(x * x for x in xs)
    sxx = n * sum_xx - sum_x * sum_x
    syy = n * sum(y * y for y in ys) - sum_y * sum_y
    sxy = n * sum(x * y for x, y in zip(xs, ys, strict=True)) - sum_x * sum_y
    # The slope if all variance were trend, and what turns an error of the slope into one of the intercept.
    steepest = _root(syy * x_unit**2, sxx * y_unit**2)
    lever = _root(sum_xx, n * x_unit**2)
    slack = DIGITS * steepest
    line["slope"] = _ratio(sxy * x_unit, sxx * y_unit), slack
    intercept = _ratio(sum_y * sxx - sxy * sum_x, n * y_unit * sxx)
    line["intercept"] = intercept, DIGITS * abs(_ratio(sum_y, n * y_unit)) + slack * lever
    if not math.isfinite(slack + line["intercept"][1]):  # all would be within it
        raise OverflowError
    if not SMALLEST_SQUARES < _ratio(syy, n * y_unit**2) < LARGEST_SQUARES:
        return ended(Status.TEST_UNDEFINED)
    # Not by copysign: it makes a float64 of the whole number.
    line["rvalue"] = math.sqrt(_ratio(sxy * sxy, sxx * syy)) * (-1 if sxy < 0 else 1), DIGITS
    unexplained = _ratio(sxx * syy - sxy * sxy, sxx * syy)
    stderr = steepest * math.sqrt(unexplained / (n - 2))
    # A residual is known to so much of the values' spread, not of its own size.
    line["stderr"], line["intercept_stderr"] = (stderr, slack), (stderr * lever, slack * lever)
    pvalue = float(betainc((n - 2) / 2, 0.5, unexplained))
    largest = float(betainc((n - 2) / 2, 0.5, min((math.sqrt(unexplained) + DIGITS) ** 2, 1.0)))
    line["pvalue"] = pvalue, largest - pvalue
    return ended(Status.OK)


def _whole(numbers: Sequence[float]) -> tuple[list[int], int]:
    """Return whole numbers and the unit that they count: each number is one divided by the unit, exactly."""
    ratios = [number.as_integer_ratio() for number in numbers]
    unit = max(denominator for _, denominator in ratios)
    return [numerator * (unit // denominator) for numerator, denominator in ratios], unit


def _ratio(a: int, b: int) -> float:
    """Divide, rounded once; what is too large for float64 is infinite."""
    try:
        return a / b
    except OverflowError:
        return math.inf if a > 0 else -math.inf


def _root(a: int, b: int) -> float:
    """Return the square root of a ratio, which may itself be beyond float64, or below."""
    half = (a.bit_length() - b.bit_length()) // 2
    root = math.sqrt(_ratio(a << max(-2 * half, 0), b << max(2 * half, 0)))
    try:
        return math.ldexp(root, half)
    except OverflowError:
        return math.inf


#: What computes pixels of a registered method again: how it is called in reports, and the function. A method without a
#: row is compared with itself, pixel by pixel.
ORACLES: Mapping[str, tuple[str, Oracle]] = {"ols": ("exact arithmetic and scipy.special.betainc", _exact_line)}
