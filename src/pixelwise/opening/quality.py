"""Find the mask that belongs to each observation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pixelwise.dates.axis import Moment
from pixelwise.dates.rules import Reading
from pixelwise.errors import InputError, ParameterError, Problems
from pixelwise.grid import Grid
from pixelwise.opening.array_steps import mask_steps
from pixelwise.opening.dating import dates_of_files, table_of
from pixelwise.opening.named_files import read_headers, without_own
from pixelwise.opening.observation import EVERYTHING, BandFile, Entry, Observation
from pixelwise.opening.sensors import band_of
from pixelwise.opening.sources import resolve
from pixelwise.rasters.arrays import array_driver
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.urls import Location
from pixelwise.stacks.file_reader import Quality
from pixelwise.stacks.masks import MaskRule
from pixelwise.stacks.parts import MaskOptions
from pixelwise.words import NAMED, shortened

__all__ = ["ZOOMS", "check_fit", "mask_file", "own_quality", "with_masks", "with_own_masks"]

#: Rows and columns of the grid that one pixel of a mask may cover: Sentinel-2 has bands of 10 m, masks of 20 and 60.
ZOOMS = (1, 2, 3, 6)


def own_quality(masks: MaskOptions) -> Quality | None:
    """Return the meaning of the user's own masks; None if there are none."""
    rule = masks.rule
    if rule is None or (masks.mask is None and masks.mask_band is None):
        return None
    what = f"--mask {masks.mask}" if masks.mask is not None else f"--mask-band {masks.mask_band}"
    return Quality(what, rule, masks.words)


def mask_file(header: Header, band: BandHeader, rule: MaskRule) -> BandFile:
    """Return a band of classes or bits, as they are stored.

    If a rule lists values to drop, nodata means "unknown" and is dropped too: a file with 0 for clear and nodata 0 then
    rejects everything, which does not go unnoticed. Rules of bits and of values to keep need no nodata.
    """
    nodata = () if band.nodata is None or rule.drop is None else (band.nodata,)
    return BandFile(header, band, 1.0, 0.0, nodata, EVERYTHING, header.grid)


def with_own_masks(
    found: Sequence[Observation], wanted: int | str, rule: MaskRule, problems: Problems
) -> list[Observation]:
    """Give each observation the mask in a band of its own file."""
    refused = Problems()
    masked = []
    for observation in found:
        header = observation.header
        with refused.caught():
            band = band_of(header, wanted)
            check_fit(rule, header, band)
            masked.append(replace(observation, masks=(mask_file(header, band, rule),)))
    problems.add(*shortened(refused.distinct))
    return masked


def check_fit(rule: MaskRule, header: Header, band: BandHeader) -> None:
    """Refuse a mask rule whose values the type of a band cannot hold."""
    try:
        rule.check(band.dtype)
    except ParameterError as error:
        raise InputError(f"{header.path}: {error}") from None


def _keys_of(moment: Moment) -> tuple[Any, Any]:
    """Return the keys that find the mask of a moment: the moment, or its day if only one of the two has a time."""
    day = moment.start.date()
    if moment.precision == "second":
        return ("second", moment.start), ("whole day", day)
    if moment.precision == "day":
        return ("whole day", day), ("day of a second", day)
    return (moment.precision, moment.start), None


def _covers(mask: Grid, image: Grid) -> bool:
    """Whether a mask covers all of an image; each of its pixels may cover several of the image."""
    for zoom in ZOOMS:
        finer = mask.refined(zoom)
        if image.shares_lattice(finer):
            return image.place_of(finer).intersection(image.block) == image.block
    return False


def with_masks(
    found: Sequence[Observation],
    masks: MaskOptions,
    times: str | None,
    rule: MaskRule,
    headers: dict[Location, Header],
    problems: Problems,
    remarks: list[str],
    *,
    described: bool,
    allowed: Sequence[str],
) -> list[Observation]:
    """Give each observation the mask of its date.

    Parameters
    ----------
    masks, times, rule
        Files of masks, how they are dated, and what their values mean.
    headers
        Headers by path; those of the masks that are used are added.
    described
        As in `dates_of_files`.
    allowed
        Schemes of servers from which masks may be read.
    """
    with problems.caught("mask: ") as failure:
        entries = resolve(str(masks.mask), allowed)
    if failure:
        return list(found)
    arrays = [path for path, _ in entries if array_driver(path)]
    with problems.caught("mask: ") as failure:
        if arrays and len(arrays) < len(entries):
            raise InputError(f"{arrays[0]} holds arrays, and others are rasters: expected one kind of files")
        if arrays:
            steps = [step for path in arrays for step in mask_steps(path)]
            for header, band, _ in steps[:1]:
                check_fit(rule, header, band)
        else:
            steps = _mask_files(entries, times, rule, problems, remarks, described=described)
    if failure:
        return list(found)
    dated: dict[Any, list[tuple[Header, BandHeader]]] = defaultdict(list)
    for header, band, reading in steps:
        moment = reading.moment
        dated[_keys_of(moment)[0]].append((header, band))
        if moment.precision == "second":
            dated["day of a second", moment.start.date()].append((header, band))
    masked, refused = [], Problems()
    for observation in found:
        moment = observation.reading.moment
        exact, other = _keys_of(moment)
        candidates = dated.get(exact) or dated.get(other, [])
        if len(candidates) > 1:
            candidates = [one for one in candidates if _covers(one[0].grid, observation.grid)] or candidates
        if len(candidates) == 1:
            header, band = candidates[0]
            headers[header.path] = header
            masked.append(replace(observation, masks=(mask_file(header, band, rule),)))
        elif candidates:
            names = ", ".join(str(header.path) for header, _ in candidates[:NAMED])
            refused.add(f"{observation.header.path}: several masks have its date {moment}: {names}")
        else:
            refused.add(
                f"{observation.header.path}: none of {len(steps)} masks has its date {moment}; "
                "leave the image out, or add its mask"
            )
    problems.add(*shortened(refused.lines))
    return masked


def _mask_files(
    entries: Sequence[Entry],
    times: str | None,
    rule: MaskRule,
    problems: Problems,
    remarks: list[str],
    *,
    described: bool,
) -> list[tuple[Header, BandHeader, Reading]]:
    """Return masks in files of one band each, with their dates.

    Raises
    ------
    InputError
        When a file has several bands, or they cannot be dated.
    """
    own = read_headers([path for path, _ in entries], problems)
    entries = without_own(entries, own, remarks)
    single = [(own[path], own[path].bands[0], date) for path, date in entries if path in own]
    table = table_of(times, Problems())
    for header, _, _ in single:
        if len(header.bands) > 1:
            raise InputError(f"{header.path}: has {len(header.bands)} bands; expected a mask of one band")
        check_fit(rule, header, header.bands[0])
    table = None if table is None or isinstance(table.dates, list) else table
    readings = dates_of_files(single, times, table, described=described)
    return [(header, band, reading) for (header, band, _), reading in zip(single, readings, strict=True)]
