"""Maps, in memory and in files."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.maps.map import Map, Timings
from pixelwise.maps.tag import decode_provenance, encode_provenance
from support.rasters import random_series, write_raster


@pytest.fixture
def trend(make_stack: Any) -> pw.Map:
    return pw.apply(pw.open_stack(make_stack(random_series((6, 8, 9)))), "ols")


def test_bands_are_arrays(trend: pw.Map) -> None:
    assert list(trend) == ["slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr", "n", "status"]
    assert len(trend) == 8
    assert "slope" in trend
    assert trend["slope"].shape == (8, 9)
    assert trend["slope"].dtype == np.float32
    assert trend["n"].dtype == np.int32
    assert trend.status.dtype == np.uint8
    assert trend.paths == ()
    with pytest.raises(pw.ParameterError, match="did you mean 'slope'"):
        trend["sloppe"]


def test_a_map_is_shown_in_one_line(trend: pw.Map) -> None:
    assert repr(trend).startswith("<Map: slope, intercept,")
    assert repr(trend).endswith("status; 9 x 8 pixels (width x height), EPSG:32617; in memory>")


def test_a_map_without_its_band_is_refused(trend: pw.Map) -> None:
    with pytest.raises(ValueError, match="slope has neither an array nor a file"):
        Map(trend.grid, trend.bands)


def test_open_map_gives_the_same(make_stack: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(make_stack(random_series((6, 8, 9))))
    written = pw.apply(stack, "ols", tmp_path / "trend.tif")
    opened = pw.open_map(tmp_path / "trend.tif")
    assert opened.bands == written.bands
    assert opened.grid == stack.grid
    assert opened.provenance == written.provenance
    for name in written:
        assert opened[name].tobytes() == written[name].tobytes()
    assert opened.band("slope").unit == "1/year"
    assert opened.band("n").integer


@pytest.mark.parametrize("name", ["trend.tif", "trend_{band}.tif", "trend.zarr", "trend.nc", "cog"])
def test_every_format_keeps_what_the_numbers_are(make_stack: Any, tmp_path: Path, name: str) -> None:
    form = {"driver": "COG"} if name == "cog" else {}
    path = tmp_path / (name if name != "cog" else "trend.tif")
    pw.apply(pw.open_stack(make_stack(random_series((6, 8, 9)))), "ols", path, **form)
    opened = pw.open_map(path)
    found = {band.name: (band.kind, band.pvalue) for band in opened.bands}
    assert found["slope"] == ("change", "pvalue")
    assert found["rvalue"] == ("correlation", "pvalue")
    assert found["pvalue"] == ("test", "")
    assert (found["stderr"][0], found["n"][0], found["status"][0]) == ("level", "count", "code")


def test_an_unknown_kind_in_a_file_is_left_out(trend: pw.Map, make_stack: Any, tmp_path: Path) -> None:
    pw.apply(pw.open_stack(make_stack(random_series((6, 8, 9)))), "ols", tmp_path / "trend.tif")
    with rasterio.open(tmp_path / "trend.tif", "r+") as dataset:
        dataset.update_tags(1, KIND="whatever", PVALUE="pvalue")
        dataset.update_tags(2, KIND="level", PVALUE="pvalue")
    slope, intercept = pw.open_map(tmp_path / "trend.tif").bands[:2]
    assert (slope.kind, slope.pvalue, intercept.kind, intercept.pvalue) == ("", "", "level", "")


def test_units_of_the_input_reach_the_map(make_stack: Any, tmp_path: Path) -> None:
    folder = make_stack(random_series((4, 3, 3)))
    for path in folder.iterdir():
        with rasterio.open(path, "r+") as dataset:
            dataset.units = ("mm",)
    pw.apply(pw.open_stack(folder), "ols", tmp_path / "trend.tif")
    with rasterio.open(tmp_path / "trend.tif") as dataset:
        assert dataset.units[:2] == ("mm/year", "mm")


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "other.tif", np.zeros((3, 3), np.float32))
    with pytest.raises(pw.InputError, match="not a pixelwise map"):
        pw.open_map(path)
    with pytest.raises(pw.InputError, match=r"nowhere\.tif"):
        pw.open_map(tmp_path / "nowhere.tif")
    with pytest.raises(pw.InputError, match="no such file"):
        pw.open_map(tmp_path / "nowhere_{band}.tif")


def test_long_provenance_is_compressed() -> None:
    short, long = {"a": "é"}, {"files": [{"path": f"scene_{i}.tif"} for i in range(1000)]}
    assert json.loads(encode_provenance(short)) == short
    assert encode_provenance(long).startswith("zlib:")
    assert len(encode_provenance(long)) < len(json.dumps(long)) / 3
    for provenance in (short, long):
        assert decode_provenance(encode_provenance(provenance)) == provenance


@pytest.mark.parametrize("tag", ["{bad", "zlib:xxxx", "zlib:eJwrSS0uAQAEXQHB", "[]", "3"])
def test_a_damaged_tag_is_told_so(make_stack: Any, tmp_path: Path, tag: str) -> None:
    path = tmp_path / "trend.tif"
    pw.apply(pw.open_stack(make_stack(random_series((4, 3, 3)))), "ols", path)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(PIXELWISE=tag)
    with pytest.raises(pw.InputError, match=r"trend\.tif: the tag PIXELWISE is damaged"):
        pw.open_map(path)


@pytest.mark.parametrize(
    "files", ["/etc/{band}.tif", "../{band}.tif", "/vsicurl/http://127.0.0.1:1/{band}.tif", "a\\{band}.tif", 3, ""]
)
def test_a_tag_leads_nowhere_but_to_its_own_folder(make_stack: Any, tmp_path: Path, files: Any) -> None:
    path = tmp_path / "trend_slope.tif"
    pw.apply(pw.open_stack(make_stack(random_series((4, 3, 3)))), "ols", tmp_path / "trend_{band}.tif")
    provenance = {**dict(pw.open_map(path).provenance), "files": files}
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(PIXELWISE=encode_provenance(provenance))
    with pytest.raises(pw.InputError, match="does not name files of this folder"):
        pw.open_map(path)


def test_provenance_is_strict_json(make_stack: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(make_stack(random_series((4, 3, 3))), nodata=float("nan"))
    pw.apply(stack, "ols", tmp_path / "trend.tif")
    assert pw.open_map(tmp_path / "trend.tif").provenance["input"]["spec"] == {"nodata": ["nan"]}
    with pytest.raises(ValueError, match="Out of range float"):
        encode_provenance({"x": float("nan")})


def test_to_xarray(trend: pw.Map) -> None:
    dataset = trend.to_xarray()
    np.testing.assert_array_equal(dataset["slope"].values, trend["slope"])
    assert dataset["slope"].dims == ("y", "x")
    assert float(dataset["x"][0]) == 500015.0
    assert float(dataset["y"][0]) == 3399985.0
    assert dataset["x"].attrs["standard_name"] == "projection_x_coordinate"
    assert dataset["slope"].attrs["units"] == "year-1"
    assert dataset["slope"].attrs["long_name"]
    assert "units" not in dataset["intercept"].attrs
    assert dataset["n"].dtype == np.int32
    assert dataset["n"].attrs["units"] == "1"
    status = dataset["status"]
    assert status.dtype == np.uint8
    assert status.attrs["flag_values"].dtype == np.uint8
    meanings = dict(zip(status.attrs["flag_values"].tolist(), status.attrs["flag_meanings"].split(), strict=True))
    assert meanings[3] == "constant_series"
    assert decode_provenance(dataset.attrs["PIXELWISE"]) == trend.provenance


def test_a_band_with_the_name_of_a_coordinate_is_no_variable(make_stack: Any) -> None:
    stack = pw.open_stack(make_stack(random_series((4, 3, 3))))
    found = pw.apply(stack, pw.per_pixel(lambda values: (values.mean(), values.min()), bands=("mean", "x")))
    with pytest.raises(pw.ParameterError, match=r"band 'x' has the name of a coordinate of the dataset: read it as"):
        found.to_xarray()


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_rioxarray_knows_where_a_map_is(trend: pw.Map, tmp_path: Path) -> None:
    import rioxarray  # noqa: F401 - registers .rio

    for dataset in (trend.to_xarray(), _through_netcdf(trend.to_xarray(), tmp_path / "map.nc")):
        assert dataset.rio.crs == trend.grid.crs
        assert dataset["slope"].rio.grid_mapping == "spatial_ref"
        assert tuple(dataset.rio.transform()) == tuple(trend.grid.transform)
        assert dataset["status"].dtype == np.uint8
        assert dataset["n"].dtype == np.int32


def _through_netcdf(dataset: Any, path: Path) -> Any:
    import xarray

    dataset.to_netcdf(path)
    return xarray.open_dataset(path, decode_coords="all")


def test_timings(trend: pw.Map) -> None:
    assert trend.timings.pixels == 72
    assert trend.timings.bytes_read == 72 * 6 * 4
    assert 0 < trend.timings.total < 60


def test_a_written_map_keeps_its_timings(make_stack: Any, tmp_path: Path) -> None:
    written = pw.apply(pw.open_stack(make_stack(random_series((6, 8, 9)))), "ols", tmp_path / "trend.tif")
    kept = pw.open_map(tmp_path / "trend.tif").timings
    assert kept.pixels == 72
    assert kept.read == round(written.timings.read, 3)
    assert 0 < kept.total <= written.timings.total + 0.001


@pytest.mark.parametrize("found", [None, 5, {"read": "fast", "pixels": None}, {"unknown": 1}])
def test_a_tag_without_timings_has_none(found: Any) -> None:
    assert Timings.from_provenance({"timings": found}) == Timings()
    assert str(Timings(1, 2, 6, 3, 4, 5, 5_000_000, 2_000_000)) == (
        "read 1.00 s, kernel 2.00 s, encode 6.00 s (all workers); write 3.00 s, wait 4.00 s; total 5.00 s, 2 MB, "
        "1.00 Mpx/s"
    )


def test_an_error_while_the_map_is_brought_to_disk_is_told(
    make_stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The system tells such an error once, to whoever syncs first: that is the thread beside the job.
    calls = []

    def fail_first(path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")

    stack = pw.open_stack(make_stack(random_series((6, 64, 64)), tiled=True, blockxsize=16, blockysize=16))
    monkeypatch.setattr("pixelwise.maps.disk.sync", fail_first)
    monkeypatch.setattr("pixelwise.maps.files.SYNC_BYTES", 1)
    (tmp_path / "out").mkdir()
    with pytest.raises(pw.OutputError, match=r"trend\.tif: cannot be flushed to disk \(Input/output error\)$"):
        pw.apply(stack, "ols", tmp_path / "out" / "trend.tif")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_error_names_the_map_once(tmp_path: Path) -> None:
    write_raster(tmp_path / "map.tif", np.zeros((4, 5), "float32"))
    (tmp_path / "map.tif.ovr").write_text("no raster")
    with pytest.raises(pw.InputError) as raised:
        pw.open_map(tmp_path / "map.tif")
    sidecar = tmp_path / "map.tif.ovr"
    assert (
        str(raised.value)
        == f"{tmp_path / 'map.tif'}: its sidecar {sidecar} is not a raster as GDAL writes it; remove it"
    )


@pytest.mark.parametrize("name", ["copy.tif", "copy_{band}.tif", "copy.zarr", "copy.nc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_map_in_memory_is_saved_as_if_it_had_been_written(
    make_stack: Any, tmp_path: Path, name: str, dtype: str
) -> None:
    stack = pw.open_stack(make_stack(random_series((6, 50, 70))))
    here = pw.apply(stack, "ols", dtype=dtype)
    direct = pw.apply(stack, "ols", tmp_path / f"direct_{name}", dtype=dtype)
    (tmp_path / "there").mkdir()
    saved = here.save(tmp_path / "there" / name)
    assert saved.bands == direct.bands == pw.open_map(tmp_path / "there" / name).bands
    for band in direct:
        assert saved[band].dtype == direct[band].dtype
        assert saved[band].tobytes() == direct[band].tobytes()
    # Paths lead from where the map is to the same files.
    folder = saved.paths[0].parent
    files = [folder / one["path"] for one in saved.provenance["input"]["files"]]
    assert [file.resolve() for file in files] == [path.resolve() for path in stack.paths]
    with pytest.raises(pw.OutputError, match="already exists; --overwrite replaces it"):
        here.save(tmp_path / "there" / name)
    again = saved.save(tmp_path / "again.tif", driver="COG")
    assert again["slope"].tobytes() == direct["slope"].tobytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_what_is_saved_is_verified(make_stack: Any, tmp_path: Path) -> None:
    from pixelwise.verify.compare import verify

    pw.apply(pw.open_stack(make_stack(random_series((6, 20, 30)))), "ols").save(tmp_path / "trend.tif")
    result = verify(tmp_path / "trend.tif", everything=True)
    assert (result.differing, result.pixels) == (0, 600)


def test_a_map_without_status_is_not_saved(trend: pw.Map, tmp_path: Path) -> None:
    bare = Map(trend.grid, trend.bands[:2], arrays={name: trend[name] for name in trend.names[:2]})
    with pytest.raises(pw.ParameterError, match="the last band of a map is status, but this one's is intercept"):
        bare.save(tmp_path / "bare.tif")
