"""What is written besides a method's bands: stacks beside the map."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.dates.axis import TimeAxis
from pixelwise.maps.tag import TAG, decode_provenance
from pixelwise.method import Method
from pixelwise.methods import METHODS
from pixelwise.verify.compare import verify
from support.command_line import run
from support.dates import MONTH
from support.limits import set_limits
from support.rasters import MakeStack, pixels_in, write_raster
from support.stopping import hidden

KINDS = ("fitted", "residuals", "anomalies")
SEASONAL = ("fitted", "residuals", "deseasonalised", "anomalies", "standardized")


def files(folder: Path, kinds: tuple[str, ...] = KINDS) -> dict[str, Path]:
    return {kind: folder / f"{kind}.tif" for kind in kinds}


def folder_of(stack: pw.RasterStack) -> Path:
    return stack.paths[0].parent


def everything(folder: Path) -> dict[str, bytes]:
    """Return the pixels of all files of a folder by name."""
    return {path.name: pixels_in(path).tobytes() for path in sorted(folder.glob("[!.]*.tif"))}


@pytest.fixture
def months(make_stack: MakeStack) -> pw.RasterStack:
    """Five years of months with a season and a trend, and gaps."""
    dates = np.datetime64("2010-01") + np.arange(60) * MONTH
    times = 2010 + np.arange(60) / 12
    random = np.random.default_rng(5)
    season = np.cos(2 * np.pi * (times - 0.4))[:, None, None]
    values = 3 + 0.2 * (times - 2010)[:, None, None] + season + random.normal(0, 0.05, (60, 20, 30))
    values[random.random(values.shape) < 0.2] = np.nan
    values[:, 0, :5] = np.nan
    values[5:, 0, 5:9] = np.nan
    return pw.open_stack(make_stack(values.astype("float32"), [f"{date}-15" for date in dates]))


# ------------------------------------------------------------------------------------------------ numbers


def test_stacks_are_what_they_are_called(stack: pw.RasterStack, out: Path) -> None:
    """Compared with numpy.polyfit, pixel by pixel, of what plain rasterio reads."""
    with rasterio.open(folder_of(stack) / "ndvi_2000.tif") as dataset:
        profile = dataset.profile
    pw.apply(stack, "ols", out / "trend.tif", bands=["pvalue"], write=files(out))
    values = stack.read(stack.grid.block).astype(np.float64)
    years = np.arange(2000.0, 2005.0)
    status = pixels_in(out / "trend.tif")[-1]
    found = {kind: pixels_in(path) for kind, path in files(out).items()}
    for row, col in np.random.default_rng(1).integers(0, (150, 130), (300, 2)).tolist():
        series = values[:, row, col]
        valid = ~np.isnan(series)
        own = {kind: layers[:, row, col] for kind, layers in found.items()}
        if status[row, col] not in (0, 3):
            assert all(np.isnan(layers).all() for layers in own.values())
            continue
        line = np.polyval(np.polyfit(years[valid] - 2002, series[valid], 1), years - 2002)
        np.testing.assert_allclose(own["fitted"], line, atol=1e-6)
        np.testing.assert_allclose(own["residuals"], series - line, atol=1e-6)
        np.testing.assert_allclose(own["anomalies"], series - series[valid].mean(), atol=1e-6)
    with rasterio.open(out / "trend.tif") as dataset:
        assert dataset.descriptions == ("pvalue", "status")
    for path in files(out).values():
        with rasterio.open(path) as dataset:
            assert dataset.descriptions == ("2000", "2001", "2002", "2003", "2004")
            assert (dataset.crs, dataset.transform) == (profile["crs"], profile["transform"])
            assert dataset.dtypes == ("float32",) * 5
            assert np.isnan(dataset.nodata)


def test_every_command_reads_them_back(months: pw.RasterStack, out: Path) -> None:
    pw.apply(months, "harmonic", out / "season.tif", write=files(out, SEASONAL))
    again = pw.open_stack(out / "residuals.tif")
    assert (again.axis.dates == months.axis.dates).all()
    assert again.names == months.names
    # Nothing of a season or a trend is left in the residuals, and the trend alone in what is deseasonalised.
    left = pw.apply(again, "harmonic")
    assert np.nanmax(np.abs(left["slope"])) < 1e-6
    assert np.nanmax(left["amplitude_1"]) < 1e-6
    odd = pw.apply(pw.open_stack(out / "deseasonalised.tif"), "harmonic")
    assert np.nanmax(odd["amplitude_1"]) < 1e-6
    np.testing.assert_allclose(odd["slope"], pw.open_map(out / "season.tif")["slope"], atol=1e-6)
    np.testing.assert_allclose(np.nanmean(pixels_in(out / "deseasonalised.tif")[:, 1:], axis=0), 0, atol=1e-6)
    # The curve has no gaps where there is one.
    fitted = pixels_in(out / "fitted.tif")
    answered = np.isin(pw.open_map(out / "season.tif").status, (0, 3, 6))
    assert np.isfinite(fitted[:, answered]).all()
    assert np.isnan(fitted[:, ~answered]).all()
    assert (~answered).any()


def test_the_map_is_the_same_without_them(months: pw.RasterStack, out: Path) -> None:
    for name in ("trend", "harmonic", "polynomial", "theil_sen", "robust", "siegel", "ols"):
        alone = pw.apply(months, name)
        found = pw.apply(months, name, out / f"{name}.tif", write={"fitted": out / f"{name}_fit.tif"})
        assert found.names == alone.names
        assert all(found[band].tobytes() == alone[band].tobytes() for band in alone)


def test_float32_does_not_spoil_the_fit(make_stack: MakeStack, out: Path) -> None:
    """A line of 0.01 a year from 0.5 in 2000 is -19.5 at year 0: rounded to float32, both would move it by 4e-7."""
    values = 0.5 + 1e-2 * np.arange(10)[:, None, None] + np.zeros((10, 20, 20))
    stack = pw.open_stack(make_stack(values, dtype="float64"))
    pw.apply(stack, "ols", out / "trend.tif", dtype="float32", write={"residuals": out / "left.tif"})
    assert np.abs(pixels_in(out / "left.tif")).max() < 1e-12


@pytest.mark.parametrize("factory", METHODS, ids=lambda factory: factory.__name__)
def test_a_curve_needs_the_bands_that_it_names(factory: Any) -> None:
    if factory.__name__ == "regress":
        return
    method = factory()
    assert bool(method.fitted_from) == (type(method).predict is not Method.predict)
    assert set(method.fitted_from) <= {band.name for band in method.bands}
    if method.fitted_from:
        values = {name: np.array([1.0, 2.0]) for name in method.fitted_from}
        axis = TimeAxis.from_times([2000.0, 2001.0, 2002.5])
        assert method.predict(values, axis).shape == (3, 2)
        assert np.broadcast_to(method.seasonal_part(values, axis), (3, 2)).shape == (3, 2)


# ------------------------------------------------------------------------------------------------ the same bytes


@pytest.mark.parametrize("name", ["harmonic", "theil_sen"])
def test_every_executor_and_block_gives_the_same_bytes(
    months: pw.RasterStack, out: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[dict[str, Any], dict[str, int]]] = [
        ({"executor": "inline"}, {}),
        ({"executor": "threads", "jobs": 3}, {"window_bytes": 256}),
        ({"executor": "processes", "jobs": 2}, {"window_bytes": 256}),
        ({"jobs": 3}, {"block_bytes": 1}),
    ]
    kinds = SEASONAL if name == "harmonic" else tuple(kind for kind in SEASONAL if kind != "deseasonalised")
    found = []
    for index, (options, sizes) in enumerate(runs):
        folder = out / str(index)
        folder.mkdir()
        with monkeypatch.context() as patch:
            set_limits(patch, **sizes)
            wanted = files(folder, kinds) if index % 2 else dict(reversed(files(folder, kinds).items()))
            pw.apply(months, name, folder / "map.tif", write=wanted, min_valid=0.3, **options)
        found.append(everything(folder))
    assert set(found[0]) == {"map.tif", *(f"{kind}.tif" for kind in kinds)}
    assert all(one == found[0] for one in found)


def test_neighbours_do_not_matter(months: pw.RasterStack) -> None:
    """Alone, among others and in another order a pixel has the same layers, to the bit."""
    from pixelwise.jobs.answer import LayerOutputs, PostProcessed
    from pixelwise.jobs.climatology import BasePeriod, Climatology

    method = pw.methods.harmonic(harmonics=2)
    usual = Climatology.of(months.axis, BasePeriod(2011, 2013))
    layered = LayerOutputs(SEASONAL, months.names, method, months.axis, usual)
    bound = PostProcessed(method.bind(months.axis, list(method.fitted_from), {}), 1, layered=layered)
    values = months.read(months.grid.block).reshape(60, -1)
    whole, _ = bound((values,))
    order = np.random.default_rng(2).permutation(values.shape[1])
    assert bound((np.ascontiguousarray(values[:, order]),))[0].tobytes() == whole[:, order].tobytes()
    for width in (1, 3, 127, 129):
        pieces = [bound((np.ascontiguousarray(values[:, at : at + width]),))[0] for at in range(0, 600, width)]
        assert np.concatenate(pieces, axis=1).tobytes() == whole.tobytes()


# ------------------------------------------------------------------------------------------------ all or none


def options_of(out: Path) -> dict[str, Any]:
    return {"write": files(out, ("fitted", "residuals")), "executor": "inline"}


@pytest.mark.parametrize("pattern", ["trend.tif", "trend_{band}.tif"])
def test_a_stopped_job_goes_on(stack: pw.RasterStack, out: Path, tmp_path: Path, pattern: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    pw.apply(stack, "ols", other / pattern, **options_of(other))
    expected = everything(other)

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, "ols", out / pattern, progress=stop, **options_of(out))
    assert everything(out) == {}
    with pytest.raises(pw.OutputError, match=r"write residuals was \"residuals.tif\", is null; --restart"):
        pw.apply(stack, "ols", out / pattern, write=files(out, ("fitted",)))
    seen: list[int] = []
    goes_on = {**options_of(out), "write": dict(reversed(files(out, ("fitted", "residuals")).items()))}
    pw.apply(stack, "ols", out / pattern, progress=lambda done, total: seen.append(done), **goes_on)
    assert seen[0] > 150 * 130 // 2
    assert everything(out) == expected
    assert hidden(out) == []


def test_a_stack_that_lost_its_half_is_computed_again(
    stack: pw.RasterStack, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pw.apply(stack, "ols", out / "trend.tif", **options_of(out))
    expected = everything(out)
    for path in out.iterdir():
        path.unlink()

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, "ols", out / "trend.tif", progress=stop, **options_of(out))
    (out / ".fitted.partial.tif").unlink()
    pw.apply(stack, "ols", out / "trend.tif", **options_of(out))
    assert "damaged block(s)" in caplog.text
    assert everything(out) == expected


KILLED = """
import os, signal, sys
from pathlib import Path
import pixelwise as pw
from pixelwise.jobs import limits
from pixelwise.maps import publish
limits.LIMITS = limits.Limits(window_bytes=4096, journal_seconds=0.0)
out, step, moment = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
left = {step: moment}
def come(step):
    left[step] = left.get(step, 0) - 1
    if left[step] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
replace = publish.PendingFile.replace
def killing(*words, **options):
    come("name")
    replace(*words, **options)
publish.PendingFile.replace = killing
pw.apply(pw.open_stack(sys.argv[1]), "ols", out / "trend.tif", executor="inline", overwrite=True,
         write={"fitted": out / "fitted.tif", "residuals": out / "residuals.tif"}, progress=lambda *_: come("block"))
"""


@pytest.mark.long
def test_killed_at_any_step_it_ends_the_same(stack: pw.RasterStack, out: Path) -> None:
    pw.apply(stack, "ols", out / "trend.tif", **options_of(out))
    expected = everything(out)
    for step, moment in (("block", 3), ("name", 1), ("name", 2), ("name", 3)):
        for path in out.iterdir():
            path.unlink()
        words = [sys.executable, "-c", KILLED, folder_of(stack), out]
        first = subprocess.run([*words, step, str(moment)], check=False)
        assert first.returncode == -signal.SIGKILL
        assert not (out / "trend.tif").exists()
        for name, data in everything(out).items():
            assert data == expected[name]
        pw.apply(stack, "ols", out / "trend.tif", overwrite=True, **options_of(out))
        assert everything(out) == expected
        assert hidden(out) == []


def test_an_error_at_the_last_name_takes_all_back(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pw.apply(stack, "theil_sen", out / "trend.tif", **options_of(out))
    before = everything(out)
    replace = Path.replace

    def failing(path: Path, target: Any) -> Any:
        if Path(target).name == "trend.tif" and ".partial." in path.name:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(pw.ResourceError, match="No space left"):
            pw.apply(stack, "ols", out / "trend.tif", overwrite=True, **options_of(out))
    assert everything(out) == before
    pw.apply(stack, "ols", out / "trend.tif", overwrite=True, **options_of(out))
    assert everything(out) != before
    assert hidden(out) == []


def test_stacks_may_lie_elsewhere(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    pw.apply(stack, "ols", out / "trend.tif", write={"fitted": tmp_path / "big" / "fit.tif"}, min_span=0.5)
    with rasterio.open(tmp_path / "big" / "fit.tif") as dataset:
        own = decode_provenance(dataset.tags()[TAG])
    with rasterio.open(out / "trend.tif") as dataset:
        of_map = decode_provenance(dataset.tags()[TAG])
    assert of_map["write"] == {"fitted": "../big/fit.tif"}
    assert own["map"] == "../out/trend.tif"
    assert own["written"] == "fitted"
    assert own["bands"] == list(stack.names)
    assert (own["method"], own["min_span"], own["input"]) == ("ols", 0.5, of_map["input"])


def test_verify_tells_them_from_maps(stack: pw.RasterStack, out: Path) -> None:
    pw.apply(stack, "ols", out / "trend.tif", **options_of(out))
    assert verify(out / "trend.tif", str(folder_of(stack)), everything=True).differing == 0
    with pytest.raises(pw.InputError, match=r"fitted\.tif: is a stack that was written beside a map"):
        verify(out / "fitted.tif", str(folder_of(stack)))


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("method", "write", "words"),
    [
        ("summary", {"fitted": "f.tif"}, "summary fits no curve to the values; these do: trend, ols, theil_sen"),
        (pw.methods.theil_sen(deseasonalise="month"), {"fitted": "f.tif"}, "theil_sen, as its parameters are, fits no"),
        (
            "seasonal_kendall",
            {"deseasonalised": "a.tif"},
            "fits no season that could be subtracted; these do: harmonic;",
        ),
        ("ols", {"deseasonalised": "a.tif"}, "ols fits no season that could be subtracted; these do: harmonic;"),
        ("ols", {"fited": "f.tif"}, "did you mean 'fitted'"),
    ],
)
def test_what_means_nothing_is_refused(
    months: pw.RasterStack, out: Path, method: Any, write: dict[str, str], words: str
) -> None:
    with pytest.raises(pw.ParameterError, match=words):
        pw.apply(months, method, out / "map.tif", write={kind: out / name for kind, name in write.items()})
    assert list(out.iterdir()) == []


def test_names_that_cannot_be(stack: pw.RasterStack, out: Path) -> None:
    def refused(words: str, output: str | None = "trend.tif", error: Any = pw.OutputError, **write: Any) -> None:
        with pytest.raises(error, match=words):
            pw.apply(stack, "ols", None if output is None else out / output, write=write)
        assert [path.name for path in out.iterdir()] == kept

    kept: list[str] = []
    refused("write=fitted needs an output", None, pw.ParameterError, fitted=out / "fit.tif")
    refused("trend.tif: is given for two outputs", fitted=out / ".." / "out" / "trend.tif")
    refused("fit.tif: is given for two outputs", fitted=out / "fit.tif", residuals=out / "fit.tif")
    refused("trend_slope.tif: is given for two outputs", "trend_{band}.tif", fitted=out / "trend_slope.tif")
    refused("fitted are GeoTIFF, Zarr or NetCDF", fitted=out / "fit.png")
    refused("fitted are one file", fitted=out / "fit_{band}.tif")
    refused("the folder .*/none does not exist", fitted=out / "none" / "fit.tif")
    refused("ndvi_2001.tif: is one of the inputs", fitted=folder_of(stack) / "ndvi_2001.tif")
    write_raster(out / "precious.tif", np.zeros((3, 3), np.float32))
    kept = ["precious.tif"]
    refused("precious.tif: already exists", fitted=out / "precious.tif")
    with pytest.raises(pw.OutputError, match=r"precious\.tif: is not a pixelwise map"):
        pw.apply(stack, "ols", out / "trend.tif", write={"fitted": out / "precious.tif"}, overwrite=True)


# ------------------------------------------------------------------------------------------------ per decade


@pytest.mark.parametrize("method", ["trend", "ols", "polynomial", "summary"])
def test_changes_per_decade(make_stack: MakeStack, out: Path, method: str) -> None:
    def number(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        map_ = pw.open_map(path)
        return {name: np.asarray(map_[name], dtype=float) for name in map_}, {n: map_.band(n) for n in map_}

    stack = pw.open_stack(make_stack(np.random.default_rng(1).normal(size=(12, 20, 30))))
    bands = [*(band.name for band in pw.methods.get(method)().bands)]
    pw.apply(stack, method, out / "year.tif", dtype="float64", bands=bands)
    if method == "summary":
        with pytest.raises(pw.ParameterError, match=r"per=decade: no band is per year \(mean, "):
            pw.apply(stack, method, out / "decade.tif", per="decade")
        return
    residuals = {"write": {"residuals": out / "left.tif"}}
    pw.apply(stack, method, out / "decade.tif", dtype="float64", bands=bands, per="decade", **residuals)
    pw.apply(stack, method, out / "one.tif", dtype="float64", write={"residuals": out / "same.tif"})
    assert pixels_in(out / "left.tif").tobytes() == pixels_in(out / "same.tif").tobytes()
    (yearly, of_year), (decadal, of_decade) = (number(out / f"{per}.tif") for per in ("year", "decade"))
    powers = {name: "/year" in band.unit and int((*band.unit.split("^"), 1)[1]) for name, band in of_year.items()}
    assert powers["slope"] == 1
    assert powers.get("c2", 2) == 2
    for name, power in powers.items():
        np.testing.assert_array_equal(decadal[name], yearly[name] * 10**power)
        assert not np.isnan(yearly[name]).all()
        assert of_decade[name].unit == of_year[name].unit.replace("/year", "/decade")
        assert ("per decade" in of_decade[name].description) == ("per year" in of_year[name].description)


def test_per_decade_is_told_and_verified(stack: pw.RasterStack, out: Path) -> None:
    done = run("apply", "ols", folder_of(stack), "-o", out / "trend.tif", "--quiet", "--per", "decade")
    assert done.exit_code == 0, done.output
    with rasterio.open(out / "trend.tif") as dataset:
        assert decode_provenance(dataset.tags()[TAG])["per"] == "decade"
        assert dataset.units[0] == "1/decade"
        assert dataset.tags(1)["DESCRIPTION"] == "Change per decade of the fitted line"
    for bands in (None, ["slope", "rmse"]):  # by exact arithmetic, and by the method itself
        pw.apply(stack, "ols", out / "trend.tif", bands=bands, per="decade", overwrite=True)
        assert verify(out / "trend.tif", str(folder_of(stack)), everything=True).differing == 0
    # Rounded once: ten times a slope that was rounded to float32 already would be off in the last digit.
    exact = pw.apply(stack, "ols", dtype="float64", per="decade")["slope"]
    assert pw.open_map(out / "trend.tif")["slope"].tobytes() == exact.astype(np.float32).tobytes()
    with rasterio.open(out / "trend.tif", "r+") as dataset:
        dataset.write(dataset.read(1) / 10, 1)
    assert verify(out / "trend.tif", str(folder_of(stack)), everything=True).differing > 0
    with pytest.raises(pw.ParameterError, match="per='decades' is not one of year, decade; did you mean 'decade'"):
        pw.apply(stack, "ols", per="decades")


# ------------------------------------------------------------------------------------------------ elsewhere


def test_outside_an_area_and_in_a_window(months: pw.RasterStack, out: Path) -> None:
    region = (500000, 3400000 - 300, 500300, 3400000)
    cut = pw.open_stack(folder_of(months), region=region)
    pw.apply(cut, "ols", out / "trend.tif", write={"fitted": out / "fit.tif"})
    fitted, status = pixels_in(out / "fit.tif"), pixels_in(out / "trend.tif")[-1]
    assert (status[12:] == 9).all()
    assert np.isnan(fitted[:, 12:]).all()
    assert np.isfinite(fitted[:, 1:10, :10]).all()
    # A method of neighbours, whose blocks are read with a margin.
    yearly = months.composite("mean", min_count=1)
    pw.apply(yearly, "contextual_mann_kendall", out / "cmk.tif", write={"anomalies": out / "odd.tif"})
    values, odd = yearly.read(yearly.grid.block), pixels_in(out / "odd.tif")
    answered = np.isin(pixels_in(out / "cmk.tif")[-1], (0, 3, 6))
    assert answered.any()
    wanted = values[:, answered] - np.nanmean(values[:, answered], axis=0)
    np.testing.assert_allclose(odd[:, answered], wanted, atol=1e-6)
    assert pw.open_stack(out / "odd.tif").names == yearly.names


def test_a_stack_that_is_no_file(stack: pw.RasterStack, out: Path) -> None:
    class Plain:
        grid, axis, read = stack.grid, stack.axis, staticmethod(stack.read)

    pw.apply(Plain(), "ols", out / "trend.tif", executor="threads", write={"fitted": out / "fit.tif"})
    assert pw.open_stack(out / "fit.tif").names == stack.names


def test_memory_is_planned_for_them(stack: pw.RasterStack, out: Path) -> None:
    with pytest.raises(pw.ParameterError, match=r"memory .* is too little"):
        pw.apply(stack, "ols", out / "trend.tif", memory="296.2MiB", jobs=1, write=files(out))


def test_a_full_disk_leaves_what_is_whole(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.maps import geotiff

    pw.apply(stack, "ols", out / "trend.tif", **options_of(out))
    expected = everything(out)
    for path in out.iterdir():
        path.unlink()
    append, count = geotiff.append, [0]

    def full(*words: Any) -> int:
        count[0] += 1
        if count[0] == 8:
            raise OSError(28, "No space left on device")
        return append(*words)

    with monkeypatch.context() as patch:
        patch.setattr(geotiff, "append", full)
        with pytest.raises(pw.ResourceError, match="No space left"):
            pw.apply(stack, "ols", out / "trend.tif", **options_of(out))
    assert everything(out) == {}
    pw.apply(stack, "ols", out / "trend.tif", **options_of(out))
    assert everything(out) == expected


def test_command(months: pw.RasterStack, out: Path) -> None:
    folder = folder_of(months)
    words = ("apply", "harmonic", folder, "-o", out / "season.tif", "--quiet", "--bands", "amplitude_1")
    done = run(*words, "--write", "residuals", out / "left.tif", "--write", "fitted", out / "fit.tif")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [str(out / name) for name in ("season.tif", "fit.tif", "left.tif")]
    assert run("apply", "ols", out / "left.tif", "-o", out / "trend.tif", "--quiet").exit_code == 0
    assert run(*words, "--write", "fitted", out / "a.tif", "--write", "fitted", out / "b.tif").exit_code == 2
    assert run(*words, "--write", "fit", out / "a.tif").exit_code == 2
    done = run("apply", "summary", folder, "-o", out / "s.tif", "--write", "fitted", out / "a.tif")
    assert done.exit_code == 1
    assert "summary fits no curve" in done.output
    assert not (out / "s.tif").exists()
