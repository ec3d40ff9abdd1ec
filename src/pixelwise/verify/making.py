"""Read and check what a map says about how it was made: none of it is trusted."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pixelwise.bands import STATUS_BAND
from pixelwise.dates.axis import Precision
from pixelwise.dates.calendars import YEAR_DAYS, Calendar, calendar_named
from pixelwise.errors import InputError, PixelwiseError
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.maps.map import Map
from pixelwise.opening.gain_presets import gain_presets
from pixelwise.rasters.stamps import FileStamp, RemoteStamp, Stamp
from pixelwise.rasters.urls import is_url
from pixelwise.regular_files import is_utf8
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import shown

__all__ = [
    "DAMAGES",
    "EPOCH",
    "LONGEST",
    "Making",
    "RecordedGains",
    "damaged",
    "length",
    "making_of",
    "recorded_making",
    "short",
    "version_of",
]

#: No name, path or set of input options is longer.
LONGEST = 10_000

#: What reading untrusted JSON may raise.
DAMAGES = (PixelwiseError, ValueError, TypeError, ArithmeticError, RecursionError)

#: Input options without a second implementation here.
NOT_RECOMPUTED = ("align", "product", "value", "mask", "mask_band", "region", "where")

PRECISIONS: tuple[Precision, ...] = ("year", "month", "period", "day", "second")

EPOCH = datetime(1970, 1, 1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Layer:
    date: datetime
    precision: Precision
    pieces: tuple[tuple[str, int], ...]
    calendar: Calendar = "standard"
    excess: int = 0

    @property
    def year(self) -> float:
        """The decimal year as in DESIGN: for a plain year, the year itself."""
        if self.precision == "year":
            return float(self.date.year)
        if self.calendar != "standard":
            return self._year_of_calendar
        return 1970.0 + (self.date - EPOCH).total_seconds() / 86400.0 / 365.25

    @property
    def text(self) -> str:
        """The date as tables of gains have it."""
        if self.precision == "second":
            return self.date.isoformat(timespec="seconds")
        return f"{self.date.year:04d}-{self.date.month:02d}-{self.date.day + self.excess:02d}"

    @property
    def _year_of_calendar(self) -> float:
        """The decimal year in another calendar, counted by cftime."""
        import cftime

        one = self.date
        date = cftime.datetime(one.year, one.month, one.day + self.excess, calendar=self.calendar)
        days = float(cftime.date2num(date, "days since 1970-01-01", calendar=self.calendar))
        seconds = (one - one.replace(hour=0, minute=0, second=0)).total_seconds()
        return 1970.0 + (days + seconds / 86400.0) / YEAR_DAYS[self.calendar]


@dataclass(frozen=True, slots=True)
class RecordedGains:
    """What a map says about the gains of its scenes: the path of their table, or the name of a preset."""

    path: str
    preset: str
    sha256: str


@dataclass(frozen=True)
class Making:
    """What a map says about how it was made, checked: none of it is trusted."""

    method: str
    parameters: dict[str, Any]
    spec: InputSpec
    output: OutputSpec
    layers: tuple[_Layer, ...]
    files: dict[str, Stamp]
    behind: dict[str, Stamp]
    alpha_read: frozenset[str]
    #: For a function, what identifies it besides its source, and its Python; empty in older maps.
    beneath: Any = None
    python: Any = None
    gains: RecordedGains | None = None

    @property
    def made_by_function(self) -> bool:
        """Whether a user's function made it; the map then has the source text."""
        return "function" in self.parameters

    @property
    def pieces(self) -> int:
        """Number of pieces in all layers."""
        return sum(len(layer.pieces) for layer in self.layers)


def making_of(map_: Map, path: Path) -> Making:
    """Return how a map says it was made; refuse a map that says too little, or too much, to be recomputed."""
    described = map_.provenance.get("input")
    if map_.provenance.get("further_inputs"):
        raise InputError(f"{path}: cannot be verified: its method has covariates")
    if isinstance(described, dict) and "kind" in described:
        raise InputError(f"{path}: cannot be verified: its input is not a file stack but {short(described['kind'])}")
    if isinstance(described, dict) and "composite" in described:
        raise InputError(f"{path}: cannot be verified: the effect of --composite is not recomputed")
    making = recorded_making(map_, path)
    beyond = [f"--{name.replace('_', '-')}" for name in making.spec.as_dict() if name in NOT_RECOMPUTED]
    if beyond:
        raise InputError(f"{path}: cannot be verified: the effect of {' and '.join(beyond)} is not recomputed")
    return making


def recorded_making(map_: Map, path: Path) -> Making:
    """Return how a map says it was made, checked, whether or not there is a second implementation for it.

    Raises
    ------
    InputError
        When the record is damaged, or that of a stack.
    """
    provenance = map_.provenance
    if "written" in provenance:
        raise InputError(f"{path}: is a stack that was written beside a map, not a map: verify the map")
    try:
        making = Making(
            method=_take(provenance, "method", str),
            parameters=_take(provenance, "parameters", dict),
            spec=_spec_of(_take(_take(provenance, "input", dict), "spec", dict)),
            output=OutputSpec.from_provenance(provenance),
            layers=_layers_of(provenance["input"]),
            files=dict(map(_file_of, _take(provenance["input"], "files", list))),
            behind=dict(map(_file_of, provenance["input"].get("behind", []))),
            alpha_read=frozenset(map(str, provenance["input"].get("alpha_read", []))),
            beneath=provenance.get("function"),
            python=_take(provenance, "versions", dict).get("python") if "versions" in provenance else None,
            gains=_gains_of(provenance["input"]),
        )
        _check_making(making)
        if _take(provenance, "bands", list) != list(map_.names) or STATUS_BAND.name not in map_.names:
            raise ValueError(f"its bands are not {', '.join(map_.names)}")
    except DAMAGES as error:
        raise damaged(path, error) from None
    return making


def version_of(map_: Map) -> str:
    """Return the version of pixelwise that a map names; empty if it is not a valid one."""
    versions = map_.provenance.get("versions")
    version = versions.get("pixelwise") if isinstance(versions, dict) else None
    return version if isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,40}", version, re.ASCII) else ""


def damaged(path: Path, why: object) -> InputError:
    """Return the error for a map whose tag is not as pixelwise writes it."""
    text = str(why)
    shown = text if len(text) <= 300 else f"{text[:297]}..."
    return InputError(f"{path}: its record of how it was made is damaged ({shown})")


def _check_making(making: Making) -> None:
    if len(making.method) > LONGEST:
        raise ValueError(f"method is {short(making.method)}")
    years = [layer.year for layer in making.layers]
    if not years or sorted(years) != years:
        raise ValueError("its dates do not ascend")
    pieces = [piece for layer in making.layers for piece in layer.pieces]
    unknown = [name for name, _ in pieces if name not in making.files]
    if unknown:
        raise ValueError(f"{short(unknown[0])} is not among its files")
    # So that a comparison reads no more data than exists, however long the list.
    for (name, band), times in Counter((os.path.normpath(name), band) for name, band in pieces).items():
        if times > 1:
            raise ValueError(f"band {band} of {short(name)} occurs {times} times")


def _take(holder: Any, name: str, kind: type[T]) -> T:
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {short(value)}")
    return value


def length(value: Any) -> int:
    """Return the total number of characters in a value's texts; numbers, such as a weight per date, have none."""
    if isinstance(value, dict):
        return sum(len(key) + length(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(1 + length(item) for item in value if not isinstance(item, (int, float)))
    return len(value) if isinstance(value, str) else 0


def short(value: Any) -> str:
    """Format a value from a tag for messages."""
    if isinstance(value, (dict, list)):
        return f"a {type(value).__name__}"
    return shown(value, 80)


def _spec_of(described: dict[str, Any]) -> InputSpec:
    # An error looks for the most similar name, which takes minutes for a long one.
    if len(json.dumps(described)) > LONGEST:
        raise ValueError("spec is too long")
    # What may be read is for the user to say.
    if "allow_scheme" in described:
        raise ValueError("spec has allow_scheme")
    # JSON has no NaN: `plain` writes it as text.
    values = dict(described)
    for name in ("nodata", "valid_range"):
        if name in values:
            values[name] = [float(value) if isinstance(value, str) else value for value in _take(values, name, list)]
            # Numbers that overflow raise here.
            list(map(float, values[name]))
    return InputSpec().replace(**values)


def _gains_of(described: dict[str, Any]) -> RecordedGains | None:
    """Return the gains that a map names; its options must name some too."""
    named = _take(described, "spec", dict).get("gains")
    if "gains" not in described:
        if named is not None:
            raise ValueError("it has an option for gains, but no gains")
        return None
    given = _take(described, "gains", dict)
    digest = _take(given, "sha256", str)
    if not re.fullmatch("[0-9a-f]{64}", digest, re.ASCII):
        raise ValueError(f"sha256 of its gains is {short(digest)}")
    if "preset" in given:
        preset = _take(given, "preset", str)
        if preset != named or preset not in gain_presets():
            raise ValueError(f"its gains are {short(preset)}")
        return RecordedGains("", preset, digest)
    path = _take(given, "path", str)
    if not 0 < len(path) <= LONGEST or "\0" in path or not is_utf8(path) or is_url(path) or path.startswith("/vsi"):
        raise ValueError(f"the table of its gains is {short(path)}")
    if named is None or named in gain_presets():
        raise ValueError(f"its gains are {short(named)}")
    return RecordedGains(path, "", digest)


def _layers_of(described: dict[str, Any]) -> tuple[_Layer, ...]:
    calendar = calendar_named(_take(described, "calendar", str)) if "calendar" in described else "standard"
    return tuple(_layer_of(one, calendar) for one in _take(described, "layers_used", list))


def _layer_of(described: Any, calendar: Calendar) -> _Layer:
    date, precision = datetime.fromisoformat(_take(described, "date", str)), _take(described, "precision", str)
    if precision not in PRECISIONS or date.tzinfo is not None:
        raise ValueError(f"{short(described['date'])} has the precision {short(precision)}")
    pieces = []
    for piece in _take(described, "pieces", list):
        name, band = piece
        if not isinstance(name, str) or not isinstance(band, int) or isinstance(band, bool) or band < 1:
            raise ValueError(f"a piece is {short(name)}, {short(band)}")
        pieces.append((name, band))
    if not pieces:
        raise ValueError(f"{date.date()} has no pieces")
    excess = described.get("excess", 0)
    if excess not in (0, 1, 2, 3) or (excess and calendar == "standard"):
        raise ValueError(f"{short(described['date'])} is {short(excess)} days later in its calendar")
    return _Layer(date, precision, tuple(pieces), calendar, excess)


def _file_of(described: Any) -> tuple[str, Stamp]:
    name = _take(described, "path", str)
    if not 0 < len(name) <= LONGEST or "\0" in name or not is_utf8(name):
        raise ValueError(f"a file is {short(name)}")
    if isinstance(described, dict) and "etag" in described:
        return name, RemoteStamp(
            _take(described, "size", int), _take(described, "etag", str), _take(described, "modified", str)
        )
    return name, FileStamp(_take(described, "size", int), _take(described, "mtime_ns", int))
