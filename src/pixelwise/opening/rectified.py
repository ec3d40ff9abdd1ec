"""Give the scenes of a stack their gains: from a table, or from a preset."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pixelwise.dates.periods import Season
from pixelwise.dates.tables import read_range
from pixelwise.errors import ParameterError, Problems
from pixelwise.opening.dating import finder, place_named
from pixelwise.opening.gain_presets import GainPreset, gain_presets, load_gain_preset
from pixelwise.rasters.pieces import Line
from pixelwise.rasters.urls import Location, Url, is_url
from pixelwise.regular_files import is_file
from pixelwise.stacks.gains import AppliedGains, Gain, GainFlag, Gains, read_gains
from pixelwise.stacks.images import Image
from pixelwise.stacks.layers import Layer
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import first_of, show, unknown

__all__ = ["rectified"]

log = logging.getLogger(__name__)


def rectified(
    layers: Sequence[Layer], spec: InputSpec, problems: Problems, remarks: list[str]
) -> tuple[tuple[Layer, ...], AppliedGains | None]:
    """Give each band of each file its gain and offset, and leave out scenes whose gains are doubtful.

    Parameters
    ----------
    layers
        Those that will be read.
    spec
        The options. Images outside the season of composites are never read, and need no gains.
    problems
        Scenes and bands without gains are added.
    remarks
        What is left out, or used in spite of doubts, is added, and logged.

    Returns
    -------
    tuple
        The layers, and what was applied; None without gains, or with problems.

    Raises
    ------
    ParameterError
        When there is neither such a table nor such a preset, or a preset is for other scenes.
    """
    if spec.gains is None:
        return tuple(layers), None
    if spec.gains in gain_presets():
        return _by_preset(layers, load_gain_preset(spec.gains), spec, remarks)
    if not is_file(Path(spec.gains)) and Path(spec.gains).suffix == "":
        raise ParameterError(
            f"{unknown('preset of gains', spec.gains, gain_presets())}, and there is no file of this name; expected a "
            "table that pixelwise rectify wrote, or a preset"
        )
    with problems.caught() as failure:
        table = _Table.of(Path(spec.gains))
    if failure:
        return tuple(layers), None
    lacking = _Lacking(str(table.path))
    read = _read(layers, spec)
    made = [_image_of_table(image, layer, table, lacking) for layer, image in read]
    problems.add(*lacking.lines(len(made)))
    if lacking:
        return tuple(layers), None
    if lacking.moved:
        remarks.append(lacking.said_of_moved([image for _, image in read]))
        log.warning(remarks[-1])
    return _without_doubtful(layers, made, table, spec, problems, remarks)


def _read(layers: Sequence[Layer], spec: InputSpec) -> list[tuple[Layer, Image]]:
    """Return the images that are read, with their layers."""
    return [(layer, image) for layer in layers if _is_read(layer, spec) for image in layer.images]


def _is_read(layer: Layer, spec: InputSpec) -> bool:
    """Whether a layer is within the season of composites, if there is one."""
    if spec.composite is None or spec.season is None:
        return True
    month, day = (np.array([number]) for number in (layer.date.month, layer.date.day + layer.excess))
    return bool(Season.parse(spec.season).contains(month, day)[0])


# ------------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class _Table:
    """A table of gains, and its rows by file, as it is written there, by date and band."""

    path: Path
    gains: Gains
    name_of: Callable[[Location], str | None]
    rows: dict[str, dict[str, dict[str, Gain]]]

    @classmethod
    def of(cls, path: Path) -> _Table:
        """Read a table.

        Raises
        ------
        InputError
            When it cannot be read.
        """
        gains = read_gains(path)
        rows: dict[str, dict[str, dict[str, Gain]]] = {}
        for row in gains.rows:
            rows.setdefault(row.path, {}).setdefault(row.date, {})[row.band] = row
        return cls(path, gains, finder(list(rows), path.parent), rows)

    def of_file(self, name: str, layer: Layer) -> dict[str, Gain] | None:
        """Return the rows of a file and a layer's date, by band; None if there are none."""
        dates = self.rows[name]
        date = layer.iso_date
        if date not in dates:  # as exactly as people wrote it
            date = next((text for text in dates if _covers(text, layer)), "")
        return dates.get(date)

    def place_of(self, name: str) -> str:
        """Return which file is meant by a name in the table."""
        return place_named(name, self.path.parent)


@dataclass
class _Lacking:
    """What a table lacks, collected to be reported in one line each.

    Attributes
    ----------
    table
        The table.
    moved
        What the table calls files that it has under another path, at which there is nothing now.
    elsewhere
        Files that it has under another path, at which there is another file.
    files, bands, dates
        Files, bands and dates that it does not have.
    """

    table: str
    moved: dict[Location, str] = field(default_factory=dict)
    elsewhere: dict[Location, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    bands: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    dates: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.elsewhere or self.files or self.bands or self.dates)

    def said_of_moved(self, images: Sequence[Image]) -> str:
        """Say how many images were matched by the names of their files alone."""
        count = sum(any(piece.path in self.moved for band in image.bands for piece in band) for image in images)
        where = "on servers" if all(map(is_url, self.moved.values())) else "that are not there"
        return (
            f"gains {self.table}: names files {where}; {count} of {len(images)} scenes "
            f"{'was' if count == 1 else 'were'} matched by their names alone"
        )

    def lines(self, scenes: int) -> list[str]:
        """Return the problems; `scenes` is the number of all scenes."""
        found = []
        again = "make the table again from all scenes (pixelwise rectify)"
        for path, name in list(self.elsewhere.items())[:1]:
            alike = f" ({len(self.elsewhere)} files like this)" * (len(self.elsewhere) > 1)
            found.append(
                f"gains {self.table}: belongs to {name}, not to {path}{alike}; make a table from these scenes "
                "(pixelwise rectify)"
            )
        if self.files:
            found.append(
                f"gains {self.table}: lacks {len(self.files)} of {scenes} scenes: {first_of(self.files, 3)}; {again}, "
                "or leave them out: by their dates (--start, --end, --months), or by taking the files out of the input"
            )
        for (band, known), files in self.bands.items():
            found.append(
                f"gains {self.table}: lacks band {band} of {len(files)} of {scenes} scenes, but has {known}: "
                f"{first_of(files, 3)}; {again} and all bands that are read"
            )
        if self.dates:
            found.append(
                f"gains {self.table}: has another date for {len(self.dates)} of {scenes} scenes: "
                f"{first_of(self.dates, 3)}; {again}, or give them the same dates as then"
            )
        return found


@dataclass(frozen=True, eq=False)
class _Made:
    """An image with its gains, the flags for which it may be left out, and the rows that it was made from."""

    image: Image
    flags: frozenset[GainFlag] = frozenset()
    rows: tuple[Gain, ...] = ()


def _image_of_table(image: Image, layer: Layer, table: _Table, lacking: _Lacking) -> _Made:
    """Return an image with its gains; note what the table lacks."""
    rows: dict[tuple[str, Location], Gain] = {}
    for band, pieces in zip(image.names, image.bands, strict=True):
        for piece in pieces:
            row = _row_of(piece.path, layer, band, table, lacking)
            if row is None:  # the first thing that a scene lacks says enough
                return _Made(image)
            rows[band, piece.path] = row
    lines = {key: Line(row.gain, row.offset) for key, row in rows.items()}
    flags = frozenset(flag for row in rows.values() for flag in row.flags if flag != "few")
    return _Made(image.with_lines(lambda band, piece: lines[band, piece.path]), flags, tuple(rows.values()))


def _row_of(path: Location, layer: Layer, band: str, table: _Table, lacking: _Lacking) -> Gain | None:
    """Return the row of a file, date and band; None, and note it, if the table lacks it."""
    name = table.name_of(path)
    if name is None:
        lacking.files.append(f"{path}")
        return None
    if not _is_meant(name, path, table, lacking):
        return None
    rows = table.of_file(name, layer)
    if rows is None:
        dates = list(table.rows[name])
        if len(dates) > 1:  # a file of many dates, as arrays are
            lacking.files.append(f"{path} of {layer.iso_date}")
        else:
            lacking.dates.append(f"{path} is of {layer.iso_date}, there of {dates[0]}")
        return None
    if band not in rows:
        lacking.bands[show(band), show(", ".join(rows))].append(f"{path}")
    return rows.get(band)


def _is_meant(name: str, path: Location, table: _Table, lacking: _Lacking) -> bool:
    """Whether a file found in a table is that of the table, or can be: a moved one; note that, and if it cannot be."""
    if path in lacking.moved:
        return True
    if path in lacking.elsewhere:
        return False
    place = table.place_of(name)
    if place == (str(path) if isinstance(path, Url) else os.path.realpath(path)):
        return True
    # Whether a server has a file is not asked: it may have been copied from there.
    other = not is_url(name) and os.path.exists(place)  # noqa: PTH110 - which accepts any text
    (lacking.elsewhere if other else lacking.moved)[path] = name
    return not other


def _covers(text: str, layer: Layer) -> bool:
    """Whether a date of a table, such as 2001-07, is that of a layer."""
    try:
        first, last = _range_of(text)
    except ParameterError:  # 30 February
        return False
    return first <= layer.date <= last and not layer.excess


# Each date of an array is compared with each that its table has, until one fits.
_range_of = lru_cache(1 << 16)(read_range)


def _without_doubtful(
    layers: Sequence[Layer],
    made: Sequence[_Made],
    table: _Table,
    spec: InputSpec,
    problems: Problems,
    remarks: list[str],
) -> tuple[tuple[Layer, ...], AppliedGains | None]:
    """Return the layers of images with gains, those with doubtful gains left out unless they are to be kept."""
    # Without a line, nothing can be kept.
    keep = spec.gains_flagged == "keep"
    used = [not one.flags or (keep and "refused" not in one.flags) for one in made]
    images = iter(zip(made, used, strict=True))
    found, read = list[Layer](), 0
    for layer in layers:
        if not _is_read(layer, spec):
            found.append(layer)
            continue
        own = [one.image for one, is_used in (next(images) for _ in layer.images) if is_used]
        if own:
            read += 1
            found.append(replace(layer, images=tuple(own)))
    left_out = [one.flags for one, is_used in zip(made, used, strict=True) if not is_used]
    kept = [one.flags for one, is_used in zip(made, used, strict=True) if is_used and one.flags]
    if kept:
        remarks.append(f"{_said(table, kept, made)} used in spite of flagged gains{_listed(kept)}")
        log.warning(remarks[-1])
    if left_out:
        useful = sum("refused" not in flags for flags in left_out)
        which = "them" if useful == len(left_out) else f"{useful} of them"
        remedy = f"; --gains-flagged keep uses {which}" * bool(useful and not keep)
        text = f"{_said(table, left_out, made)} left out because of flagged gains{_listed(left_out)}{remedy}"
        if read < 2:
            problems.add(f"{text}; {read} date{'s are' if read != 1 else ' is'} left: a series needs at least two")
            return tuple(layers), None
        remarks.append(text)
        log.warning(text)
    rows = dict.fromkeys(row for one, is_used in zip(made, used, strict=True) if is_used for row in one.rows)
    scenes = len(made) - len(left_out)
    applied = AppliedGains(table.path, "", table.gains.sha256, scenes, len(left_out), len(kept), tuple(rows))
    return tuple(found), applied


def _said(table: _Table, scenes: Sequence[object], all_scenes: Sequence[object]) -> str:
    return f"gains {table.path}: {len(scenes)} of {len(all_scenes)} scenes {'is' if len(scenes) == 1 else 'are'}"


def _listed(flagged: Sequence[frozenset[GainFlag]]) -> str:
    counts = Counter(flag for flags in flagged for flag in sorted(flags))
    return f" ({', '.join(f'{number} {flag}' for flag, number in counts.most_common())})"


# ----------------------------------------------------------------------------------------------- presets


def _by_preset(
    layers: Sequence[Layer], preset: GainPreset, spec: InputSpec, remarks: list[str]
) -> tuple[tuple[Layer, ...], AppliedGains]:
    """Return the layers with the gains of a preset.

    Raises
    ------
    ParameterError
        When it does not know the sensors or bands of the scenes.
    """
    if spec.product is None:
        raise ParameterError(
            f"gains {preset.name} are chosen by sensor and band, which only products know: give --product"
        )
    read = _read(layers, spec)
    _check_known(preset, Counter(image.sensor for _, image in read), [image for _, image in read])
    unchanged = Line(1.0, 0.0)

    def lined(image: Image) -> Image:
        changes = image.sensor in preset.changed
        return image.with_lines(lambda band, piece: preset.lines[band] if changes else unchanged)

    found = tuple(
        replace(layer, images=tuple(map(lined, layer.images))) if _is_read(layer, spec) else layer for layer in layers
    )
    changed = sum(image.sensor in preset.changed for _, image in read)
    wrong = f", and are advised against for {spec.product}: {preset.why}" if spec.product in preset.wrong_for else ""
    remarks.append(
        f"gains {preset.name} ({preset.title}; {preset.source}) were found with {preset.collection}{wrong}; "
        f"{changed} of {len(read)} scenes are changed by them, those of {'/'.join(preset.changed)}; gains of these "
        "scenes themselves: pixelwise rectify"
    )
    log.warning(remarks[-1])
    return found, AppliedGains(None, preset.name, preset.sha256, len(read), unchanged=len(read) - changed)


def _check_known(preset: GainPreset, sensors: Counter[str], images: Sequence[Image]) -> None:
    known = {*preset.changed, *preset.unchanged}
    strange = {code: number for code, number in sensors.items() if code not in known}
    if strange:
        listed = ", ".join(f"{number} of {code}" for code, number in strange.items())
        unmeasured = [code for code in strange if code in preset.unmeasured]
        why = f"; {' and '.join(unmeasured)} were not measured" if unmeasured else ""
        raise ParameterError(
            f"gains {preset.name} make {'/'.join(preset.changed)} comparable with {'/'.join(preset.unchanged)}, but "
            f"there are scenes of other sensors: {listed}{why}; find gains with pixelwise rectify"
        )
    lacking = dict.fromkeys(
        band for image in images if image.sensor in preset.changed for band in image.names if band not in preset.lines
    )
    if lacking:
        raise ParameterError(
            f"gains {preset.name}: have none for {', '.join(lacking)}, only for {', '.join(preset.lines)}"
        )
