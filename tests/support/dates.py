"""Dates as tests write them."""

from collections.abc import Sequence

import numpy as np

from pixelwise.dates.rules import Reading

# NumPy 2.5 no longer adds bare whole numbers to dates.
DAY = np.timedelta64(1, "D")
MONTH = np.timedelta64(1, "M")


def starts(readings: Sequence[Reading]) -> list[str]:
    """Return when each begins."""
    return [str(reading.moment) for reading in readings]
