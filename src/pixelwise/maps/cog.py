"""Cloud-optimized GeoTIFF: a copy of a finished map by GDAL's driver, with overviews that suit each band."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterio.shutil import copy

from pixelwise.maps.converted import Conversion
from pixelwise.maps.geotiff import check_geotiff
from pixelwise.maps.map import open_quietly
from pixelwise.maps.outputs import Content
from pixelwise.maps.publish import PendingFile, pam
from pixelwise.maps.tiles import OPTIONS
from pixelwise.rasters.datasets import local_only
from pixelwise.rasters.handles import CACHE_BYTES

__all__ = ["CloudOptimized"]

#: The edge of tiles, and the size up to which an overview is the smallest: GDAL's own for such files.
EDGE = 512


class CloudOptimized(Conversion):
    """Copies a GeoTIFF by GDAL's COG driver; see `Conversion`.

    The driver makes all overviews of a file by one resampling: averages of status codes would be codes that no pixel
    has, and the nearest of neighbours would be a noisy picture of numbers. So it is given overviews to copy: a VRT
    before the GeoTIFF computes them while it is read, averages of numbers and the nearest of whole numbers.

    Parameters
    ----------
    compress
        As for GeoTIFF.
    """

    def __init__(self, compress: str) -> None:
        self._compress = compress

    def make(self, source: Path, target: Path, content: Content, provenance: Mapping[str, Any]) -> None:
        """Write the copy; a VRT is left beside the source."""
        levels = levels_of(content.grid.height, content.grid.width)
        options = {name.replace("zlevel", "level").replace("zstd_level", "level"): value
                   for name, value in OPTIONS[self._compress].items()}  # fmt: skip
        view = source.with_name("overviews.vrt")
        target.unlink(missing_ok=True)
        # The environment may allow the cache 5 % of the machine's memory.
        with local_only(GDAL_CACHEMAX=CACHE_BYTES):
            copy(source, view, driver="VRT")
            _add_overviews(view, content, levels)
            copy(
                view, target, driver="COG", blocksize=EDGE, bigtiff="IF_SAFER", num_threads=1, statistics="NO",
                overviews="FORCE_USE_EXISTING" if levels else "NONE", **{"compress": "NONE", **options},
            )  # fmt: skip
        # For a CRS that has no code, GDAL writes a sidecar of its own; the check writes one that is known as ours.
        pam(target).unlink(missing_ok=True)

    def check(self, path: Path, content: Content) -> None:
        """Open the copy as any reader would; OutputError if it is not as it must be."""
        check_geotiff(PendingFile(content.path, path), content)
        with open_quietly(path) as dataset:
            expected = list(levels_of(content.grid.height, content.grid.width))
            if dataset.overviews(1) != expected:
                raise AssertionError(f"{path} has overviews {dataset.overviews(1)} instead of {expected}")


def levels_of(height: int, width: int) -> tuple[int, ...]:
    """Return how many times smaller each overview is: halved until the whole fits into a tile."""
    levels: list[int] = []
    while max(height, width) / 2 ** len(levels) > EDGE:
        levels.append(2 ** (len(levels) + 1))
    return tuple(levels)


def _add_overviews(view: Path, content: Content, levels: tuple[int, ...]) -> None:
    """Let a VRT of a map have virtual overviews."""
    tree = ET.parse(view)  # noqa: S314
    root = tree.getroot()
    for band, element in zip(content.bands, root.findall("VRTRasterBand"), strict=True):
        source = element.find("SimpleSource")
        if source is not None and not band.integer:
            # A simple source would take the nearest pixel whatever is asked, and would not know what is missing.
            source.tag = "ComplexSource"
            source.set("resampling", "average")
            ET.SubElement(source, "NODATA").text = "nan"
    if levels:
        ET.SubElement(root, "OverviewList").text = " ".join(map(str, levels))
    tree.write(view, encoding="utf-8")
