"""Maps with q-values: the same numbers from any format, executor, part and interrupted run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy.stats import false_discovery_control

import pixelwise as pw
from pixelwise.bands import Band
from pixelwise.jobs.limits import Limits
from pixelwise.maps.copies import moved
from pixelwise.maps.false_discovery import CAUTION
from pixelwise.maps.map import Map
from pixelwise.verify import verify
from pixelwise.verify.qvalues import without_qvalues
from support.command_line import run
from support.rasters import random_series, write_raster
from support.stopping import Stop, hidden, stopped_after

ADDED = ("qvalue", "significant")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with twelve layers, of which a strip has a trend, and one pixel too few values."""
    folder = tmp_path_factory.mktemp("significance")
    series = random_series((12, 150, 130), seed=2, gaps=0.1)
    series[:, :, 90:] += np.linspace(0, 0.8, 12, dtype="float32")[:, None, None]
    series[2:, 0, 0] = np.nan
    for year, layer in enumerate(series, 2000):
        write_raster(folder / "ndvi" / f"ndvi_{year}.tif", layer, tiled=True, blockxsize=32, blockysize=32)
    return folder


@pytest.fixture
def stack(home: Path) -> pw.RasterStack:
    return pw.open_stack(str(home / "ndvi"))


@pytest.fixture(scope="module")
def wanted(home: Path) -> pw.Map:
    """Return the map, with what scipy makes of its p-values."""
    plain = pw.apply(pw.open_stack(str(home / "ndvi")), "ols", executor="inline")
    pvalues = plain["pvalue"]
    tested = (plain.status == 0) & ~np.isnan(pvalues)
    qvalues = np.full(pvalues.shape, np.nan)
    qvalues[tested] = false_discovery_control(pvalues[tested].astype(np.float64))
    added = {"qvalue": qvalues.astype("float32"), "significant": np.where(tested, qvalues <= 0.1, 2).astype("int32")}
    assert 0.2 < (added["significant"] == 1).mean() < 0.5
    assert (added["significant"] == 2).sum() == 1
    bands = (*plain.bands[:-1], Band("qvalue"), Band("significant", integer=True), plain.bands[-1])
    return Map(plain.grid, bands, arrays={**plain.arrays, **added})


def assert_same(found: pw.Map, wanted: pw.Map) -> None:
    assert found.names == wanted.names
    for name in wanted.names:
        assert found[name].dtype == wanted[name].dtype, name
        assert found[name].tobytes() == wanted[name].tobytes(), name


OUTPUTS = ["o.tif", "o_{band}.tif", "o.zarr", "o.nc"]


@pytest.mark.parametrize("output", [None, *OUTPUTS])
def test_apply_adds_what_scipy_finds(stack: pw.RasterStack, wanted: pw.Map, tmp_path: Path, output: str | None) -> None:
    place = None if output is None else tmp_path / output
    found = pw.apply(stack, "ols", place, fdr=0.1)
    assert_same(found, wanted)
    assert not hidden(tmp_path)
    assert not list(tmp_path.glob("*.parts"))
    if place is not None:
        assert_same(pw.open_map(place), wanted)
    said = found.provenance["fdr"]
    significant = wanted["significant"] == 1
    assert (said["q"], said["method"], said["pvalue"]) == (0.1, "bh", "pvalue")
    assert (said["tests"], said["rejected"]) == (150 * 130 - 1, significant.sum())
    assert said["threshold"] == wanted["pvalue"][significant].max()
    assert "level 0.05 (q = 2 alpha; Wilks 2016" in said["note"]
    assert said["domain"] == "pixels of status 0 with a pvalue"
    qvalue, code = found.band("qvalue"), found.band("significant")
    assert (qvalue.kind, qvalue.pvalue, code.kind, code.integer) == ("test", "pvalue", "code", True)


@pytest.fixture(scope="module")
def finished(home: Path) -> Path:
    """Return the folder with maps: of two methods, in all formats, and one with q-values."""
    stack = pw.open_stack(str(home / "ndvi"))
    for name in ("m.tif", "m_{band}.tif", "m.zarr", "m.nc"):
        pw.apply(stack, "ols", home / name)
    pw.apply(stack, "summary", home / "s.tif")
    pw.apply(stack, "ols", home / "q.tif", fdr=0.1)
    return home


@pytest.mark.parametrize("output", [None, *OUTPUTS])
@pytest.mark.parametrize("given", ["m.tif", "m_{band}.tif", "m.zarr", "m.nc"])
def test_fdr_of_a_finished_map(finished: Path, wanted: pw.Map, tmp_path: Path, given: str, output: str | None) -> None:
    found = pw.fdr(finished / given, 0.1, output=None if output is None else tmp_path / output)
    assert_same(found, wanted)
    assert not hidden(tmp_path)


def test_a_map_in_memory(wanted: pw.Map, tmp_path: Path) -> None:
    """Of a map without status, all finite p-values are tests."""
    pvalues = wanted["pvalue"]
    map_ = Map(wanted.grid, (Band("p", kind="test"),), arrays={"p": pvalues})
    for output in (None, tmp_path / "o.tif"):
        found = pw.fdr(map_, 0.05, method="by", output=output)
        assert found.names == ("p", *ADDED)
        finite = ~np.isnan(pvalues)
        qvalues = false_discovery_control(pvalues[finite].astype(np.float64), method="by")
        assert found["qvalue"][finite].tobytes() == qvalues.astype("float32").tobytes()
        assert np.array_equal(found["significant"][finite], qvalues <= 0.05)
        assert found.provenance["fdr"]["domain"] == "pixels with a p"


def test_float64_and_cog(stack: pw.RasterStack, tmp_path: Path) -> None:
    found = pw.apply(stack, "ols", tmp_path / "o.tif", fdr="by:0.2", dtype="float64", driver="COG")
    tested = ~np.isnan(found["qvalue"])
    qvalues = false_discovery_control(found["pvalue"][tested], method="by")
    assert found["qvalue"].dtype == np.float64
    if np.lib.NumpyVersion(np.__version__) < "2.3.0":  # whose sum of reciprocals, in scipy, has other last bits
        np.testing.assert_allclose(found["qvalue"][tested], qvalues, rtol=1e-14)
    else:
        assert found["qvalue"][tested].tobytes() == qvalues.tobytes()
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_executors_and_stacks_beside_the_map(
    stack: pw.RasterStack, wanted: pw.Map, tmp_path: Path, executor: str
) -> None:
    write = {"residuals": tmp_path / "left.tif"}
    found = pw.apply(stack, "ols", tmp_path / "o.tif", fdr=0.1, write=write, executor=executor, jobs=2)
    assert_same(found, wanted)
    assert found.timings.kernel > 0
    plain = pw.apply(stack, "ols", tmp_path / "p.tif", write={"residuals": tmp_path / "plain.tif"})
    assert plain.names == tuple(name for name in found.names if name not in ADDED)
    with rasterio.open(tmp_path / "left.tif") as one, rasterio.open(tmp_path / "plain.tif") as other:
        assert one.read().tobytes() == other.read().tobytes()
        assert one.descriptions == other.descriptions
    assert not list(tmp_path.glob("*.parts"))


def test_outside_a_region_is_not_tested(home: Path, tmp_path: Path) -> None:
    left, bottom, right, top = pw.open_stack(str(home / "ndvi")).grid.bounds
    region = f"{left + 900},{bottom},{right},{top}"
    inside = pw.open_stack(str(home / "ndvi"), region=region)
    found = pw.apply(inside, "ols", tmp_path / "o.tif", fdr=0.1)
    outside = found.status == 9
    assert outside.sum() == 150 * 30
    assert np.isnan(found["qvalue"][outside]).all()
    assert (found["significant"][outside] == 2).all()
    assert found.provenance["fdr"]["tests"] == 150 * 100


def test_parts_leave_it_to_join(stack: pw.RasterStack, wanted: pw.Map, tmp_path: Path) -> None:
    output = tmp_path / "o.tif"
    parts = [pw.apply(stack, "ols", output, fdr=0.1, part=(index, 3)) for index in (1, 2)]
    assert all(ADDED[0] not in part for part in parts)
    assert without_qvalues(parts[0], output) == (parts[0], None)
    with pytest.raises(pw.OutputError, match=r"belongs to another job: fdr q was 0\.1, is 0\.2"):
        pw.apply(stack, "ols", output, fdr=0.2, part=(3, 3))
    with pytest.raises(pw.OutputError, match="was made with --fdr; give it for all parts, with the same value"):
        pw.apply(stack, "ols", output, part=(3, 3))
    plain = tmp_path / "plain.tif"
    pw.apply(stack, "ols", plain, part=(1, 3))
    with pytest.raises(pw.OutputError, match="without --fdr; leave it out, join the parts, then run `pixelwise fdr`"):
        pw.apply(stack, "ols", plain, fdr=0.1, part=(2, 3))
    pw.apply(stack, "ols", output, fdr=0.1, part=(3, 3))
    assert_same(pw.join(output), wanted)


def test_a_join_that_was_stopped_while_it_removed_parts(
    stack: pw.RasterStack, wanted: pw.Map, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "o.tif"
    for index in (1, 2):
        pw.apply(stack, "ols", output, fdr=0.1, part=(index, 2))
    folder = tmp_path / "o.tif.parts"
    kept = (folder / "part-2-of-2.tif").read_bytes()
    pw.join(output)
    folder.mkdir()
    (folder / "part-2-of-2.tif").write_bytes(kept)
    with caplog.at_level(logging.INFO):
        assert_same(pw.join(output), wanted)
    assert "already complete" in caplog.text
    assert not folder.exists()


@pytest.mark.parametrize("output", ["o.tif", "o.zarr", "o.nc"])
@pytest.mark.parametrize("blocks", [2, 1000])
def test_a_stopped_job_goes_on(
    stack: pw.RasterStack,
    wanted: pw.Map,
    tmp_path: Path,
    output: str,
    blocks: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Stopped while pixels are computed, and while q-values are written."""
    monkeypatch.setattr("pixelwise.jobs.limits.LIMITS", Limits(journal_seconds=0, window_bytes=1 << 12))
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        again = len(seen) > 1 and seen[-1] <= seen[-2]
        if (blocks == 2 and len(seen) == 2) or (blocks > 2 and again):
            raise Stop

    with pytest.raises(Stop):
        pw.apply(stack, "ols", tmp_path / output, fdr=0.1, progress=stop, jobs=2)
    assert not (tmp_path / output).exists()
    with pytest.raises(pw.OutputError, match=r"fdr q was 0\.1, is 0\.3"):
        pw.apply(stack, "ols", tmp_path / output, fdr=0.3)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert_same(pw.apply(stack, "ols", tmp_path / output, fdr=0.1), wanted)
    assert ("every pixel is computed already" if blocks > 2 else "resuming") in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [output]


def test_restart_computes_again(stack: pw.RasterStack, wanted: pw.Map, tmp_path: Path) -> None:
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        if calls and done <= calls[-1]:
            raise Stop
        calls.append(done)

    with pytest.raises(Stop):
        pw.apply(stack, "ols", tmp_path / "o.tif", fdr=0.1, progress=stop)
    found = pw.apply(stack, "ols", tmp_path / "o.tif", fdr=0.3, restart=True)
    assert found.provenance["fdr"]["q"] == 0.3
    assert [path.name for path in tmp_path.iterdir()] == ["o.tif"]


def test_an_unfinished_job_without_it_is_kept(
    stack: pw.RasterStack, wanted: pw.Map, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.jobs.limits.LIMITS", Limits(journal_seconds=0))
    with pytest.raises(Stop):
        pw.apply(stack, "ols", tmp_path / "o.tif", progress=stopped_after(1))
    left = hidden(tmp_path)
    assert left
    with pytest.raises(pw.OutputError, match="cannot resume it: with --fdr it starts again; --restart discards it"):
        pw.apply(stack, "ols", tmp_path / "o.tif", fdr=0.1)
    assert hidden(tmp_path) == left
    assert_same(pw.apply(stack, "ols", tmp_path / "o.tif", fdr=0.1, restart=True), wanted)


def test_a_finished_map_stays_until_the_new_one_is_complete(stack: pw.RasterStack, tmp_path: Path) -> None:
    output = tmp_path / "o.tif"
    pw.apply(stack, "ols", output)
    before = output.read_bytes()
    for call in (lambda: pw.apply(stack, "ols", output, fdr=0.1), lambda: pw.fdr(wanted_of(stack), 0.1, output=output)):
        with pytest.raises(pw.OutputError, match="already exists; --overwrite replaces it"):
            call()
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        if calls and done <= calls[-1]:
            raise Stop
        calls.append(done)

    with pytest.raises(Stop):
        pw.apply(stack, "ols", output, fdr=0.1, overwrite=True, progress=stop)
    assert output.read_bytes() == before
    assert "qvalue" in pw.apply(stack, "ols", output, fdr=0.1, overwrite=True)


def wanted_of(stack: pw.RasterStack) -> pw.Map:
    return pw.apply(stack, "ols")


def test_a_function_of_ones_own(stack: pw.RasterStack, tmp_path: Path) -> None:
    """It says which band holds p-values; what cannot be compared with another run is computed each time."""
    settings = {"level": 0.5}

    @pw.per_pixel(bands=[Band("p", kind="test")])
    def share(y: Any, t: Any) -> Any:
        return (np.mean(y < eval("settings")["level"]),)

    share.__globals__["settings"] = settings
    try:
        found = pw.apply(stack, share, tmp_path / "o.tif", fdr=0.1)
    finally:
        del share.__globals__["settings"]
    assert found.names == ("p", "n", *ADDED, "status")


def test_what_was_computed_again_is_written_again(tmp_path: Path) -> None:
    """A map of arrays does not say what was in them: it is replaced all the same."""
    pytest.importorskip("xarray")
    maps = []
    for seed in (1, 2):
        values = random_series((8, 20, 30), seed=seed, gaps=0)
        coordinates = {"time": np.arange(2000, 2008), "y": np.arange(20.0, 0, -1), "x": np.arange(30.0)}
        array = xarray_of(values, coordinates)
        maps.append(pw.apply(array, "ols", tmp_path / "o.tif", fdr=0.1, overwrite=True)["slope"])
    assert not np.array_equal(*maps)
    assert not list(tmp_path.glob("*.parts"))


def xarray_of(values: Any, coordinates: Any) -> Any:
    import xarray

    return xarray.DataArray(values, coordinates, dims=("time", "y", "x"))


def test_stacks_beside_the_map_stay_beside_it(stack: pw.RasterStack, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    with pytest.raises(pw.OutputError, match="with --fdr, fitted are written beside the map: choose a name in its"):
        pw.apply(stack, "ols", tmp_path / "o.tif", fdr=0.1, write={"fitted": tmp_path / "else" / "f.tif"})
    assert [path.name for path in tmp_path.iterdir()] == ["else"]


def test_a_raster_of_anyone(tmp_path: Path) -> None:
    """Its p-values are tests wherever they are not missing; nothing is known of how it was made."""
    pvalues = np.random.default_rng(0).random((40, 50), dtype="float32") ** 3
    pvalues[0, :7] = -9999
    write_raster(tmp_path / "p.tif", np.stack([pvalues * 7, pvalues]), descriptions=("trend", "p"), nodata=-9999)
    found = pw.fdr(tmp_path / "p.tif", 0.1, pvalue="p", output=tmp_path / "o.tif")
    assert pw.open_map(tmp_path / "o.tif").names == found.names == ("trend", "p", *ADDED)
    qvalues = false_discovery_control(pvalues[pvalues >= 0].astype(np.float64))
    assert found["qvalue"][pvalues >= 0].tobytes() == qvalues.astype("float32").tobytes()
    assert (found["significant"][0, :7] == 2).all()
    write_raster(tmp_path / "bad.tif", pvalues, descriptions=("p",))
    with pytest.raises(pw.InputError, match=r"bad\.tif: band p has the value -9999: p-values lie between 0 and 1$"):
        pw.fdr(tmp_path / "bad.tif", 0.1, pvalue="p")


# --- verify ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUTS)
def test_verify_makes_qvalues_again(stack: pw.RasterStack, tmp_path: Path, output: str, home: Path) -> None:
    pw.apply(stack, "ols", tmp_path / output, fdr=0.1)
    found = verify(tmp_path / output, str(home / "ndvi"), pixels=50)
    assert found.differing == 0
    assert found.by.endswith("and qvalue and significant of all pixels from the p-values in the map")


def test_verify_finds_a_wrong_qvalue(stack: pw.RasterStack, tmp_path: Path, home: Path) -> None:
    pw.apply(stack, "ols", tmp_path / "o_{band}.tif", fdr=0.1)
    with rasterio.open(tmp_path / "o_qvalue.tif", "r+") as dataset:
        values = dataset.read(1)
        values[7, 9] += 0.01
        dataset.write(values, 1)
    found = verify(tmp_path / "o_{band}.tif", str(home / "ndvi"), pixels=1)
    assert [(one.band, one.row, one.col) for one in found.differences] == [("qvalue", 7, 9)]


def test_verify_from_another_folder(stack: pw.RasterStack, tmp_path: Path, home: Path) -> None:
    """Paths in a map are relative to it: also in one that was made of another."""
    pw.apply(stack, "ols", tmp_path / "m.tif")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    found = pw.fdr(tmp_path / "m.tif", 0.1, output=tmp_path / "deep" / "er" / "o.tif")
    [*_, last] = found.provenance["input"]["files"]
    assert (tmp_path / "deep" / "er" / last["path"]).resolve() == (home / "ndvi" / "ndvi_2011.tif").resolve()
    assert verify(tmp_path / "deep" / "er" / "o.tif", str(home / "ndvi"), pixels=50).differing == 0


def test_paths_that_move(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "zone.gpkg").touch()
    (tmp_path / "b" / "c").mkdir(parents=True)
    one = {
        "files": [{"path": "x.tif", "size": 1}, {"path": "https://a.b/x.tif"}],
        "layers_used": [{"date": "2000", "pieces": [["x.tif", 2]], "masks": [["m.tif", 1]]}, "odd"],
        "area": {"region": {"source": "zone.gpkg"}, "where": {"raster": "gone.tif"}},
        "composite": {"by": {"files": [{"path": "y.tif"}]}},
    }
    found = moved(
        {"input": one, "lost": {"worst": [["x.tif", 1, 5]]}, "bands": ["a"]}, tmp_path / "a", tmp_path / "b/c"
    )
    assert found == {
        "input": {
            "files": [{"path": "../../a/x.tif", "size": 1}, {"path": "https://a.b/x.tif"}],
            "layers_used": [
                {"date": "2000", "pieces": [["../../a/x.tif", 2]], "masks": [["../../a/m.tif", 1]]},
                "odd",
            ],
            "area": {"region": {"source": "../../a/zone.gpkg"}, "where": {"raster": "gone.tif"}},
            "composite": {"by": {"files": [{"path": "../../a/y.tif"}]}},
        },
        "lost": {"worst": [["../../a/x.tif", 1, 5]]},
        "bands": ["a"],
    }
    assert moved({"input": one}, tmp_path / "a", tmp_path / "a" / ".") == {"input": one}
    assert moved({"input": 3, "lost": "x", "write": None}, tmp_path / "a", tmp_path) == {
        "input": 3,
        "lost": "x",
        "write": None,
    }


# --- arrays of xarray ------------------------------------------------------------------------------------------


def test_arrays(stack: pw.RasterStack, wanted: pw.Map, tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    array = stack.to_xarray().load()
    import pixelwise.xarray  # noqa: F401

    for found in (pw.apply(array, "ols", fdr=0.1), array.pixelwise.apply("ols", fdr=0.1)):
        assert found["qvalue"].values.tobytes() == wanted["qvalue"].tobytes()
        assert np.array_equal(found["significant"].values, wanted["significant"])
    written = pw.apply(array, "ols", tmp_path / "o.tif", fdr=0.1)
    assert written["qvalue"].tobytes() == wanted["qvalue"].tobytes()
    with pytest.raises(pw.ParameterError, match="fdr: all pixels must be known"):
        array.chunk({"y": 50}).pixelwise.apply("ols", fdr=0.1)


# --- the command line ------------------------------------------------------------------------------------------


def test_commands(home: Path, wanted: pw.Map, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = run("plan", home / "ndvi", "--fdr", "0.1")
    assert "adds      qvalue and significant, from pvalue (bh, q = 0.1)" in plan.output
    made = run("apply", "ols", home / "ndvi", "-o", "m.tif", "--quiet")
    assert made.exit_code == 0
    done = run("fdr", "m.tif", "-q", "0.1", "-o", "o.tif")
    assert (done.exit_code, done.stdout) == (0, "o.tif\n")
    assert_same(pw.open_map("o.tif"), wanted)
    at_once = run("apply", "ols", home / "ndvi", "-o", "a.tif", "--fdr", "0.1")
    assert at_once.stdout == "a.tif\n"
    assert f"of 19499 tests, {(wanted['significant'] == 1).sum()} are significant" in at_once.stderr
    assert_same(pw.open_map("a.tif"), wanted)
    nothing = run("fdr", "m.tif", "-q", "1e-30", "-o", "none.tif")
    assert "none is significant" in nothing.stderr
    assert pw.open_map("none.tif").provenance["fdr"]["threshold"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fdr", "m.tif", "-q", "0", "-o", "x.tif"], "q 0.0 is impossible: expected a number between 0 and 1"),
        (["fdr", "m.tif", "-q", "1", "-o", "x.tif"], "q 1.0 is impossible"),
        (["fdr", "m.tif", "-q", "nan", "-o", "x.tif"], "q nan is impossible"),
        (["fdr", "s.tif", "-q", "0.1", "-o", "x.tif"], "the map has no p-values"),
        (["fdr", "m.tif", "-q", "0.1", "-o", "x.tif", "--pvalue", "p"], "unknown band 'p'"),
        (["fdr", "m.tif", "-q", "0.1", "-o", "x.tif", "--pvalue", "slope"], "band slope does not hold p-values"),
        (["fdr", "q.tif", "-q", "0.1", "-o", "x.tif"], "the map has a band qvalue already"),
        (["fdr", "m.tif", "-q", "0.1", "-o", "m.tif", "--overwrite"], "is one of the inputs"),
        (["fdr", "m.tif", "-q", "0.1", "-o", "x.png"], "its name must end in .tif, .zarr or .nc"),
        (["fdr", "ndvi/ndvi_2000.tif", "-q", "0.1", "-o", "x.tif"], "the map has no p-values"),
        (["apply", "summary", "ndvi", "--fdr", "0.1", "-o", "x.tif"], "the map has no p-values"),
        (["apply", "ols", "ndvi", "--fdr", "2", "-o", "x.tif"], "q 2.0 is impossible"),
        (["apply", "ols", "ndvi", "--fdr", "bonferroni:0.1", "-o", "x.tif"], "is not one of bh, by"),
        (["apply", "ols", "ndvi", "--fdr", "0.1", "--bands", "slope", "-o", "x.tif"], "needs the band pvalue"),
        (["plan", "ndvi", "--method", "summary", "--fdr", "0.1"], "the map has no p-values"),
    ],
)
def test_errors_are_one_line(finished: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    result = run(*words)
    assert result.exit_code == 1
    assert message in result.output
    assert not Path("x.tif").exists()
    assert not Path("x.tif.parts").exists()


@pytest.mark.parametrize("output", [None, "trend.tif"])
def test_everyone_is_told_what_qvalues_trust(
    home: Path, stack: pw.RasterStack, tmp_path: Path, output: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    target = None if output is None else tmp_path / output
    made = pw.apply(stack, "ols", target, fdr=0.1)
    later = pw.fdr(pw.apply(stack, "ols", tmp_path / "plain.tif"), 0.1, output=tmp_path / "sure.tif")
    for map_ in (made, later):
        assert [text for text in map_.provenance["warnings"] if "fdr:" in text] == [CAUTION]
    assert [record.getMessage() for record in caplog.records].count(CAUTION) == 2
    assert CAUTION[:60] in run("plan", home / "ndvi", "--fdr", "0.1").output
    assert "fdr" not in run("plan", home / "ndvi").output


def test_a_dataset_is_no_map() -> None:
    dataset = xr.Dataset({"pvalue": (("y", "x"), np.full((2, 2), 0.5))})
    with pytest.raises(pw.ParameterError, match=r"expected a Map or its file, not Dataset; write it with pw\.apply"):
        pw.fdr(dataset, 0.1)  # type: ignore[arg-type]
    with pytest.raises(pw.ParameterError, match=r"^expected a Map or its file, not int$"):
        pw.fdr(3, 0.1)  # type: ignore[arg-type]
