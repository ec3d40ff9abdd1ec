"""Maps in classes: a GeoTIFF with colours and names, a style for QGIS, and a table of areas."""

from __future__ import annotations

import csv
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.grid import Block
from pixelwise.maps.disk import create, lock, open_ours, remove
from pixelwise.maps.map import Map
from pixelwise.maps.publish import SIDECARS, PendingFile, pam
from pixelwise.maps.saving import check_output, hidden_beside, inputs_of, save_bytes
from pixelwise.maps.tiles import TILE
from pixelwise.pictures.agreement import disagreements
from pixelwise.pictures.choosing import bands_for, scheme_of
from pixelwise.pictures.palettes import MISSING_COLOR, OUTSIDE_COLOR, rgb
from pixelwise.pictures.scheme import MISSING, OUTSIDE, ContinuousScheme, Scheme, TestScheme
from pixelwise.pictures.source import Source
from pixelwise.pictures.tally import Tally, tally_of
from pixelwise.pictures.thinned import thinned
from pixelwise.pictures.values import ends_of
from pixelwise.rasters.datasets import GDAL_ERRORS, open_alone
from pixelwise.words import one_line

__all__ = ["TAG_CLASSES", "classify", "is_classified", "scheme_for", "table_of"]

log = logging.getLogger(__name__)

#: What a classified file says of its classes, as JSON: the band, the labels, and what the limits refer to.
TAG_CLASSES = "PIXELWISE_CLASSES"

TIFF = (".tif", ".tiff")
#: What is written beside a file ``classes.tif``: names for GDAL, and a style that QGIS loads with it.
STYLE = ".qml"

MISSING_LABEL, OUTSIDE_LABEL = "missing", "outside the area"

#: Columns of the table of areas.
COLUMNS = ("code", "class", "pixels", "km2", "share_of_tested", "share_of_values", "share_of_region")


def classify(
    map_: Map,
    path: str | Path,
    band: str | None = None,
    *,
    classes: str | Sequence[float] | None = None,
    significant: float | None = None,
    pvalue: str | None = None,
    table: str | Path | None = None,
    overwrite: bool = False,
) -> Tally:
    """Write the classes of a band as a GeoTIFF of bytes, with a style for QGIS, and a table of their areas.

    Each pixel holds the number of its class; 255 is missing, and 254 is outside the area that was asked for. The file
    has a colour table; names of classes are in ``FILE.aux.xml``, where GDAL keeps them, and in the tag
    ``PIXELWISE_CLASSES``; QGIS finds the style in ``FILE.qml``.

    Parameters
    ----------
    map_
        What `apply` or `open_map` returns.
    path
        The file, ``.tif``.
    band, classes, significant, pvalue
        As in `plot_map`; not ``continuous``.
    table
        A ``.csv`` file of areas by class: pixels, square kilometres on the ellipsoid, and shares of the area with a
        test, with values, and of all that was asked for.
    overwrite
        Whether existing files may be replaced.

    Returns
    -------
    Tally
        What each class covers.

    Raises
    ------
    ParameterError
        When the band is unknown or the classes are impossible for it.
    OutputError
        When a file exists or cannot be written.
    """
    inputs = inputs_of(map_)

    def checked() -> tuple[Path, Path, Path | None]:
        target = check_output(path, overwrite=overwrite, suffixes=TIFF, inputs=inputs)
        style = check_output(target.with_suffix(STYLE), overwrite=overwrite, suffixes=(STYLE,), inputs=inputs)
        PendingFile(target).check_beside(overwrite=overwrite)
        sheet = None if table is None else check_output(table, overwrite=overwrite, suffixes=(".csv",), inputs=inputs)
        return target, style, sheet

    target, style, sheet = checked()
    name = map_.bands[0].name if band is None else band
    scheme = scheme_for(map_, name, classes=classes, significant=significant, pvalue=pvalue)
    if isinstance(scheme, ContinuousScheme):
        raise ParameterError("a colour bar (continuous) has no classes: choose quantile:K, equal:K or limits")
    temporary = hidden_beside(target)
    try:
        with create(temporary):
            pass  # of an unpredictable name, and ours
        with _raster(temporary, map_, scheme) as write:
            tally = tally_of(map_, scheme, write)
        checked()  # it took minutes
        # In this order, whenever it is stopped, no classes have the names, colours or overviews of others.
        for stale in (*(target.with_name(target.name + suffix) for suffix in SIDECARS), style):
            stale.unlink(missing_ok=True)
        temporary.replace(target)
    except (OSError, RasterioError) as error:
        raise OutputError(f"{target}: cannot be written ({one_line(error)})") from None
    finally:
        remove(temporary)
    save_bytes(_category_names(scheme).encode(), pam(target), overwrite=overwrite)
    save_bytes(_style(scheme).encode(), style, overwrite=overwrite)
    for text in disagreements(map_) if isinstance(scheme, TestScheme) and name == map_.bands[0].name else ():
        log.warning(text)
    if sheet is not None:
        save_bytes(table_of(tally).encode(), sheet, overwrite=overwrite)
    return tally


def scheme_for(source: Source, name: str, **wishes: Any) -> Scheme:
    """Return the classes of a band of a map of any size, for all of its pixels.

    Limits between classes of large maps come from evenly spread pixels; the lowest and the highest value, and whether
    there are infinite ones, from all.
    """
    band = source.band(name)
    if band.kind == "code":
        return scheme_of(source, name, **wishes)
    some = thinned(source, bands_for(source, name, wishes.get("pvalue")))
    return scheme_of(some, name, **wishes, ends=None if some is source else lambda: ends_of(source, band))


def is_classified(path: Path) -> bool:
    """Whether `classify` wrote a file, or began to."""
    try:
        with open_alone(path) as dataset:
            return dataset.get_tag_item(TAG_CLASSES) is not None
    except (*GDAL_ERRORS, InputError):
        return False


def table_of(tally: Tally) -> str:
    """Return the areas of classes as CSV in the order of legends, then what is missing."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    columns = tally.shares_of_tested, tally.shares, tally.shares_of_region
    for code in tally.scheme.listed:
        km2 = "" if tally.km2 is None else f"{tally.km2[code]:.6f}"
        shares = ("" if np.isnan(column[code]) else f"{column[code]:.6f}" for column in columns)
        writer.writerow([code, tally.scheme.classes[code].label, tally.pixels[code], km2, *shares])
    km2 = "" if tally.km2 is None else f"{tally.missing_km2:.6f}"
    writer.writerow([MISSING, MISSING_LABEL, tally.missing_pixels, km2, "", "", f"{tally.missing:.6f}"])
    return stream.getvalue()


def _opened(path: Path, mode: str, **profile: Any) -> Any:
    """Open a file with GDAL; missing georeferencing is legal here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, mode, **profile)


@contextmanager
def _raster(path: Path, map_: Map, scheme: Scheme) -> Iterator[Any]:
    """Yield a function that writes a block of codes into a file."""
    grid = map_.grid
    edge = {"tiled": True, "blockxsize": TILE, "blockysize": TILE} if min(grid.height, grid.width) >= TILE else {}
    colors = {code: (*rgb(one.color), 255) for code, one in enumerate(scheme.classes)}
    colors |= {MISSING: (*rgb(MISSING_COLOR), 0), OUTSIDE: (*rgb(OUTSIDE_COLOR), 0)}
    dataset = _opened(
        path, "w", driver="GTiff", count=1, height=grid.height, width=grid.width, dtype="uint8", crs=grid.crs,
        transform=grid.transform, nodata=MISSING, compress="deflate", bigtiff="if_safer", sparse_ok=True, **edge,
    )  # fmt: skip
    # Its head is on disk first, and locked: so `pixelwise clean` knows what a killed command left, and what is in use.
    with dataset:
        dataset.write_colormap(1, colors)
        dataset.set_band_description(1, f"{scheme.band.name} in classes")
        dataset.update_tags(**{TAG_CLASSES: _said(map_, scheme)})
    with open_ours(path) as held, _opened(path, "r+") as dataset:
        lock(held)

        def write(block: Block, codes: NDArray[np.uint8]) -> None:
            dataset.write(codes, 1, window=Window(block.col, block.row, block.width, block.height))

        yield write


def _said(map_: Map, scheme: Scheme) -> str:
    """Return the tag: what was classified, and how."""
    said: dict[str, Any] = {
        "band": scheme.band.name,
        "classes": [one.label for one in scheme.classes],
        "map": [path.name for path in map_.paths],
        "method": map_.provenance.get("method"),
    }
    if isinstance(scheme, TestScheme):
        said |= {"pvalue": scheme.pvalue, "levels": list(scheme.levels), "adjusted": scheme.adjusted}
    return json.dumps(said)


def _category_names(scheme: Scheme) -> str:
    """Return GDAL's sidecar with the names of classes."""
    labels = [one.label for one in scheme.classes]
    labels += [""] * (OUTSIDE - len(labels)) + [OUTSIDE_LABEL, MISSING_LABEL]
    names = "".join(f"<Category>{escape(label)}</Category>" for label in labels)
    return f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>\n'


def _style(scheme: Scheme) -> str:
    """Return the style that QGIS loads with a file of the same name."""
    entries = [(code, scheme.classes[code].color, scheme.classes[code].label, 255) for code in scheme.listed]
    entries.append((OUTSIDE, OUTSIDE_COLOR, OUTSIDE_LABEL, 0))
    colors = "\n".join(
        f'        <paletteEntry value="{code}" color="{color}" alpha="{alpha}" label={quoteattr(label)}/>'
        for code, color, label, alpha in entries
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <rasterTransparency/>
      <colorPalette>
{colors}
      </colorPalette>
    </rasterrenderer>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""
