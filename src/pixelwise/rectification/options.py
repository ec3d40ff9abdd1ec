"""How gains are found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pixelwise.choices import PerScene, Rectification
from pixelwise.dates.periods import Season
from pixelwise.errors import ParameterError
from pixelwise.rectification.comparing import LEAST_PIXELS
from pixelwise.words import not_a_choice, shown

__all__ = ["RectifyOptions"]

#: A sample of more pixels than a scene has is all of them; this bounds the memory that it takes.
MOST_SAMPLED = 5_000_000


@dataclass(frozen=True)
class RectifyOptions:
    """How gains are found; see `rectify`.

    Attributes
    ----------
    method
        How the lines are found.
    per
        Whether each scene has its own.
    reference
        ``median``, a file of one of the scenes, or a date of one.
    sample
        Pixels at which scenes are compared.
    controls
        Polygons of bright and dark control sets.
    seed
        Of the sample.
    season
        Days of each year that are compared, ``06-01..08-31``; None for all.

    Raises
    ------
    ParameterError
        When a value is impossible, or two contradict each other.
    """

    method: Rectification = "irmad"
    per: PerScene = "scene"
    reference: str = "median"
    sample: int = 50_000
    controls: Path | None = None
    seed: int = 0
    season: str | None = None

    def __post_init__(self) -> None:
        for name, choice in (("method", Rectification), ("per", PerScene)):
            if getattr(self, name) not in get_args(choice):
                raise not_a_choice(name, getattr(self, name), get_args(choice))
        for name, least, most in (("sample", LEAST_PIXELS, MOST_SAMPLED), ("seed", 0, 2**63 - 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ParameterError(
                    f"{name} {shown(value)} is invalid: expected a whole number from {least} to {most}"
                )
        if self.season is not None:
            Season.parse(self.season)
        if self.controls is not None and self.method != "controls":
            raise ParameterError(f"controls {self.controls} is for method controls, not {self.method}")
        if self.per == "sensor" and self.reference != "median":
            raise ParameterError(
                f"reference {self.reference} is for gains per scene: with gains per sensor, the newest sensor is the "
                "reference"
            )
        if self.per == "sensor" and self.method == "controls":
            raise ParameterError(
                "method controls is for gains per scene: with gains per sensor, pairs of scenes are compared"
            )

    def words(self, sampled: int) -> str:
        """Describe the method for the rows of a table."""
        return f"{self.method}, {sampled} pixels, seed {self.seed}"
