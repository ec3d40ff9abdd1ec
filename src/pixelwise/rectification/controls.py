"""Radiometric control sets: bright and dark places without vegetation, which all scenes should show alike.

Hall, F. G., Strebel, D. E., Nickeson, J. E. and Goetz, S. J. (1991) Radiometric rectification: toward a common
radiometric response among multidate, multisensor images, Remote Sensing of Environment 35, 11-27.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.rasters.polygons import Features, layers_of, polygons_of, read_features
from pixelwise.rasters.region import Region, region_of
from pixelwise.rectification.lines import Lines, saturated
from pixelwise.words import first_of, shown

__all__ = ["FEWEST", "ControlPolygons", "ControlsError", "control_lines", "control_sets"]

Mask = NDArray[np.bool_]

#: A set needs so many pixels: the standard error of a mean of 20 is itself known to 16 %.
FEWEST = 20
#: Which share of pixels has little vegetation: with fewer, too few are left where most is forest.
LEAST_GREEN = 0.5
#: Which share of these is dark, and bright.
EXTREME = 0.01

#: What polygons say about the set they belong to, and attributes in which they may say it, the first of which counts.
SETS = ("bright", "dark")
ATTRIBUTES = ("set", "class", "name")
WORDS = re.compile(r"\s*(bright|dark)\s*", re.IGNORECASE)
#: The option, for errors.
OPTION = "controls"


class ControlsError(ValueError):
    """Control sets of a scene say nothing about its gains; the message is the reason, to be put after its name."""


def control_sets(reference: Floats, scene: Floats, names: Sequence[str]) -> tuple[Mask, Mask]:
    """Choose pixels that are bright, and dark, in both images.

    Hall et al. take the ends of the scattergram of brightness and greenness that are free of vegetation. Coefficients
    of tasseled caps, which they use, differ by sensor, and are known for few. Here, brightness is the mean of all
    bands, and greenness (nir - red) / (nir + red). Of the less green half of an image's pixels, those up to the
    first percentile of brightness are dark, and those from the 99th on are bright. Only ranks count, and so gains and
    offsets of an image hardly matter.

    A pixel must be extreme in both images: one that changed is not, and noise, which makes pixels extreme, does so
    alike in both.

    Parameters
    ----------
    reference, scene
        (band, pixel), NaN where missing.
    names
        (band,)

    Returns
    -------
    tuple
        (pixel,) bright, and dark.

    Raises
    ------
    ParameterError
        When there is no red or no near infrared among the bands.
    ControlsError
        When no pixel has values in both.
    """
    missing = [name for name in ("red", "nir") if name not in names]
    if missing:
        raise ParameterError(
            f"method controls finds pixels without vegetation by bands red and nir, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not among {', '.join(names)}; compare these bands too (--bands), "
            "or give polygons (--controls FILE)"
        )
    valid = np.isfinite(reference).all(axis=0) & np.isfinite(scene).all(axis=0)
    if not valid.any():
        raise ControlsError("no pixel has values in both images")
    red, nir = names.index("red"), names.index("nir")
    sets = np.zeros((2, valid.size), np.bool_)
    sets[:, valid] = _extremes(reference[:, valid], red, nir) & _extremes(scene[:, valid], red, nir)
    return sets[0], sets[1]


def _extremes(values: Floats, red: int, nir: int) -> Mask:
    """Return (2, pixel): bright, and dark, where there is little vegetation."""
    brightness = values.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where both are 0, nothing grows.
        greenness = np.nan_to_num((values[nir] - values[red]) / (values[nir] + values[red]), nan=-1.0)
    bare = greenness <= np.quantile(greenness, LEAST_GREEN)
    low, high = np.quantile(brightness[bare], [EXTREME, 1 - EXTREME])
    return np.stack([bare & (brightness >= high), bare & (brightness <= low)])


def control_lines(reference: Floats, scene: Floats, names: Sequence[str], bright: Mask, dark: Mask) -> Lines:
    """Fit a line in each band through the means of two control sets.

    With means B and D of the sets in reference (r) and scene (s): ``gain = (B_r - D_r) / (B_s - D_s)`` and
    ``offset = D_r - gain D_s``.

    Standard errors are those of first-order propagation. The means of both images come from the same pixels, and what
    makes one pixel brighter than another makes it so in both. So what counts is the scatter of ``e = r - gain s``,
    whose variance is ``var(r) + gain^2 var(s) - 2 gain cov(r, s)``. With ``v = var(e) / n`` of a set,

        ``gain_se^2 = (v_B + v_D) / (B_s - D_s)^2``
        ``offset_se^2 = (D_s^2 v_B + B_s^2 v_D) / (B_s - D_s)^2``

    Pixels of a set count as independent: in large polygons, of which neighbours are alike, errors are larger.

    Parameters
    ----------
    reference, scene
        (band, pixel), NaN where missing.
    names
        (band,) for errors.
    bright, dark
        (pixel,) the sets; pixels that miss a band in one of the images do not count.

    Raises
    ------
    ControlsError
        When a set has too few pixels, or the bright one is no brighter in a band.
    """
    valid = np.isfinite(reference).all(axis=0) & np.isfinite(scene).all(axis=0)
    sets = bright & valid, dark & valid
    for name, chosen in zip(SETS, sets, strict=True):
        if chosen.sum() < FEWEST:
            raise ControlsError(f"{chosen.sum()} pixels of the {name} set have values, at least {FEWEST} are needed")
    (bright_r, dark_r), (bright_s, dark_s) = (
        [image[:, chosen].mean(axis=1) for chosen in sets] for image in (reference, scene)
    )
    contrast_r, contrast_s = bright_r - dark_r, bright_s - dark_s
    for which, contrast in (("the reference", contrast_r), ("the scene", contrast_s)):
        if not (contrast > 0).all():
            band = names[int(np.argmin(contrast))]
            raise ControlsError(f"in band {band} of {which}, the bright set is no brighter than the dark set")
    gain = contrast_r / contrast_s
    offset = dark_r - gain * dark_s
    rest = reference - gain[:, None] * scene
    v_bright, v_dark = (rest[:, chosen].var(axis=1, ddof=1) / chosen.sum() for chosen in sets)
    either = sets[0] | sets[1]
    r, s = reference[:, either], scene[:, either]
    return Lines(
        gain=gain,
        offset=offset,
        gain_se=np.sqrt(v_bright + v_dark) / contrast_s,
        offset_se=np.sqrt(dark_s**2 * v_bright + bright_s**2 * v_dark) / contrast_s,
        rmse_before=np.sqrt(((r - s) ** 2).mean(axis=1)),
        rmse_after=np.sqrt(((r - gain[:, None] * s - offset[:, None]) ** 2).mean(axis=1)),
        level=r.mean(axis=1),
        saturated=saturated(scene[:, valid]),
        n=int(either.sum()),
        mean_weight=1.0,
        iterations=0,
        converged=True,
    )


@dataclass(frozen=True)
class ControlPolygons:
    """Polygons around bright and dark places, on a grid.

    Attributes
    ----------
    bright, dark
        The pixels whose centres lie inside.
    """

    bright: Region
    dark: Region

    @classmethod
    def load(cls, source: str | Path, grid: Grid) -> ControlPolygons:
        """Read polygons of a vector file, in any CRS.

        They are in two layers of a GeoPackage, ``bright`` and ``dark``, or in one layer with an attribute ``set``,
        ``class`` or ``name`` that holds one of these words.

        Raises
        ------
        InputError
            When it cannot be read, polygons do not say which set they belong to, those of a set are missing or contain
            no pixel centre of the grid, or a pixel is in both sets.
        ParameterError
            When the packages that read vector files are missing.
        """
        found = cls(*(region_of(polygons_of(part, OPTION), grid, OPTION) for part in _parts(source)))
        for block in found.blocks(grid, 512, 512):
            bright, dark = found.masks(block)
            if (bright & dark).any():
                row, col = np.argwhere(bright & dark)[0] + (block.row, block.col)
                raise InputError(
                    f"{OPTION} {source}: the pixel in row {row}, column {col} is in a bright and in a dark polygon; "
                    "keep them apart"
                )
        return found

    def masks(self, block: Block) -> tuple[Mask, Mask]:
        """Return (y, x) bright, and dark, of a block."""
        bright, dark = (_filled(part.inside(block), block) for part in (self.bright, self.dark))
        return bright, dark

    def blocks(self, grid: Grid, height: int, width: int) -> tuple[Block, ...]:
        """Return the blocks of the grid, of this height and width from its origin on, in which polygons have pixels."""
        found = [
            Block(row, col, min(height, grid.height - row), min(width, grid.width - col))
            for region in (self.bright, self.dark)
            if (around := region.block) is not None
            for row in range(around.row // height * height, around.row + around.height, height)
            for col in range(around.col // width * width, around.col + around.width, width)
        ]
        touched = {block for block in found if self.bright.touches(block) or self.dark.touches(block)}
        return tuple(sorted(touched, key=lambda block: (block.row, block.col)))

    def describe(self) -> dict[str, Any]:
        """Return a description, for provenance."""
        return {"bright": self.bright.describe(), "dark": self.dark.describe()}


def _filled(inside: Mask | None, block: Block) -> Mask:
    return np.ones((block.height, block.width), np.bool_) if inside is None else inside


def _parts(source: str | Path) -> tuple[Features, Features]:
    """Return the shapes of the bright set, and of the dark set."""
    layers = {name.lower(): name for name in layers_of(source, OPTION)}
    if all(name in layers for name in SETS):
        bright, dark = (read_features(f"{source}:{layers[name]}", OPTION, attributes=False) for name in SETS)
        return bright, dark
    features = read_features(source, OPTION)
    columns = {name.lower(): values for name, values in features.attributes.items()}
    known = [name for name in ATTRIBUTES if name in columns]
    if not known:
        has = f"it has {first_of(sorted(features.attributes))}" if features.attributes else "it has none"
        raise InputError(
            f"{OPTION} {features.name}: no attribute says which set a polygon belongs to ({has}); add a column set "
            "with the words bright and dark, or make two layers with these names"
        )
    said = {name: [WORDS.fullmatch(str(value)) for value in columns[name]] for name in known}
    name = next((name for name in known if any(said[name])), known[0])
    sets = np.array([match[1].lower() if match else "" for match in said[name]], object)
    if "" in sets:
        wrong = columns[name][int(np.argmax(sets == ""))]
        raise InputError(
            f"{OPTION} {features.name}: {name} of a polygon is {shown(wrong)}; expected bright or dark in each polygon"
        )
    for kind in SETS:
        if kind not in sets:
            raise InputError(f"{OPTION} {features.name}: {name} of no polygon is {kind}; expected some of both sets")
    bright, dark = (
        replace(features, name=f"{features.name} ({kind})", shapes=features.shapes[sets == kind], attributes={})
        for kind in SETS
    )
    return bright, dark
