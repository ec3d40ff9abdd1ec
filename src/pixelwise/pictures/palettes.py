"""Colours that people with common colour blindness tell apart; those of tests also differ in a grey print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pixelwise.bands import DIRECTED, Band, Status
from pixelwise.choices import Palette
from pixelwise.errors import ParameterError

__all__ = [
    "CONSTANT_COLOR",
    "INFINITE_COLOR",
    "MISSING_COLOR",
    "MONTH_COLORS",
    "NEUTRAL_COLOR",
    "NOT_TESTED_COLOR",
    "OUTSIDE_COLOR",
    "STATUS_COLORS",
    "UNKNOWN_COLOR",
    "between",
    "palette_for",
    "rgb",
    "sequential",
    "shades",
]

#: Shades of a sign, by the number of classes that share it, from the one next to zero outwards.
Shades = Mapping[int, tuple[str, ...]]

# Nearly ColorBrewer's BrBG. Brown and teal differ along the blue-yellow axis, so the two signs stay distinct for every
# common colour blindness; and brown for less, teal for more is what readers expect of a vegetation map. The pairs are
# those of significant and other changes: what is not significant is pale, as it is no finding, and each of the four has
# a lightness of its own, so that a grey print tells them apart.
BROWNS: Shades = {
    1: ("#bf812d",),
    2: ("#e6c88c", "#7f4a06"),
    3: ("#dfc27d", "#bf812d", "#8c510a"),
    4: ("#f1dca7", "#dfc27d", "#bf812d", "#8c510a"),
    5: ("#f1dca7", "#dfc27d", "#bf812d", "#8c510a", "#543005"),
}
TEALS: Shades = {
    1: ("#35978f",),
    2: ("#c0e8e1", "#018571"),
    3: ("#93d8cd", "#35978f", "#01665e"),
    4: ("#cdefe9", "#93d8cd", "#35978f", "#01665e"),
    5: ("#cdefe9", "#93d8cd", "#35978f", "#01665e", "#003c30"),
}
# Nearly ColorBrewer's RdBu: red for warmer, blue for colder.
BLUES: Shades = {
    1: ("#67a9cf",),
    2: ("#a8cfe6", "#084f94"),
    3: ("#92c5de", "#3079b5", "#0a4583"),
    4: ("#c6dfee", "#92c5de", "#4393c3", "#2166ac"),
    5: ("#c6dfee", "#92c5de", "#4393c3", "#2166ac", "#053061"),
}
REDS: Shades = {
    1: ("#ef8a62",),
    2: ("#fcd3c0", "#d6281f"),
    3: ("#f4a582", "#d6604d", "#b2182b"),
    4: ("#fbc9b0", "#f4a582", "#d6604d", "#b2182b"),
    5: ("#fbc9b0", "#f4a582", "#d6604d", "#b2182b", "#67001f"),
}
DIVERGING: Mapping[str, tuple[Shades, Shades]] = {"greening": (BROWNS, TEALS), "warming": (BLUES, REDS)}

# Nine points of matplotlib's colour maps of these names, both made for colour blindness (cividis: Nunez et al. 2018).
SEQUENTIAL: Mapping[str, tuple[str, ...]] = {
    "viridis": (
        "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725",
    ),
    "cividis": (
        "#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476", "#bcae6c", "#dec958", "#fee838",
    ),
}  # fmt: skip

#: A circle like matplotlib's twilight, light at its ends, dark in the middle, blue before it and red after; but pale
#: yellow instead of grey, which is the colour of missing pixels.
MONTH_COLORS = (
    "#f2efc2", "#b9d6c0", "#6fb0c0", "#4a86c0", "#4a55a8", "#3b2a7a",
    "#4a1458", "#82195a", "#b83a55", "#d96a4e", "#eba25c", "#f5d18a",
)  # fmt: skip

# Not BrBG's near-white: next to the grey of missing pixels only a tint distinguishes "zero" from "not known".
NEUTRAL_COLOR = "#fffbe0"

# Light teal is grey to whoever lacks red or green cones: the grey of missing pixels lies between the light and the dark
# colours, with a CIELAB lightness of 71.
MISSING_COLOR = "#aeaeae"

OUTSIDE_COLOR = "#ffffff"

INFINITE_COLOR = "#1a1a1a"

# A colour without a direction. Its CIELAB distance from the other colours of tests is at least 13 under every colour
# blindness as Machado et al. (2009) simulate them, and 9 in grey.
NOT_TESTED_COLOR = "#9a85b6"

# No direction either, and no finding: a grey. Between the other colours of tests no lightness is free; this one is 10
# darker than dark blue, the darkest of them, and 14 away from all in CIELAB under every colour blindness.
CONSTANT_COLOR = "#383838"

# Paul Tol's light scheme, but for colours near the two greys; a code has the same colour in every map.
STATUS_COLORS: Mapping[int, str] = {
    Status.OK: "#1f9e7a",
    Status.NO_OBSERVATION: MISSING_COLOR,
    Status.TOO_FEW: "#eedd88",
    Status.CONSTANT: "#99ddff",
    Status.DEGENERATE: "#aaaa00",
    Status.FUNCTION_FAILED: "#ee8866",
    Status.TEST_UNDEFINED: NOT_TESTED_COLOR,
    Status.TRUNCATED: "#3d6fb6",
    Status.DATES_LOST: "#ffc4cf",
    Status.OUTSIDE: OUTSIDE_COLOR,
}

UNKNOWN_COLOR = "#000000"

#: Quantities and units of temperature: more is warmer.
WARM = ("SST", "LST", "temperature")
DEGREES = ("k", "kelvin", "c", "degc", "deg_c", "celsius", "degrees_celsius", "degree_celsius", "°c")


def palette_for(band: Band, wanted: Palette | None = None, quantity: str = "") -> Palette:
    """Return the palette of a band: the one wanted, or what its unit or the quantity of the input suggests.

    Raises
    ------
    ParameterError
        When the one wanted has two directions and the numbers have none, or the other way round.
    """
    # Nobody said what its numbers are: they may have either sign.
    directed = band.kind in DIRECTED or not band.kind
    if wanted is None:
        warm = quantity in WARM or band.unit.partition("/")[0].strip().lower() in DEGREES
        return ("warming" if warm else "greening") if directed else "viridis"
    if (wanted in DIVERGING) != directed and band.kind:
        other = ", ".join(DIVERGING if directed else SEQUENTIAL)
        has = "two directions" if directed else "no direction"
        raise ParameterError(f"band {band.name} has {has}, which palette {wanted} does not suit: use {other}")
    return wanted


def shades(palette: Palette, sign: int, count: int) -> tuple[str, ...]:
    """Return colours for classes of one sign, from the one next to zero outwards."""
    table = DIVERGING[palette][sign > 0]
    return table.get(count) or between(table[5], count)


def sequential(palette: Palette, count: int) -> tuple[str, ...]:
    """Return colours for classes from low to high."""
    return between(SEQUENTIAL[palette], count)


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a colour such as ``#rrggbb``."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def between(anchors: Sequence[str], count: int) -> tuple[str, ...]:
    """Return colours at even distances along a scale."""
    if not count:
        return ()
    found = []
    for place in ((k + 0.5) * (len(anchors) - 1) / count if count < 3 else k * (len(anchors) - 1) / (count - 1)
                  for k in range(count)):  # fmt: skip
        low = min(int(place), len(anchors) - 2)
        part = place - low
        mixed = (round(a + (b - a) * part) for a, b in zip(rgb(anchors[low]), rgb(anchors[low + 1]), strict=True))
        found.append("#{:02x}{:02x}{:02x}".format(*mixed))
    return tuple(found)
