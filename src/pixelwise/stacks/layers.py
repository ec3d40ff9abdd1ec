"""Layers: what was observed at each date, and which dates are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pixelwise.choices import SameDate
from pixelwise.dates.axis import Precision, decimal_year, iso
from pixelwise.dates.calendars import Calendar
from pixelwise.dates.tables import read_range
from pixelwise.errors import InputError, ParameterError
from pixelwise.rasters.pieces import Piece
from pixelwise.stacks.images import Image
from pixelwise.stacks.parts import DateOptions

__all__ = ["Layer", "chosen_layers", "words_of_choice"]


@dataclass(frozen=True, slots=True)
class Layer:
    """What was observed at one date.

    Attributes
    ----------
    date, precision, rule
        The date, how exactly it is known, and the rule by which it was read.
    images
        Usually one; several if those of one date are reduced to one layer.
    reduce
        How they are reduced.
    calendar, excess
        The calendar in which the date is meant, and the days that it is later there, as in `Moment`.
    """

    date: datetime
    precision: Precision
    rule: str
    images: tuple[Image, ...]
    reduce: SameDate | None = None
    calendar: Calendar = "standard"
    excess: int = 0

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces of all bands of all images."""
        return tuple(piece for image in self.images for group in image.bands for piece in group)

    @property
    def masks(self) -> tuple[Piece, ...]:
        """All pieces of all masks."""
        return tuple(piece for image in self.images for group in image.masks for piece in group)

    @property
    def unrectified(self) -> Layer:
        """The layer without gains."""
        return replace(self, images=tuple(image.with_lines(lambda band, piece: None) for image in self.images))

    @property
    def uninterpolated(self) -> Layer:
        """The layer with stored numbers of the nearest pixels, where it would interpolate between them."""
        return replace(self, images=tuple(image.uninterpolated for image in self.images))

    @property
    def unmasked(self) -> Layer:
        """The layer without masks."""
        return replace(self, images=tuple(replace(image, masks=(), clear=()) for image in self.images))

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors of the images, if known."""
        return tuple(sorted({image.sensor for image in self.images if image.sensor}))

    @property
    def iso_date(self) -> str:
        """The date in ISO 8601; of a day that only its calendar has, such as 30 February, with that day."""
        text = iso(self.date, self.precision)
        return f"{text[:8]}{self.date.day + self.excess:02d}{text[10:]}" if self.excess else text

    @property
    def year(self) -> float:
        """The decimal year used in fits."""
        return decimal_year(self.date, self.precision, self.calendar, self.excess)


def chosen_layers(layers: Sequence[Layer], dates: DateOptions) -> tuple[Layer, ...]:
    """Return the layers that ``start``, ``end`` and ``months`` select.

    Raises
    ------
    InputError
        When months are selected but some layer has only a year.
    """
    kept = list(layers)
    if dates.months is not None:
        bare = [layer for layer in kept if layer.precision == "year"]
        if bare:
            raise InputError(
                f"months {list(dates.months)} cannot be selected: {bare[0].pieces[0].path} has only a year"
            )
        kept = [layer for layer in kept if layer.date.month in dates.months]
    if dates.start is not None:
        first = _range_of("start", dates.start)[0]
        kept = [layer for layer in kept if layer.date >= first]
    if dates.end is not None:
        last = _range_of("end", dates.end)[1]
        kept = [layer for layer in kept if layer.date <= last]
    return tuple(kept)


def _range_of(option: str, text: str) -> tuple[datetime, datetime]:
    try:
        return read_range(text)
    except ParameterError as error:
        raise ParameterError(f"{option}: {error}") from None


def words_of_choice(dates: DateOptions) -> str:
    """Describe which dates are selected, with a leading space; empty if all are."""
    words = [f"{name} {getattr(dates, name)}" for name in ("start", "end") if getattr(dates, name) is not None]
    if dates.months is not None:
        words.append(f"months {','.join(map(str, dates.months))}")
    return f" with {', '.join(words)}" if words else ""
