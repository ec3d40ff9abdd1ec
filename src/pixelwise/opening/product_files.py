"""Find scenes in files of satellite products, each with several bands and quality bands."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from pixelwise.dates.axis import Moment
from pixelwise.dates.paths import shard_of
from pixelwise.dates.rules import Reading
from pixelwise.errors import InputError, ParameterError, Problems
from pixelwise.opening.dating import is_pattern
from pixelwise.opening.observation import EVERYTHING, BandFile, Entry, Findings, Observation
from pixelwise.opening.products import BandRule, Product, SceneFile
from pixelwise.opening.quality import check_fit, mask_file, own_quality, with_masks
from pixelwise.rasters.headers import RASTER_SUFFIXES, BandHeader, Header, fetch_heads, read_header
from pixelwise.rasters.urls import Location, Url
from pixelwise.stacks.file_reader import Derivation, Quality
from pixelwise.stacks.formula import Expression, expression_of
from pixelwise.stacks.masks import load_preset
from pixelwise.stacks.parts import MaskOptions, ValueOptions
from pixelwise.words import shortened

__all__ = ["of_product"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _ProductFile:
    """A file of a product."""

    path: Location
    file: SceneFile
    date: Moment | None


class _Headers(dict[Location, Header]):
    """Headers of files, each read when it is needed first; servers are asked for the heads of many files at once."""

    def __init__(self, urls: Iterable[Url]) -> None:
        super().__init__()
        self._heads = fetch_heads(list(dict.fromkeys(urls)))

    def __missing__(self, path: Location) -> Header:
        head = self._heads.get(path) if isinstance(path, Url) else None
        self[path] = read_header(path, None if head is None else head.result())
        return self[path]


def of_product(
    entries: Sequence[Entry],
    product: Product,
    values: ValueOptions,
    masks: MaskOptions,
    times: str | None,
    problems: Problems,
    remarks: list[str],
    allowed: Sequence[str],
) -> Findings:
    """Find the scenes of a product in files, and assemble the bands and masks of each."""
    matches = [
        _ProductFile(path, file, date) for path, date in entries if (file := product.match(path.absolute())) is not None
    ]
    if not matches:
        names = ", ".join(str(path) for path, _ in entries[:3]) + (", ..." if len(entries) > 3 else "")
        problems.add(f"none of {len(entries)} files is named like a file of {product.name}: {names}")
        return Findings((), Derivation(), {})
    unmatched = sorted({path for path, _ in entries} - {one.path for one in matches})
    rasters = [str(path) for path in unmatched if path.suffix.lower() in RASTER_SUFFIXES]
    if rasters:
        shown = ", ".join(rasters[:3]) + (", ..." if len(rasters) > 3 else "")
        remarks.append(f"{len(rasters)} files are not named like files of {product.name} and are left out: {shown}")
        log.warning(remarks[-1])
    first = matches[0].file.sensor
    expression, wanted = _bands_to_read(values, product, first)
    own = own_quality(masks)
    qualities = _qualities_of(masks, product) if own is None else []
    scenes: dict[tuple[str, tuple[int, int]], list[_ProductFile]] = defaultdict(list)
    for one in matches:
        shard = shard_of(one.path.name)
        scenes[one.file.scene, shard[1:] if shard else (0, 0)].append(one)
    remote = [one for one in matches if isinstance(one.path, Url)]
    tokens = [BandRule(names) for names, _, _ in qualities]
    sensors = {one.file.sensor for one in remote}
    rules = [*tokens, *(product.band(sensor, name) for sensor in sensors for name in wanted)]
    headers = _Headers(one.path for rule in rules for one in _files_of(rule, remote) if isinstance(one.path, Url))
    found: list[Observation] = []
    refused = Problems()
    for (scene, _), files in sorted(scenes.items()):
        with refused.caught():
            found.append(_of_scene(scene, files, product, wanted, qualities, expression, values, headers))
    problems.add(*shortened(refused.lines, "images"))
    if own is not None:
        described = is_pattern(values.band)
        found = with_masks(
            found, masks, times, own.rule, headers, problems, remarks, described=described, allowed=allowed
        )
    else:
        # A quality band that no image has is not reported as used.
        present = [any(one.masks[index] is not None for one in found) for index in range(len(qualities))]
        qualities = [quality for quality, there in zip(qualities, present, strict=True) if there]
        found = [replace(one, masks=tuple(compress(one.masks, present))) for one in found]
    derivation = Derivation(
        names=tuple(wanted) if expression else (),
        expression=expression,
        qualities=tuple(quality for _, quality, _ in qualities) if own is None else (own,),
        grow=masks.grow,
        valid=values.valid_range or EVERYTHING if expression else EVERYTHING,
        product=f"{product.name} version {product.version} ({product.source})",
        families=_families(product),
    )
    return Findings(tuple(found), derivation, headers, tuple(remarks))


def _families(product: Product) -> tuple[tuple[str, ...], ...]:
    """Return groups of sensors whose bands have the same rules."""
    groups: list[list[str]] = []
    for sensor, rules in product.bands.items():
        known = next((group for group in groups if product.bands[group[0]] == rules), None)
        if known is None:
            groups.append([sensor])
        else:
            known.append(sensor)
    return tuple(map(tuple, groups))


def _bands_to_read(values: ValueOptions, product: Product, sensor: str) -> tuple[Expression | None, tuple[str, ...]]:
    """Return the formula, and the names of the bands to read."""
    known = product.names(sensor)
    if values.value is None and values.band is None:
        raise ParameterError(
            f"product {product.name} has several bands: choose --band NAME or --value FORMULA ({', '.join(known)})"
        )
    if values.value is None:
        if isinstance(values.band, int):
            raise ParameterError(
                f"band {values.band} of {product.name} is not the same colour in all sensors: give its name "
                f"({', '.join(known)})"
            )
        return None, (str(values.band),)
    expression = expression_of(values.value, known)
    expression.check(known)
    # A formula that is one band's name needs no arithmetic, and keeps the type of the files.
    return (None, expression.names) if expression.text in known else (expression, expression.names)


def _qualities_of(masks: MaskOptions, product: Product) -> list[tuple[tuple[str, ...], Quality, bool]]:
    """Return the tokens and the rule of each quality band that is used, and whether it is required."""
    if masks.mask == "none":
        return []
    own = masks.rule
    found = []
    for index, quality in enumerate(product.quality):
        if own is not None and index == 0:
            found.append((quality.tokens, Quality(quality.tokens[0], own, masks.words), True))
        else:
            preset = load_preset(quality.preset)
            label = f"{preset.name} version {preset.version} ({preset.source})"
            found.append((quality.tokens, Quality(quality.tokens[0], preset.rule, label), quality.required))
    return found


def _of_scene(
    scene: str,
    files: Sequence[_ProductFile],
    product: Product,
    wanted: Sequence[str],
    qualities: Sequence[tuple[tuple[str, ...], Quality, bool]],
    expression: Expression | None,
    values: ValueOptions,
    headers: dict[Location, Header],
) -> Observation:
    """Find the bands and the quality bands of one image.

    Raises
    ------
    InputError
        When one is missing or occurs twice, or its baseline is unknown.
    """
    file = files[0].file
    rules = {name: product.band(file.sensor, name) for name in wanted}
    chosen = _finest([_files_of(rule, files) for rule in rules.values()], scene, list(rules))
    bands = []
    for (name, rule), one in zip(rules.items(), chosen, strict=True):
        header, band = _opened(one, rule.tokens, headers)
        if band is None:
            raise InputError(f"{one.path}: has no band {' or '.join(rule.tokens)} for {name}")
        offset = rule.offset_of(one.file.baseline) if values.offset is None else values.offset
        if offset is None:
            raise InputError(
                f"{one.path}: its path does not contain the processing baseline, on which the offset of {product.name} "
                "depends; keep files in their folders, or give --offset (-0.1 from baseline 04.00 on, else 0)"
            )
        found = _band_by_rule(header, band, rule, offset, values, derived=expression is not None)
        bands.append(replace(found, name=name))
    masks: list[BandFile | None] = []
    for tokens, quality, required in qualities:
        rule = BandRule(tokens)
        size = chosen[0].file.resolution or 0
        # Of the bands' resolution, else the next coarser one: a mask's pixel can cover several pixels, but not a part.
        candidates = sorted(
            _files_of(rule, files),
            key=lambda one: ((one.file.resolution or 0) < size, one.file.resolution or 0, str(one.path)),
        )
        there = [(h, b) for one in candidates for h, b in [_opened(one, tokens, headers)] if b is not None]
        if there:
            header, band = there[0]
            check_fit(quality.rule, header, band)
            masks.append(mask_file(header, band, quality.rule))
        elif required:
            raise InputError(
                f"{scene}: has no {' or '.join(tokens)}, which marks clouds; add it, or use all pixels with --mask none"
            )
        else:
            masks.append(None)
    # Everything acquired in one pass has the same date, whatever the second.
    day = file.moment.start.replace(hour=0, minute=0, second=0)
    moment = files[0].date or Moment(day, "day", day)
    return Observation(tuple(bands), tuple(masks), Reading(moment, product.name), scene, file.sensor)


def _files_of(rule: BandRule, files: Sequence[_ProductFile]) -> list[_ProductFile]:
    """Return the files that hold a band, or may hold it among others."""
    return [one for one in files if one.file.band is None or rule.has(one.file.band)]


def _finest(candidates: Sequence[Sequence[_ProductFile]], scene: str, names: Sequence[str]) -> list[_ProductFile]:
    """Choose one file for each band: of the finest resolution that all of them have."""
    for files, name in zip(candidates, names, strict=True):
        if not files:
            raise InputError(f"{scene}: has no file for {name}")
    shared = set.intersection(*({one.file.resolution or 0 for one in files} for files in candidates))
    if not shared:
        listed = "; ".join(
            f"{name} at {', '.join(str(r) for r in sorted({one.file.resolution or 0 for one in files}))} m"
            for files, name in zip(candidates, names, strict=True)
        )
        raise InputError(f"{scene}: its bands have no resolution in common: {listed}")
    chosen = []
    for files, name in zip(candidates, names, strict=True):
        own = [one for one in files if (one.file.resolution or 0) == min(shared)]
        if len(own) > 1:
            raise InputError(f"{scene}: has {name} twice: {own[0].path}, {own[1].path}")
        chosen.append(own[0])
    return chosen


def _opened(
    one: _ProductFile, tokens: Sequence[str], headers: dict[Location, Header]
) -> tuple[Header, BandHeader | None]:
    """Read a file's header; return the band that a token stands for, if it has one."""
    header = headers[one.path]
    if one.file.band is not None:
        return header, header.bands[0]
    rule = BandRule(tuple(tokens))
    return header, next((band for band in header.bands if rule.has(band.description)), None)


def _band_by_rule(
    header: Header, band: BandHeader, rule: BandRule, offset: float, values: ValueOptions, *, derived: bool
) -> BandFile:
    """Return a band with the meaning of its numbers, according to the product and the options."""
    scale = rule.scale if values.scale is None else values.scale
    low, high = EVERYTHING
    if rule.valid is not None:
        # Half a step beyond for integers, so that rounding does not decide about the limits themselves.
        slack = 0.5 if np.dtype(band.dtype).kind in "iu" else 0.0
        ends = [value * scale + offset for value in (rule.valid[0] - slack, rule.valid[1] + slack)]
        low, high = min(ends), max(ends)
    if values.valid_range is not None and not derived:
        low, high = max(low, values.valid_range[0]), min(high, values.valid_range[1])
    nodata = rule.nodata if values.nodata is None else values.nodata
    return BandFile(header, band, scale, offset, nodata, (low, high), header.grid)
