"""Options that say which pixels of which files are read, and what their numbers mean."""

from __future__ import annotations

from typing import get_args

import click

from pixelwise.choices import Extent, Period, Resampling, SameDate
from pixelwise.cli.completing import files, mask_presets, products
from pixelwise.cli.kinds import Band, Numbers, Place

__all__ = ["FILE_OPTIONS", "PIXEL_OPTIONS"]

FILE_OPTIONS = (
    click.option(
        "--band",
        type=Band(),
        help="Band to read, if files have several that are not dates. A pattern such as 'NDVI*' reads all bands whose "
        "description matches, each dated by its description.",
    ),
    click.option("--variable", metavar="NAME", help="Variable of NetCDF, HDF5 or Zarr files, if they have several."),
    click.option("--group", metavar="NAME", help="Group of NetCDF, HDF5 or Zarr files that holds the variable."),
    click.option(
        "--select",
        multiple=True,
        metavar="DIMENSION=VALUE",
        help="Value of another dimension than time, rows and columns: depth=0; may be repeated.",
    ),
    click.option(
        "--times",
        shell_complete=files,
        metavar="FORMAT|FILE",
        help="strptime format of the date in each name or band description, or a table: one date per line for the "
        "bands of one file; path,date or path,band,date for several files. Weeks are %G%V (ISO), %Y%U (from Sunday), "
        "%Y%W (from Monday) or %Y%J (seven days each from 1 January), dekads %Y%m%K or %Y%K, pentads %Y%m%P, seasons "
        "such as 2001_02 %Y_%y; times with %z are converted to UTC.",
    ),
    click.option(
        "--period",
        type=click.Choice(get_args(Period)),
        help="Date that represents a month, week, pentad, dekad, quarter, year pair or date range.  [default: start]",
    ),
    click.option(
        "--same-date",
        "--duplicates",
        "same_date",
        type=click.Choice(get_args(SameDate)),
        help="What to do with overlapping images of the same date: keep each as a layer, or use, for each pixel, the "
        "first image by name (first), the first one with a value (mosaic), their mean or max. Without it, an error.",
    ),
    click.option(
        "--extent",
        type=Place("|".join((*get_args(Extent), "L,B,R,T", "FILE"))),
        help="Area to cover if images have aligned pixels but different extents: union, intersection, first, bounds, "
        "or a raster. Nothing is resampled.",
    ),
    click.option(
        "--align",
        shell_complete=files,
        metavar="RASTER|CRS,RESOLUTION",
        help="Resample files to the pixel grid of this raster (and, without --extent, to its extent); or to a CRS and "
        "resolution, EPSG:32633,10, with pixels at multiples of it (and, without --extent, covering all files).",
    ),
    click.option(
        "--resampling",
        type=click.Choice(get_args(Resampling)),
        help="Resampling used by --align; masks and classes always use nearest.  [default: nearest]",
    ),
    click.option(
        "--crs",
        metavar="CRS",
        help="CRS of files that have none: EPSG:32633, a PROJ string or WKT. A file with another one is refused.",
    ),
    click.option(
        "--product",
        shell_complete=products,
        metavar="NAME|FILE.toml",
        help="Satellite product of the files (landsat-c2-l2, s2-l2a, hls, mod13), which defines dates, sensors, bands, "
        "scales and masks.",
    ),
)

PIXEL_OPTIONS = (
    click.option(
        "--mask",
        shell_complete=files,
        metavar="FILES",
        help="Mask files, matched by date; none ignores the masks of a product.",
    ),
    click.option("--mask-band", type=Band(), help="Band of each image, or variable of arrays, that is its mask."),
    click.option("--mask-keep", type=Numbers(), metavar="V[,V]", help="Mask values to keep."),
    click.option("--mask-drop", type=Numbers(), metavar="V[,V]", help="Mask values to reject."),
    click.option("--mask-bits", type=Numbers(int), metavar="B[,B]", help="Mask bits that reject a pixel if set."),
    click.option(
        "--mask-field",
        multiple=True,
        metavar="A-B=V[,V]",
        help="Reject pixels if bits A to B of the mask form one of these numbers; may be repeated.",
    ),
    click.option(
        "--mask-preset",
        shell_complete=mask_presets,
        metavar="NAME",
        help="A predefined rule: landsat-c2, hls-fmask, s2-scl, mod13, ...",
    ),
    click.option("--grow", type=click.IntRange(min=0), help="Also reject this many pixels around rejected ones."),
    click.option(
        "--region",
        type=Place("FILE|L,B,R,T"),
        help="Polygons of a vector file, or bounds; other pixels get status 9 and are not read.",
    ),
    click.option(
        "--where",
        shell_complete=files,
        metavar="RASTER=V[,V]",
        help="Only use pixels where this raster, whose pixels must be aligned, has these values.",
    ),
    click.option("--nodata", type=Numbers(), metavar="V[,V]", help="Stored values that mean missing."),
    click.option("--scale", type=float, help="Value = stored * scale + offset, overriding what the files say."),
    click.option("--offset", type=float, help="See --scale."),
    click.option(
        "--valid-range",
        type=Numbers(count=2),
        metavar="LO,HI",
        help="Treat values outside (after scaling) as missing.",
    ),
)
