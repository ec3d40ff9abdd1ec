"""Products of satellite archives: how their files are named, and what their bands mean.

Each is described by a TOML file; ``landsat-c2-l2.toml`` explains the fields, which are the same in a user's own file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path, PurePath
from typing import Any, Final

from pixelwise.dates.axis import Moment
from pixelwise.dates.rules import FIELDS, fill_fields, moment_of
from pixelwise.errors import ParameterError
from pixelwise.opening.toml_fields import Fields
from pixelwise.rasters.urls import Url
from pixelwise.stacks.masks import presets
from pixelwise.words import unknown

__all__ = ["BandRule", "Product", "Quality", "SceneFile", "load_product", "products"]

# What may follow a pattern: the offsets of the pieces that Earth Engine exports, and the extension of a raster.
_ENDING: Final = re.compile(r"(?:-\d{10}-\d{10})?(?:\.(?:tiff?|gtif|jp2|img|vrt|hdf|nc|dat|bil|bsq))?$", re.IGNORECASE)
#: Ours have up to 350 characters.
LONGEST_PATTERN: Final = 2000
_GROUPS: Final = ("scene", "sensor", "tile", "band", "resolution", "baseline")


@dataclass(frozen=True)
class SceneFile:
    """The content of a file's path.

    Attributes
    ----------
    scene
        The same text for all files of one image.
    moment
        When it was acquired.
    sensor, tile
        A code that the product knows; and the place, empty if the name has none.
    band
        The token in the name; None if the file has several bands, which are identified by their descriptions.
    resolution
        Size of a pixel in metres, if the name has it.
    baseline
        The processing baseline, if the path has it.
    """

    scene: str
    moment: Moment
    sensor: str
    tile: str
    band: str | None = None
    resolution: int | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class BandRule:
    """The meaning of a band's numbers.

    Attributes
    ----------
    tokens
        Its names in file names and band descriptions, at least one.
    scale, offset
        The value is ``stored * scale + offset``; but see `offset_of`.
    nodata
        Stored numbers that are missing.
    valid
        Lowest and highest stored number that is valid; None if the product does not define it.
    later
        A processing baseline, and the offset from that one on; None if one offset applies to all.
    """

    tokens: tuple[str, ...]
    scale: float = 1.0
    offset: float = 0.0
    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    later: tuple[int, float] | None = None

    def offset_of(self, baseline: str | None) -> float | None:
        """Return the offset for a processing baseline; None if it depends on one that is unknown."""
        if self.later is None:
            return self.offset
        if baseline is None:
            return None
        first, offset = self.later
        return offset if int(baseline) >= first else self.offset

    def has(self, token: str) -> bool:
        """Whether a token is one of its own, in upper or lower case."""
        return token.lower() in (own.lower() for own in self.tokens)


@dataclass(frozen=True)
class Quality:
    """A band that says which pixels are usable: its tokens, the name of the mask, and whether images must have it."""

    tokens: tuple[str, ...]
    preset: str
    required: bool


@dataclass(frozen=True)
class Product:
    """A product.

    Attributes
    ----------
    name, title, version, source
        The version rises whenever computed values would change; the source is the document that it follows.
    patterns
        Regular expressions of paths, tried in this order.
    bands
        The rule of each band, by sensor and by name.
    quality
        Its quality bands.
    sensor
        The sensor of files whose names do not contain it; None if all do.
    """

    name: str
    title: str
    version: int
    source: str
    patterns: tuple[re.Pattern[str], ...]
    bands: Mapping[str, Mapping[str, BandRule]]
    quality: tuple[Quality, ...]
    sensor: str | None = None

    @property
    def sensors(self) -> tuple[str, ...]:
        """The codes of its sensors."""
        return tuple(self.bands)

    def match(self, path: PurePath | Url | str) -> SceneFile | None:
        """Read the path of a file, folders included; None for a file that is not of this product."""
        text = _ENDING.sub("", path if isinstance(path, str) else path.as_posix(), count=1)
        for pattern in self.patterns:
            match = pattern.search(text)
            if match:
                try:
                    moment = moment_of(match)
                except ValueError:  # no such day
                    continue
                groups = match.groupdict()
                sensor = (groups.get("sensor") or self.sensor or "").upper()
                if moment and sensor in self.bands:
                    resolution = _digits(groups.get("resolution"))
                    return SceneFile(
                        groups.get("scene") or _shared(match),
                        moment,
                        sensor,
                        groups.get("tile") or "",
                        groups.get("band"),
                        int(resolution) if resolution else None,
                        _digits(groups.get("baseline")),
                    )
        return None

    def names(self, sensor: str) -> tuple[str, ...]:
        """Return the names of a sensor's bands."""
        return tuple(self._of(sensor))

    def band(self, sensor: str, name: str) -> BandRule:
        """Return the rule of a band; a `ParameterError` lists those that the sensor has."""
        known = self._of(sensor)
        if name not in known:
            raise unknown(f"band of {sensor} in {self.name}:", name, known)
        return known[name]

    def _of(self, sensor: str) -> Mapping[str, BandRule]:
        if sensor not in self.bands:
            raise unknown(f"sensor of {self.name}:", sensor, self.bands)
        return self.bands[sensor]


def products() -> tuple[str, ...]:
    """Return the names of the products that come with pixelwise."""
    files = resources.files("pixelwise.opening").joinpath("product_data").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load_product(name_or_path: str | os.PathLike[str]) -> Product:
    """Load one of our products by its name, or any other by the path of its TOML file.

    Raises
    ------
    ParameterError
        There is no such product.
    InputError
        The file cannot be read, or a field is wrong: the message has file, field, value and what is expected.
    """
    text = os.fspath(name_or_path)
    if text.lower().endswith(".toml"):
        return _product(Fields.of_file(text, Path(text)))
    if text not in products():
        raise ParameterError(f"{unknown('product', text, products())}; a file of your own ends in .toml")
    file = f"{text}.toml"
    return _product(Fields.of_file(file, resources.files("pixelwise.opening").joinpath("product_data", file)))


def _digits(text: str | None) -> str | None:
    return re.sub(r"\D", "", text or "") or None


def _shared(match: re.Match[str]) -> str:
    """Return what was matched without band and resolution."""
    spans = sorted(match.span(group) for group in ("band", "resolution") if match.groupdict().get(group))
    starts, ends = [match.start(), *(last for _, last in spans)], [*(first for first, _ in spans), match.end()]
    pieces = [match.string[start:end] for start, end in zip(starts, ends, strict=True)]
    return "".join(pieces).strip("._- /")


# ------------------------------------------------------------------------------------------ reading TOML


def _product(fields: Fields) -> Product:
    name = fields.take("name", str, "expected a short name")
    title = fields.take("title", str, "expected the full name of the product")
    version = fields.take("version", int, "expected a whole number")
    source = fields.take("source", str, "expected the document that describes the product")
    sensor = fields.take("sensor", str, "expected the code of a sensor", "").upper() or None
    texts = fields.texts("patterns", "expected regular expressions in brackets")
    patterns = tuple(_pattern(fields, text, sensor) for text in texts)
    later = None
    if "baseline" in fields.left:
        baseline = fields.table("baseline")
        later = (baseline.take("from", int, "expected a whole number such as 400"), baseline.number("offset"))
        baseline.done("from offset")
    defaults = _rule(fields, BandRule((), later=later))
    bands: dict[str, dict[str, BandRule]] = {}
    for group in fields.tables("sensors"):
        remedy = "expected codes of sensors, each of them once"
        codes = group.texts("codes", remedy)
        table = group.take("bands", dict, 'expected names of bands and their tokens, such as red = "B04"')
        rules = {band: _band(group, band, value, defaults) for band, value in table.items()}
        group.done("codes bands")
        for code in codes:
            if code.upper() in bands:
                raise group.wrong("codes", list(codes), remedy)
            bands[code.upper()] = rules
    if not bands:
        raise fields.error("sensors is missing; expected tables [[sensors]]")
    if sensor and sensor not in bands:
        raise fields.wrong("sensor", sensor, f"expected one of {', '.join(bands)}")
    quality = tuple(_quality(table) for table in fields.tables("quality"))
    fields.done("name title version source sensor patterns scale offset nodata valid baseline sensors quality")
    return Product(name, title, version, source, patterns, bands, quality, sensor)


def _pattern(fields: Fields, text: str, sensor: str | None) -> re.Pattern[str]:
    if len(text) > LONGEST_PATTERN:
        raise fields.error(f"patterns: one has {len(text)} characters; at most {LONGEST_PATTERN} are allowed")
    try:
        pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{fill_fields(text)})$", re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise fields.wrong("patterns", text, f"expected a regular expression ({error})") from None
    groups = {group.removeprefix("to_") for group in pattern.groupindex}
    if "year" not in groups or not groups & {"month", "doy", "quarter"}:
        raise fields.wrong("patterns", text, "expected a date in it, such as <Y><M><D> or <Y><j>")
    if "sensor" not in groups and not sensor:
        raise fields.wrong("patterns", text, 'expected a group (?P<sensor>...), or a field sensor = "CODE"')
    for group in sorted(groups - set(_GROUPS) - {name for name, _ in FIELDS.values()}):
        raise fields.wrong("patterns", text, str(unknown("group", group, _GROUPS)))
    return pattern


def _rule(fields: Fields, defaults: BandRule) -> BandRule:
    """Read the meaning of numbers; missing fields are as in `defaults`."""
    later = defaults.later if not defaults.tokens or "offset" not in fields.left else None
    scale, offset = fields.number("scale", defaults.scale), fields.number("offset", defaults.offset)
    if scale == 0:
        raise fields.wrong("scale", scale, "expected a number other than 0")
    nodata, valid = fields.numbers("nodata", defaults.nodata), fields.numbers("valid", defaults.valid or ())
    if valid and not (len(valid) == 2 and valid[0] < valid[1]):
        raise fields.wrong("valid", list(valid), "expected the lowest and the highest stored number: [LOW, HIGH]")
    return BandRule(defaults.tokens, scale, offset, nodata, (valid[0], valid[1]) if valid else None, later)


def _band(group: Fields, name: str, value: Any, defaults: BandRule) -> BandRule:
    if not name.isidentifier():
        raise group.wrong("bands", name, "expected letters, digits and _, as in formulas")
    table = value if isinstance(value, dict) else {"token": value}
    fields = Fields(group.file, f"{group.where}: bands.{name}", table)
    tokens = fields.texts("token", 'expected a string such as "B04", or several in brackets')
    rule = _rule(fields, replace(defaults, tokens=tokens))
    fields.done("token scale offset nodata valid")
    return rule


def _quality(fields: Fields) -> Quality:
    tokens = fields.texts("token", 'expected a string such as "QA_PIXEL", or several in brackets')
    preset = fields.take("preset", str, "expected the name of a mask")
    if preset not in presets():
        raise fields.error(f"preset: {unknown('mask', preset, presets())}")
    required = fields.take("required", bool, "expected true or false")
    fields.done("token preset required")
    return Quality(tokens, preset, required)
