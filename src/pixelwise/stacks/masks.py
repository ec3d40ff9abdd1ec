"""Which pixels a mask or a quality band rejects: by values, by bits, or by a named rule."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ParameterError
from pixelwise.words import not_a_choice

__all__ = ["MaskRule", "Preset", "grow", "load_preset", "parse_field", "presets"]

HIGHEST_BIT: Final = 63
_FIELD: Final = re.compile(r"\s*(\d{1,2})\s*(?:-\s*(\d{1,2})\s*)?=\s*(\d+(?:\s*,\s*\d+)*)\s*")

Field = tuple[int, int, tuple[int, ...]]


@dataclass(frozen=True)
class MaskRule:
    """What the values of a mask mean.

    Attributes
    ----------
    keep
        Values of usable pixels; all others are rejected.
    drop
        Values of rejected pixels.
    bits
        Bits, 0 being the lowest; a pixel is rejected if any of them is set.
    fields
        First bit, last bit, and the rejected numbers in them: (8, 9, (2, 3)).

    Raises
    ------
    ParameterError
        When nothing is given, `keep` is combined with another one, or a value is impossible.
    """

    keep: tuple[float, ...] | None = None
    drop: tuple[float, ...] | None = None
    bits: tuple[int, ...] = ()
    fields: tuple[Field, ...] = ()

    def __post_init__(self) -> None:
        # Lists are accepted, as TOML has them.
        for name in ("keep", "drop"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "bits", tuple(self.bits))
        object.__setattr__(self, "fields", tuple((first, last, tuple(values)) for first, last, values in self.fields))
        self._check_values()
        for bit in self.bits:
            _check_bit("--mask-bits", bit)
        for first, last, values in self.fields:
            _check_bit("--mask-field", first)
            _check_bit("--mask-field", last)
            if last < first:
                raise ParameterError(
                    f"--mask-field: the bits {first}-{last} of a mask run backwards; write {last}-{first}"
                )
            for value in values:
                if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2 ** (last - first + 1):
                    raise ParameterError(f"--mask-field: {value!r} cannot be in {_bits(first, last)} of a mask")
            if not values:
                raise ParameterError(
                    f"--mask-field: no values are given for {_bits(first, last)} of a mask; write {first}-{last}=1"
                )

    def _check_values(self) -> None:
        if self.keep is None and self.drop is None and not self.bits and not self.fields:
            raise ParameterError(
                "the meaning of the mask's values is not given: name the usable ones with --mask-keep, "
                "or the rejected ones with --mask-drop, --mask-bits or --mask-field, or the product of the mask "
                f"with --mask-preset ({', '.join(presets())})"
            )
        if self.keep is not None and (self.drop is not None or self.bits or self.fields):
            raise ParameterError("--mask-keep rejects all other values; --mask-drop, bits and fields cannot be added")
        for name in ("keep", "drop"):
            values = getattr(self, name)
            if values is not None and not values:
                raise ParameterError(f"--mask-{name} has no values")
            for value in values or ():
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise ParameterError(f"--mask-{name} {value!r} is not a finite number (NaN is always rejected)")

    def check(self, dtype: str) -> None:
        """Raise a `ParameterError` for values and bits that a mask of this dtype cannot have."""
        kind = np.dtype(dtype)
        if kind.kind not in "iuf":
            raise ParameterError(f"a mask of {dtype} cannot be used; expected integers or floats")
        # A float holds whole numbers exactly up to the width of its mantissa.
        width = np.finfo(kind).nmant + 1 if kind.kind == "f" else 8 * kind.itemsize
        for bit in (*self.bits, *(last for _, last, _ in self.fields)):
            if bit >= width:
                raise ParameterError(f"bit {bit} does not exist in a mask of {dtype} (0 to {width - 1} do)")
        for name in ("keep", "drop"):
            for value in getattr(self, name) or ():
                if kind.kind == "f":
                    low, high = float(np.finfo(kind).min), float(np.finfo(kind).max)
                else:
                    low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
                if not low <= value <= high or (kind.kind != "f" and value != int(value)):
                    raise ParameterError(f"--mask-{name} {value:g} cannot be in a mask of {dtype}")

    def rejected(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which pixels are rejected.

        Parameters
        ----------
        stored
            Numbers as stored, integers or floats, of any shape. Negative numbers have the bits of their two's
            complement. NaN is rejected, and so are fractions if the rule tests bits.

        Returns
        -------
        ndarray
            Bools of the same shape, True where rejected.

        Raises
        ------
        ParameterError
            When the rule does not fit the dtype.
        """
        self.check(stored.dtype.name)
        # Comparisons cost 0.1 to 0.35 ns a pixel of uint8 or uint16, a lookup table of all values 0.75.
        number = float if stored.dtype.kind == "f" else int
        if self.keep is not None:
            return _none([stored != number(value) for value in self.keep])
        parts = [stored == number(value) for value in self.drop or ()]
        if stored.dtype.kind == "f" and (self.bits or self.fields):
            with np.errstate(invalid="ignore"):
                whole = stored.astype(np.int64)
            parts += [whole != stored, *self._set(whole.view(np.uint64))]
        elif stored.dtype.kind == "f":
            parts.append(np.isnan(stored))
        else:
            parts += self._set(stored.view(stored.dtype.str.replace("i", "u")))
        return _any(parts)

    def _set(self, stored: NDArray[Any]) -> list[NDArray[np.bool_]]:
        """Return which unsigned numbers each of the bits and fields rejects."""
        kind = stored.dtype.type
        parts = []
        if self.bits:
            parts.append((stored & kind(sum(1 << bit for bit in set(self.bits)))) != 0)
        for first, last, values in self.fields:
            field = stored & kind(((1 << (last - first + 1)) - 1) << first)
            parts += [field == kind(value << first) for value in values]
        return parts

    def describe(self) -> str:
        """Describe it in words: ``keeps 4, 5`` or ``drops bits 1, 3, 4 and bits 8-9 of 2, 3``."""
        if self.keep is not None:
            return f"keeps {_list(self.keep)}"
        parts = [_list(self.drop)] if self.drop is not None else []
        if self.bits:
            parts.append(f"{'bits' if len(self.bits) > 1 else 'bit'} {_list(self.bits)}")
        parts += [f"{_bits(first, last)} of {_list(values)}" for first, last, values in self.fields]
        *others, final = parts
        return f"drops {', '.join(others)} and {final}" if others else f"drops {final}"


@dataclass(frozen=True)
class Preset:
    """A named rule.

    Attributes
    ----------
    name, version
        The version rises whenever the rule rejects other pixels.
    title, source
        What it rejects, and the document that defines the values.
    rule
        The rule itself.
    """

    name: str
    version: int
    title: str
    source: str
    rule: MaskRule


@cache
def _presets() -> dict[str, Preset]:
    text = resources.files("pixelwise.stacks").joinpath("masks.toml").read_text(encoding="utf-8")
    found = {}
    for name, table in tomllib.loads(text).items():
        version, title, source = table.pop("version"), table.pop("title"), table.pop("source")
        found[name] = Preset(name, version, title, source, MaskRule(**table))
    return found


def presets() -> tuple[str, ...]:
    """Return the names of all presets."""
    return tuple(_presets())


def load_preset(name: str) -> Preset:
    """Return the preset of this name; a `ParameterError` lists the known ones."""
    if name not in _presets():
        raise not_a_choice("mask_preset", name, _presets())
    return _presets()[name]


def parse_field(text: str) -> Field:
    """Parse a field of bits as written for ``--mask-field``.

    Parameters
    ----------
    text
        ``8-9=2,3`` or ``5=1``.

    Returns
    -------
    tuple
        First bit, last bit, values: (8, 9, (2, 3)).

    Raises
    ------
    ParameterError
        For any other text, and for values that the bits cannot hold.
    """
    match = _FIELD.fullmatch(text)
    # No mask has bits or values with more digits than 64 bits can hold; and Python parses at most 4300.
    if not match or any(len(digits) > 20 for digits in re.findall(r"\d+", text)):
        raise ParameterError(f"--mask-field {text!r} is not BIT=VALUES or FIRST-LAST=VALUES, such as 5=1 or 8-9=2,3")
    field = (int(match[1]), int(match[2] or match[1]), tuple(int(value) for value in match[3].split(",")))
    MaskRule(fields=(field,))  # checks it
    return field


def grow(rejected: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Also reject the neighbours of rejected pixels.

    Parameters
    ----------
    rejected
        (..., y, x).
    pixels
        How far, along rows, columns and diagonals: a single pixel becomes a square of ``2 * pixels + 1``.

    Returns
    -------
    ndarray
        A new array of the same shape; nothing beyond its edges counts as rejected.

    Raises
    ------
    ParameterError
        When `pixels` is negative.
    """
    if pixels < 0:
        raise ParameterError(f"a mask cannot grow by {pixels} pixels; expected 0 or more")
    grown = rejected
    for axis in (-2, -1):
        reach = min(pixels, rejected.shape[axis])
        margin = [(0, 0)] * rejected.ndim
        margin[axis] = (reach, reach)
        grown = np.moveaxis(np.pad(grown, margin), axis, 0)
        # Each step doubles the pixels that one value covers: 4 passes instead of 10 for 5 pixels.
        covered, wanted = 1, 2 * reach + 1
        while covered < wanted:
            step = min(covered, wanted - covered)
            grown = grown[:-step] | grown[step:]
            covered += step
        grown = np.moveaxis(grown, 0, axis)
    return grown


def _check_bit(option: str, bit: Any) -> None:
    if isinstance(bit, bool) or not isinstance(bit, int) or not 0 <= bit <= HIGHEST_BIT:
        raise ParameterError(f"{option}: bit {bit!r} of a mask is out of range: bits are numbered 0 to {HIGHEST_BIT}")


def _any(parts: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    first, *others = parts
    for part in others:
        first |= part
    return first


def _none(parts: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    first, *others = parts
    for part in others:
        first &= part
    return first


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _bits(first: int, last: int) -> str:
    return f"bits {first}-{last}" if last > first else f"bit {first}"
