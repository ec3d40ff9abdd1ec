"""Dates as tests write them."""

from collections.abc import Sequence

from pixelwise.dates.rules import Reading


def starts(readings: Sequence[Reading]) -> list[str]:
    """Return when each begins."""
    return [str(reading.moment) for reading in readings]
