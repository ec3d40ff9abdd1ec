"""Series of single pixels: their values, why some are missing, and what methods say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import scipy.stats

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.rasters.points import Point
from pixelwise.stacks.series import read_series, series_at
from support.oracles import CASES, Case
from support.rasters import MakeStack, random_series, read_all, write_raster
from support.scene_files import write_scenes

SHAPE = (22, 5, 6)
MONTHS = [f"{year}-{month:02d}-15" for year in range(2000, 2006) for month in (1, 4, 7, 10)][:22]


def same(map_: pw.Map, fit: Any, row: int, col: int) -> None:
    """Check that a fit has the bits of a map."""
    for name in map_.names:
        stored = map_[name][row, col]
        assert np.asarray(stored).tobytes() == np.asarray(fit[name]).astype(stored.dtype).tobytes(), name


def test_values_and_dates(make_stack: MakeStack) -> None:
    values = random_series(SHAPE, seed=1)
    stack = pw.open_stack(make_stack(values))
    one = stack.series(row=3, col=4)
    np.testing.assert_array_equal(one.values, values[:, 3, 4])
    assert one.values.dtype == np.float32
    assert one.years.tolist() == list(range(2000, 2022))
    assert one.labels == stack.names
    assert (one.x, one.y) == (500000 + 4.5 * 30, 3400000 - 3.5 * 30)
    assert one.counts == {"no data": int(np.isnan(values[:, 3, 4]).sum())}
    assert [gap == "" for gap in one.gaps] == (~np.isnan(values[:, 3, 4])).tolist()
    assert str(one).startswith("pixel row 3, column 4 (x 500135, y 3399895, EPSG:32617): ")
    assert repr(one).count("RasterStack") == 0
    again = stack.series(500140, 3399890)
    assert (again.row, again.col) == (3, 4)


def test_which_pixel_must_be_clear(make_stack: MakeStack) -> None:
    stack = pw.open_stack(make_stack(random_series(SHAPE)))
    for given in ({}, {"x": 1.0}, {"row": 1}, {"x": 1.0, "y": 2.0, "row": 1, "col": 2}, {"row": 1, "col": 2, "x": 1.0}):
        with pytest.raises(pw.ParameterError, match=r"give a point \(x, y\), or a pixel"):
            stack.series(**given)
    with pytest.raises(pw.ParameterError, match="pixel row 5, column 0 lies outside: rows are 0 to 4, columns 0 to 5"):
        stack.series(row=5, col=0)
    with pytest.raises(pw.ParameterError, match="lies outside the rasters"):
        stack.series(0, 0)
    assert read_series(stack, []) == ()


@pytest.mark.parametrize("tiled", [True, False])
def test_many_pixels_are_those_of_the_stack(
    make_stack: MakeStack, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = random_series((4, 150, 130), seed=4)
    profile = {"tiled": True, "blockxsize": 32, "blockysize": 32} if tiled else {}
    stack = pw.open_stack(make_stack(values, **profile))
    pixels = [tuple(pixel) for pixel in np.random.default_rng(0).integers((150, 130), size=(60, 2)).tolist()]
    pixels.append(pixels[0])
    for most in (64 << 20, 4096, 1):  # windows of whole blocks, parts of them, and single pixels
        monkeypatch.setattr("pixelwise.stacks.series.WINDOW_BYTES", most)
        for one, (row, col) in zip(read_series(stack, pixels), pixels, strict=True):
            np.testing.assert_array_equal(one.values, values[:, row, col])


def test_each_file_is_opened_once(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.rasters import handles

    stack = pw.open_stack(make_stack(random_series((4, 150, 130)), tiled=True, blockxsize=32, blockysize=32))
    opened: list[Path] = []
    open_tiff = handles.open_tiff
    monkeypatch.setattr(handles, "open_tiff", lambda path, *a, **k: opened.append(path) or open_tiff(path, *a, **k))
    read_series(stack, [(row, col) for row in range(0, 150, 20) for col in range(0, 130, 20)])
    # The first is also opened to compile the reading.
    assert sorted(set(opened)) == sorted(stack.paths)
    assert len(opened) <= len(stack.paths) + 1


def test_files_that_changed_are_refused(make_stack: MakeStack) -> None:
    folder = make_stack(random_series(SHAPE))
    stack = pw.open_stack(folder)
    write_raster(folder / "ndvi_2003.tif", np.zeros((5, 6), np.float64))
    with pytest.raises(pw.InputError, match=r"ndvi_2003.tif: changed since its header was read"):
        stack.series(row=0, col=0)


# --- why values are missing ------------------------------------------------------------------------------------------


def test_masked_no_data_and_outside(tmp_path: Path) -> None:
    for year in range(2000, 2004):
        values = np.full((4, 6), 0.5, np.float32)
        values[0, :] = np.nan
        values[1, 1] = 7.0
        clouds = np.zeros((4, 6), np.uint8)
        clouds[:, 2] = year == 2001
        # The last image has only the left half.
        width = 3 if year == 2003 else 6
        write_raster(tmp_path / "v" / f"a_{year}.tif", values[:, :width])
        write_raster(tmp_path / "m" / f"m_{year}.tif", clouds[:, :width])
    options: dict[str, Any] = {"mask": str(tmp_path / "m" / "*.tif"), "mask_drop": (1,), "extent": "union"}
    stack = pw.open_stack(tmp_path / "v", valid_range=(0, 1), **options)
    found = {
        (one.row, one.col): one.gaps for one in read_series(stack, [(0, 0), (0, 2), (0, 5), (1, 1), (2, 2), (2, 5)])
    }
    assert found == {
        (0, 0): ("no data",) * 4,
        (0, 2): ("no data",) * 4,  # a mask rejects nothing where nothing is
        (0, 5): (*["no data"] * 3, "outside image"),
        (1, 1): ("no data",) * 4,  # beyond the valid range
        (2, 2): ("", "masked", "", ""),
        (2, 5): ("", "", "", "outside image"),
    }
    grown = pw.open_stack(tmp_path / "v", grow=1, **options).series(row=2, col=3)
    assert grown.gaps == ("", "masked", "", "outside image")
    np.testing.assert_array_equal(grown.values, read_all(grown.stack)[:, 2, 3])


def test_gaps_of_a_formula_under_masks(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, 4, (20, 30))
    with rasterio.open(scenes.paths[2], "r+") as dataset:
        quality = dataset.read(7)
        quality[:, :] = 21824  # clear
        quality[3, 4] = 22280  # cloud
        dataset.write(quality, 7)
    stack = pw.open_stack(scenes.paths, product="landsat-c2-l2", value="ndvi")
    found = stack.series(row=3, col=4)
    assert found.gaps[2] == "masked"
    plain = pw.open_stack(scenes.paths, product="landsat-c2-l2", value="ndvi", mask="none")
    assert np.isfinite(read_all(plain)[2, 3, 4])
    np.testing.assert_array_equal(found.values, read_all(stack)[:, 3, 4])


def test_composites_say_what_their_scenes_lack(tmp_path: Path) -> None:
    for year in range(2000, 2004):
        for month in range(1, 13):
            values, clouds = np.full((2, 3), 0.5, np.float32), np.zeros((2, 3), np.uint8)
            clouds[0, 0] = year == 2001
            values[0, 1] = np.nan if year == 2002 else 1
            clouds[1, 0] = year == 2003 and month > 1
            write_raster(tmp_path / "v" / f"a_{year}{month:02d}15.tif", values)
            write_raster(tmp_path / "m" / f"m_{year}{month:02d}15.tif", clouds)
    stack = pw.open_stack(tmp_path / "v", mask=str(tmp_path / "m" / "*.tif"), mask_drop=(1,)).composite(
        "max", min_count=2
    )
    found = {(one.row, one.col): one.gaps for one in read_series(stack, [(0, 0), (0, 1), (0, 2), (1, 0)])}
    assert found == {
        (0, 0): ("", "masked", "", ""),
        (0, 1): ("", "", "no data", ""),
        (0, 2): ("", "", "", ""),
        (1, 0): ("", "", "", "too few scenes"),
    }


def damage(path: Path) -> None:
    """Overwrite the upper right one of four blocks."""
    content = bytearray(path.read_bytes())
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
    content[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(content)


def test_unreadable_blocks(make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.rasters.windows.RETRY_SECONDS", ())
    profile = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "lzw"}
    folder = make_stack(random_series((6, 64, 64), gaps=0.0), **profile)
    months = [f"{year}{month:02d}10" for year in range(2000, 2006) for month in range(1, 13)]
    by_month = make_stack(random_series((72, 64, 64), gaps=0.0), months, folder="months", **profile)
    damage(folder / "ndvi_2002.tif")
    damage(by_month / "ndvi_20020610.tif")
    stack = pw.open_stack(folder, on_read_error="missing")
    map_ = pw.apply(stack, "ols", tmp_path / "map.tif")
    lost, whole = read_series(stack, [(3, 40), (3, 3)])
    assert lost.gaps == ("", "", "unreadable", "", "", "")
    assert whole.gaps == ("",) * 6
    for one in (lost, whole):
        same(map_, one.fit("ols", dtype="float32"), one.row, one.col)
    assert lost.fit("ols").status == Status.DATES_LOST
    # Losses among neighbours, and those that leave a value, are said by the map, and so here.
    for other in (stack, pw.open_stack(by_month, on_read_error="missing").composite("max")):
        map_ = pw.apply(other, "contextual_mann_kendall")
        for one in read_series(other, [(3, 31), (3, 30), (5, 40), (33, 40)]):
            same(map_, one.fit("contextual_mann_kendall", dtype="float32"), one.row, one.col)
        assert [one.lost for one in read_series(other, [(3, 31), (5, 40)])] == [False, True]


def test_pixels_outside_the_region(make_stack: MakeStack) -> None:
    stack = pw.open_stack(make_stack(random_series(SHAPE)), region=(500000, 3399850, 500090, 3400000))
    map_ = pw.apply(stack, "ols")
    for one in read_series(stack, [(0, 0), (0, 5)]):
        same(map_, one.fit("ols", dtype="float32"), one.row, one.col)
    assert one.fit("ols").status == Status.OUTSIDE
    assert one.fit("ols").words == "ols: no result (outside the area), n = 0"
    assert str(one).endswith("outside the requested area")


# --- what methods say ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_method_gives_the_numbers_of_its_map(make_stack: MakeStack, case: Case) -> None:
    times = MONTHS if case.method.season_term or case.label == "four" else range(2000, 2022)
    stack = pw.open_stack(make_stack(random_series(SHAPE, seed=2), times))
    gaps = 0.0 if "weights" in case.inputs else 0.1
    inputs = {
        name: pw.open_stack(make_stack(random_series(SHAPE, seed=3 + i, gaps=gaps) + 1, times, folder=name))
        for i, name in enumerate(case.inputs)
    }
    method = case.make(22)
    map_ = pw.apply(stack, method, inputs=inputs)
    pixels = [(0, 0), (2, 3), (4, 5)]
    series = read_series(stack, pixels)
    others = {name: read_series(other, pixels) for name, other in inputs.items()}
    for i, one in enumerate(series):
        fit = one.fit(method, inputs={name: found[i] for name, found in others.items()}, dtype="float32")
        same(map_, fit, *pixels[i])
        assert [band.unit for band in fit.bands[: len(map_.bands) - 1]] == [band.unit for band in map_.bands[:-1]]
        assert (fit.curve is None) == (not method.fitted_from or fit.status not in (Status.OK, Status.TEST_UNDEFINED))


def test_options_of_the_map(make_stack: MakeStack) -> None:
    stack = pw.open_stack(make_stack(random_series(SHAPE, seed=5, gaps=0.4)))
    options: dict[str, Any] = {"per": "decade", "min_valid": 0.6, "min_span": 0.8}
    map_ = pw.apply(stack, "ols", bands=["pvalue", "slope", "n"], **options)
    found = [
        one.fit("ols", bands=["pvalue", "slope", "n"], dtype="float32", **options)
        for one in read_series(stack, [(row, col) for row in range(5) for col in range(6)])
    ]
    for fit in found:
        same(map_, fit, fit.series.row, fit.series.col)
    assert {Status.OK, Status.TOO_FEW} <= {fit.status for fit in found}
    # Limits, and what the line needs, come after what was asked for.
    assert [band.name for band in fit.bands] == ["pvalue", "slope", "n", "low_slope", "high_slope", "intercept"]
    with pytest.raises(pw.ParameterError, match="per=decade: no band is per year"):
        found[0].series.fit("summary", per="decade")


def test_functions_of_ones_own(make_stack: MakeStack) -> None:
    stack = pw.open_stack(make_stack(random_series(SHAPE, seed=6)))

    def spread(values: Any, times: Any) -> Any:
        return values.max() - values.min(), times[-1]

    map_ = pw.apply(stack, spread)
    one = stack.series(row=1, col=1)
    fit = one.fit(spread, dtype="float32")
    same(map_, fit, 1, 1)
    assert fit.curve is None
    assert fit.fitted is None
    empty = pw.open_stack(make_stack(np.full(SHAPE, np.nan, "float32"), folder="empty")).series(row=1, col=1)
    with pytest.raises(pw.ParameterError, match="spread cannot be tried on this pixel, which has 0 values"):
        empty.fit(spread)
    named = pw.per_pixel(bands=["range", "last"])(spread)
    assert empty.fit(named).status == Status.NO_OBSERVATION


def test_covariates_must_be_of_the_same_pixel(make_stack: MakeStack) -> None:
    stack = pw.open_stack(make_stack(random_series(SHAPE)))
    one, other = read_series(stack, [(0, 0), (0, 1)])
    with pytest.raises(pw.ParameterError, match="rain has 22 layers at row 0, column 1, but the response has 22"):
        one.fit("correlation", inputs={"rain": other})
    with pytest.raises(pw.ParameterError, match="correlation needs one stack besides the response"):
        one.fit("correlation")


def test_the_curve_is_what_apply_writes(make_stack: MakeStack, tmp_path: Path) -> None:
    stack = pw.open_stack(make_stack(random_series(SHAPE, seed=7), MONTHS))
    pw.apply(stack, "harmonic", tmp_path / "h.tif", write={"fitted": tmp_path / "f.tif"}, dtype="float64")
    with rasterio.open(tmp_path / "f.tif") as dataset:
        written = dataset.read()[:, 2, 2]
    fit = stack.series(row=2, col=2).fit("harmonic")
    np.testing.assert_array_equal(fit.fitted, written)
    curve = fit.curve
    assert curve is not None
    np.testing.assert_allclose(
        np.interp(fit.series.years[fit.series.valid], curve.years, curve.values), written[fit.series.valid], atol=2e-3
    )


def test_the_band_of_ols_is_that_of_the_textbook(make_stack: MakeStack) -> None:
    values = random_series(SHAPE, seed=8, dtype="float64")
    fit = pw.open_stack(make_stack(values)).series(row=1, col=2).fit(pw.methods.ols(confidence_level=0.9))
    t, y = fit.series.years[fit.series.valid], fit.series.values[fit.series.valid]
    line = scipy.stats.linregress(t, y)
    curve = fit.curve
    assert curve is not None
    assert curve.low is not None
    assert curve.high is not None
    rest = y - line.intercept - line.slope * t
    s = np.sqrt((rest**2).sum() / (len(t) - 2))
    leverage = np.sqrt(1 / len(t) + (curve.years - t.mean()) ** 2 / ((t - t.mean()) ** 2).sum())
    expected = scipy.stats.t.ppf(0.95, len(t) - 2) * s * leverage
    np.testing.assert_allclose(curve.high - curve.values, expected, rtol=1e-8)
    np.testing.assert_allclose(curve.values - curve.low, expected, rtol=1e-8)
    assert curve.limits == "90 % confidence band of the line"
    assert (curve.years[0], curve.years[-1]) == (t[0], t[-1])
    low, high = fit.limits
    assert low is not None
    assert high is not None
    assert len(low) == len(high) == 22


def test_limits_of_other_methods_are_those_of_the_slope(make_stack: MakeStack) -> None:
    fit = pw.open_stack(make_stack(random_series(SHAPE, seed=9))).series(row=1, col=2).fit("theil_sen", per="decade")
    t, y = fit.series.years[fit.series.valid], fit.series.values[fit.series.valid]
    slope, intercept, low, high = scipy.stats.theilslopes(y.astype(float), t, 0.95)
    curve = fit.curve
    assert curve is not None
    assert curve.low is not None
    assert curve.high is not None
    middle = np.median(t)
    at_middle = intercept + slope * middle
    sides = [at_middle + one * (curve.years - middle) for one in (low, high)]
    np.testing.assert_allclose(curve.low, np.minimum(*sides), atol=1e-9)
    np.testing.assert_allclose(curve.high, np.maximum(*sides), atol=1e-9)
    assert curve.limits == "95 % limits of the slope"
    assert fit["slope"] == pytest.approx(10 * slope)
    assert pw.open_stack(fit.series.stack.paths[0].parent).series(row=1, col=2).fit("siegel").curve.low is None  # type: ignore[union-attr]


def test_in_words(make_stack: MakeStack) -> None:
    values = np.zeros((6, 1, 4), np.float32)
    values[:, 0, 0] = [1, 2, 3, 4, 5, 6.5]
    values[:, 0, 1] = 2
    values[1:, 0, 2] = np.nan
    values[:, 0, 3] = np.nan
    stack = pw.open_stack(make_stack(values))
    rising, constant, lonely, empty = (
        one.fit("ols", dtype="float32") for one in read_series(stack, [(0, i) for i in range(4)])
    )
    line = scipy.stats.linregress(range(6), values[:, 0, 0])
    half = scipy.stats.t.ppf(0.975, 4) * line.stderr
    assert rising.words == (
        f"slope {line.slope:.4g} per year (95 % limits {line.slope - half:.4g} to {line.slope + half:.4g}), "
        "p < 0.0001, n = 6"
    )
    assert constant.words == "slope 0 per year, not tested, n = 6 (constant series)"
    assert lonely.words == "ols: no result (too few observations), n = 1"
    assert empty.words == "ols: no result (no observation), n = 0"
    # A number has the digits of its type.
    assert rising.numbers["slope"] == float(str(np.float32(line.slope)))
    assert rising.numbers["n"] == 6
    assert empty.numbers["slope"] is None
    assert (lonely.curve, empty.curve) == (None, None)
    assert (rising["status"], empty["status"]) == (0, 1)


def test_real_series_have_the_bits_of_their_maps(shared: Any) -> None:
    for name, method, options in (
        ("tura_landsat/geotiff", "harmonic", {"valid_range": (3000, 9000)}),
        ("gimms_bale/geotiff", "mann_kendall", {"start": "2010"}),
        ("remoteparts_ak_ndvi/geotiff", "trend", {}),
    ):
        stack = pw.open_stack(shared(name), **options)
        stack = stack.crop(pw.Block(1, 2, 3, 3)) if stack.grid.height < 100 else stack.crop(pw.Block(80, 100, 6, 7))
        map_ = pw.apply(stack, method, per="decade")
        pixels = [(row, col) for row in range(stack.grid.height) for col in range(0, stack.grid.width, 2)]
        for one in read_series(stack, pixels):
            same(map_, one.fit(method, per="decade", dtype="float32"), one.row, one.col)


def test_a_real_composite_has_the_bits_of_its_map(shared: Any) -> None:
    stack = pw.open_stack(shared("gimms_bale/geotiff"), start="2010").composite("median", every="month")
    map_ = pw.apply(stack, "seasonal_kendall")
    for one in series_at(stack, [Point(39.71, 7.04, "EPSG:4326", "a"), Point(39.55, 7.12, name="b")]):
        same(map_, one.fit("seasonal_kendall", dtype="float32"), one.row, one.col)
    assert one.place.startswith("b: pixel row 1, column 1 (x 39.54")
