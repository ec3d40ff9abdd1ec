"""A static STAC catalogue on disk, of tiny GeoTIFFs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pystac

from support.rasters import PROFILE, write_raster

TRANSFORM = PROFILE["transform"]
#: Where the files lie, roughly.
BBOX = [-81.0, 30.7, -80.95, 30.75]


def write_catalogue(folder: Path, assets: dict[str, Any], times: list[datetime], nodata: int = 0) -> Path:
    """Write (time, y, x) integers of each asset as one GeoTIFF per time, and a catalogue of them; return its path."""
    catalogue = pystac.Catalog("scenes", "tiny scenes")
    west, south, east, north = BBOX
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    for number, time in enumerate(times):
        place = {"type": "Polygon", "coordinates": [ring]}
        item = pystac.Item(f"scene-{number}", place, BBOX, time, {"proj:code": PROFILE["crs"]})
        item.stac_extensions = [
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ]
        for name, values in assets.items():
            layer = values[number]
            path = write_raster(folder / "files" / f"{name}-{number}.tif", layer, nodata=nodata)
            about = {
                "proj:shape": list(layer.shape),
                "proj:transform": list(TRANSFORM)[:6],
                "raster:bands": [{"data_type": str(layer.dtype), "nodata": nodata}],
            }
            item.add_asset(name, pystac.Asset(str(path), media_type="image/tiff", roles=["data"], extra_fields=about))
        catalogue.add_item(item)
    catalogue.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"
