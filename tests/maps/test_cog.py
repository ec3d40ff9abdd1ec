"""Maps as cloud-optimized GeoTIFF: the same map, and overviews that suit each band."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

import pixelwise as pw
from pixelwise.errors import ParameterError
from pixelwise.maps.cog import levels_of
from pixelwise.verify import verify
from support.rasters import MakeStack, random_series
from support.stopping import Stop, hidden, stopped_after


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> pw.RasterStack:
    """Return a stack that needs two overviews."""
    from support.rasters import write_raster

    folder = tmp_path_factory.mktemp("large")
    for year, layer in enumerate(random_series((4, 1400, 600), seed=2, gaps=0.5), 2000):
        write_raster(folder / f"ndvi_{year}.tif", layer, tiled=True, blockxsize=256, blockysize=256)
    return pw.open_stack(folder)


def halved(values: Any, how: Any) -> Any:
    """Return (y, x) of squares of two pixels."""
    height, width = values.shape[0] // 2, values.shape[1] // 2
    squares = values[: 2 * height, : 2 * width].reshape(height, 2, width, 2).swapaxes(1, 2).reshape(height, width, 4)
    return how(squares)


@pytest.mark.parametrize(
    ("size", "levels"), [((512, 512), ()), ((513, 10), (2,)), ((1400, 600), (2, 4)), ((9000, 5000), (2, 4, 8, 16, 32))]
)
def test_overviews_end_where_one_tile_holds_all(size: tuple[int, int], levels: tuple[int, ...]) -> None:
    assert levels_of(*size) == levels


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # means of nothing
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_map_with_overviews(large: pw.RasterStack, out: Path, dtype: str) -> None:
    wanted = pw.apply(large, "ols", dtype=dtype, bands=["slope", "n"])
    made = pw.apply(large, "ols", out / "trend.tif", driver="COG", dtype=dtype, bands=["slope", "n"])
    assert [path.name for path in out.iterdir()] == ["trend.tif"]
    assert (made.bands, made.grid) == (wanted.bands, wanted.grid)
    for name in wanted:
        np.testing.assert_array_equal(made[name], wanted[name])
    valid, errors, warnings = cog_validate(str(out / "trend.tif"), strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(out / "trend.tif") as found:
        assert found.descriptions == ("slope", "n", "status")
        assert found.units[0] == "1/year"
        assert found.overviews(1) == found.overviews(3) == [2, 4]
        assert found.compression.name == "zstd"
    with rasterio.open(out / "trend.tif", overview_level=0) as found:
        slope, n, status = found.read()
    mean = halved(wanted["slope"], lambda squares: np.nanmean(squares, axis=-1))
    np.testing.assert_allclose(slope, mean, atol=1e-6)  # missing only where all four pixels are
    for codes, name in ((n, "n"), (status, "status")):
        assert halved(wanted[name], lambda squares, own=codes: (squares == own[..., None]).any(axis=-1)).all()


def test_one_file_per_band(large: pw.RasterStack, out: Path) -> None:
    wanted = pw.apply(large, "ols", bands=["slope", "n"])
    made = pw.apply(large, "ols", out / "t_{band}.tif", driver="COG", bands=["slope", "n"])
    for name in wanted:
        np.testing.assert_array_equal(made[name], wanted[name])
        assert cog_validate(str(out / f"t_{name}.tif"), strict=True)[0]
    with rasterio.open(out / "t_status.tif") as found:
        assert found.dtypes == ("uint8",)
    assert hidden(out) == []


def test_a_small_map_has_no_overviews(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    """And a stopped job goes on; stacks beside it are plain GeoTIFF."""
    options: dict[str, Any] = {"driver": "COG", "write": {"fitted": out / "fitted.tif"}, "compress": "deflate"}
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.tif", executor="inline", progress=stopped_after(3), **options)
    assert hidden(out) == [".fitted.partial.tif", ".trend.tif.journal", ".trend.tif.partial"]
    pw.apply(stack, "ols", out / "trend.tif", **options)
    assert hidden(out) == []
    assert cog_validate(str(out / "trend.tif"), strict=True)[0]
    assert verify(out / "trend.tif", tmp_path / "stack", pixels=100).differing == 0
    with rasterio.open(out / "fitted.tif") as found:
        assert found.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG"
    with rasterio.open(out / "trend.tif") as found:
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert found.compression.name == "deflate"


def test_a_crs_without_a_code(make_stack: MakeStack, out: Path) -> None:
    """GDAL keeps it in a sidecar, which gets its name with the map."""
    pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +datum=WGS84 +no_defs"
    stack = pw.open_stack(make_stack(random_series((4, 20, 30)), crs=pole))
    made = pw.apply(stack, "ols", out / "trend.tif", driver="COG")
    assert made.grid == stack.grid
    assert sorted(path.name for path in out.iterdir()) == ["trend.tif", "trend.tif.aux.xml"]


def test_only_geotiff_can_be_one(stack: pw.RasterStack, out: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"trend.zarr: driver COG makes GeoTIFFs: expected a name that ends in .tif"
    ):
        pw.apply(stack, "ols", out / "trend.zarr", driver="COG")
    with pytest.raises(ParameterError, match="driver='cog' is not one of GTiff, COG"):
        pw.apply(stack, "ols", out / "trend.tif", driver="cog")  # type: ignore[arg-type]
    assert not any(out.iterdir())
