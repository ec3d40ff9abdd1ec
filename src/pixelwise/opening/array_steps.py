"""The time steps of an array, dated by the file's own time coordinate."""

from __future__ import annotations

from collections import Counter

from pixelwise.dates.cf_times import moments_of
from pixelwise.dates.rules import Reading
from pixelwise.errors import InputError
from pixelwise.rasters.array_groups import ArrayGroup
from pixelwise.rasters.array_headers import TimeValues, header_of
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.urls import Location

__all__ = ["mask_steps", "readings_of"]


def readings_of(path: Location, times: TimeValues) -> list[Reading]:
    """Return the dates of the time steps of an array, as its time coordinate says.

    Raises
    ------
    InputError
        When they cannot be read, or do not ascend.
    """
    try:
        moments = moments_of(times.numbers, times.unit, times.calendar, times.bounds, times.bounds_words)
    except InputError as error:
        raise InputError(f"{path}: {times.name}: {error}; give the dates with --times FILE") from None
    keys = [(moment.start, moment.excess) for moment in moments]
    if keys != sorted(keys) and keys != sorted(keys, reverse=True):
        at = next(i for i in range(1, len(keys)) if keys[i] < keys[i - 1])
        if keys[0] > keys[-1]:
            at = next(i for i in range(1, len(keys)) if keys[i] > keys[i - 1])
        raise InputError(
            f"{path}: {times.name} goes from {moments[at - 1]} to {moments[at]} at step {at + 1}: expected dates "
            "that only ascend or only descend; if they are wrong, give them with --times FILE"
        )
    key, most = Counter(keys).most_common(1)[0]
    if most > 1:
        steps = [index + 1 for index, one in enumerate(keys) if one == key]
        raise InputError(
            f"{path}: {times.name} has the date {moments[steps[0] - 1]} {most} times (steps "
            f"{', '.join(map(str, steps[:5]))}): expected each once; if it is wrong, give the dates with --times FILE"
        )
    words = f"{times.name} ({times.unit})" if times.unit else times.name
    rule = f"bounds of {words}" if times.bounds is not None and moments[0].precision != "second" else words
    return [Reading(moment, rule) for moment in moments]


def mask_steps(path: Location) -> list[tuple[Header, BandHeader, Reading]]:
    """Return the time steps of a file that holds masks in its only variable.

    Raises
    ------
    InputError
        When it holds several, or does not say when they are.
    """
    with ArrayGroup(path) as group:
        found = header_of(group, group.only_name(), {})
    if found.times is None:
        raise InputError(f"{path}: has no time coordinate that dates its masks")
    readings = readings_of(path, found.times)
    return [(found.header, band, reading) for band, reading in zip(found.header.bands, readings, strict=True)]
