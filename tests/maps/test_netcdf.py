"""Maps and stacks as NetCDF: made of a GeoTIFF that the journal knows, and read by others."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - the accessor `rio`
import xarray as xr
from affine import Affine
from click.testing import CliRunner
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.verify import verify
from support.stopping import Stop, hidden, stopped_after

UTM = CRS.from_epsg(32617)


@pytest.fixture
def whole(stack: pw.RasterStack, tmp_path: Path) -> pw.Map:
    """Return the map as GeoTIFF."""
    return pw.apply(stack, "ols", tmp_path / "whole.tif")


def same(found: pw.Map, wanted: pw.Map) -> None:
    assert found.bands == wanted.bands
    assert found.grid == wanted.grid
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype
        np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.parametrize("options", [{}, {"compress": "none", "dtype": "float64"}])
def test_a_file_is_the_map(
    stack: pw.RasterStack, whole: pw.Map, out: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    made = pw.apply(stack, "ols", out / "trend.nc", **options)
    assert [path.name for path in out.iterdir()] == ["trend.nc"]
    if options:
        whole = pw.apply(stack, "ols", dtype="float64")
    same(made, whole)
    same(pw.open_map(out / "trend.nc"), whole)
    assert verify(out / "trend.nc", tmp_path / "stack", pixels=200).differing == 0
    with netCDF4.Dataset(out / "trend.nc") as found:
        filters = found["slope"].filters()
        assert (filters["zlib"], filters["shuffle"]) == ((False, False) if options else (True, True))


def test_others_read_it(stack: pw.RasterStack, whole: pw.Map, out: Path) -> None:
    pw.apply(stack, "ols", out / "trend.nc")
    with xr.open_dataset(out / "trend.nc") as found:
        assert list(found.data_vars) == list(whole.names)
        assert (found.n.dtype, found.status.dtype, found.slope.dtype) == ("int32", "uint8", "float32")
        assert found.rio.crs == found.slope.rio.crs == UTM
        np.testing.assert_array_equal(found.x[:2], [500015, 500045])
        np.testing.assert_array_equal(found.slope.values, whole["slope"])
        assert found.attrs["Conventions"] == "CF-1.11"
        assert json.loads(found.attrs["PIXELWISE"])["method"] == "ols"
    for name in ("slope", "n", "status"):
        with rasterio.open(f"netcdf:{out}/trend.nc:{name}") as found:
            np.testing.assert_array_equal(found.read(1), whole[name])
            assert (found.crs, found.transform) == (UTM, whole.grid.transform)


def test_a_stopped_job_goes_on(
    stack: pw.RasterStack, whole: pw.Map, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.nc", executor="inline", progress=stopped_after(5))
    assert hidden(out) == [".trend.nc.journal", ".trend.nc.partial"]
    with caplog.at_level(logging.INFO):
        same(pw.apply(stack, "ols", out / "trend.nc"), whole)
    assert "resuming:" in caplog.text
    assert hidden(out) == []


def test_a_conversion_that_was_stopped_is_done_again(
    stack: pw.RasterStack, whole: pw.Map, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pw.apply(stack, "ols", out / "trend.nc", min_valid=1.0)
    before = (out / "trend.nc").read_bytes()
    for function in ("netcdf.NetCdf._create", "files.publish"):
        with monkeypatch.context() as patched:
            patched.setattr(f"pixelwise.maps.{function}", lambda *_, **__: (_ for _ in ()).throw(Stop()))
            with pytest.raises(Stop):
                pw.apply(stack, "ols", out / "trend.nc", overwrite=True)
        assert (out / "trend.nc").read_bytes() == before
        assert "100 %" in caplog.text or function.startswith("netcdf")
        cleaned = CliRunner().invoke(main, ["clean", str(out / "..")])
        assert not cleaned.stdout
        caplog.set_level(logging.INFO)
    same(pw.apply(stack, "ols", out / "trend.nc", overwrite=True), whole)
    assert "the map was already complete and only gets its final name" in caplog.text
    assert hidden(out) == []


def test_clean_keeps_a_complete_map_and_removes_others(stack: pw.RasterStack, out: Path) -> None:
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.nc", executor="inline", progress=stopped_after(3))
    assert ".trend.nc.partial" in CliRunner().invoke(main, ["clean", str(out)]).stdout
    assert hidden(out) == []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pixelwise.maps.files.publish", lambda *_, **__: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.nc")
    assert "it holds a complete map: run the job again" in CliRunner().invoke(main, ["clean", str(out)]).stderr
    assert hidden(out) == [".trend.nc.partial"]


def test_layers_come_back_as_they_were(stack: pw.RasterStack, out: Path) -> None:
    pw.apply(stack, "ols", out / "trend.nc", write={"residuals": out / "left.nc"})
    for path in (out / "left.nc", pw.write_layers(stack, out / "layers.nc")):
        found = pw.open_stack(path)
        np.testing.assert_array_equal(found.axis.years, stack.axis.years)
        assert (found.axis.precision, found.grid) == ("year", stack.grid)
    np.testing.assert_array_equal(found.read(stack.grid.block), stack.read(stack.grid.block))
    assert pw.open_map(out / "left.nc").names == ("2000", "2001", "2002", "2003", "2004")


def test_composites_of_the_command_line(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    for name in ("annual.nc", "annual.zarr"):
        command = ["composite", str(tmp_path / "stack"), "--composite", "mean", "-o", str(out / name), "--quiet"]
        assert CliRunner().invoke(main, command).exit_code == 0
        made = CliRunner().invoke(main, ["apply", "ols", str(out / name), "-o", str(out / f"of_{name}"), "--quiet"])
        assert made.exit_code == 0, made.output
        same(pw.open_map(out / f"of_{name}"), pw.apply(stack, "ols"))


@pytest.mark.parametrize("compress", ["zstd", "lzw"])
def test_only_what_every_reader_knows(stack: pw.RasterStack, out: Path, compress: Any) -> None:
    with pytest.raises(ParameterError, match="not every NetCDF reader supports it; expected deflate or none"):
        pw.apply(stack, "ols", out / "trend.nc", compress=compress)
    with pytest.raises(OutputError, match="one NetCDF output holds all bands"):
        pw.apply(stack, "ols", out / "trend_{band}.nc")
    assert not any(out.iterdir())


def test_a_foreign_file_stays(stack: pw.RasterStack, out: Path) -> None:
    xr.Dataset({"a": (("y", "x"), np.zeros((3, 3)))}).to_netcdf(out / "trend.nc")
    (out / "text.nc").write_bytes(b"notes")
    for name in ("trend.nc", "text.nc"):
        before = (out / name).read_bytes()
        with pytest.raises(OutputError, match="is not a pixelwise map, and only maps are replaced"):
            pw.apply(stack, "ols", out / name, overwrite=True)
        assert (out / name).read_bytes() == before
        with pytest.raises(InputError, match=r"has no bands as pixelwise writes them|cannot be read"):
            pw.open_map(out / name)


def test_many_layers_a_long_record_and_a_rotated_grid(out: Path) -> None:
    """More layers than a chunk holds, and a provenance of 200 kB."""
    grid = Grid(UTM, Affine(1, 0.5, 0, 0.5, -1, 0), 20, 300)

    class Numbers:
        axis = pw.TimeAxis.from_times(np.arange(1900.0, 1940.0))

        def __init__(self) -> None:
            self.grid = grid

        def read(self, block: Block) -> Any:
            return np.random.default_rng(0).normal(size=(40, block.height, block.width))

    wanted = pw.apply(Numbers(), "ols", write={"fitted": out / "f.nc"}, output=out / "a.tif")
    found = pw.open_map(out / "f.nc")
    assert len(found.names) == 40
    assert found.grid == wanted.grid == grid
    years = np.arange(1900.0, 1940.0)[:, None, None]
    fitted = np.stack([found[name] for name in found.names])
    np.testing.assert_allclose(fitted, wanted["intercept"] + wanted["slope"] * years, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "output", "words"),
    [
        ("x", "trend.zarr", r"band 'x' is the name of its coordinate; rename it, or write a GeoTIFF"),
        ("Spatial_ref", "trend.nc", r"band 'Spatial_ref' is the name of its coordinate"),
        ("lat", "trend.nc", r"band 'lat' is the name of its coordinate"),
        ("zarr.json", "trend.zarr", r"band 'zarr\.json' has a name that Zarr reserves"),
        ("..", "trend.zarr", r"band '\.\.' has a name that Zarr reserves"),
        ("a ", "trend.nc", r"band 'a ' has a name that NetCDF forbids"),
        ("e\N{COMBINING ACUTE ACCENT}", "trend.nc", r"has a name that NetCDF would spell with other characters"),
        ("a" * 256, "trend.zarr", r"has a name of more than 255 bytes"),
    ],
)
def test_names_that_a_file_cannot_hold_are_refused_before_anything_is_computed(
    name: str, output: str, words: str, stack: pw.RasterStack, out: Path
) -> None:
    def means(values: Any) -> Any:
        return values.mean(), values.min()

    def nothing(done: int, total: int) -> None:
        pytest.fail("a block was computed")

    with pytest.raises(ParameterError, match=rf"{re.escape(output)}: .*{words}"):
        pw.apply(stack, pw.per_pixel(means, bands=("mean", name)), out / output, progress=nothing)
    assert not any(out.iterdir())


def test_names_of_what_a_file_does_not_have_are_free(stack: pw.RasterStack, out: Path) -> None:
    def both(values: Any) -> Any:
        return values.mean(), values.min()

    for output in ("trend.zarr", "trend.nc"):
        found = pw.apply(stack, pw.per_pixel(both, bands=("time", "c")), out / output)
        assert found.names == ("time", "c", "n", "status")
