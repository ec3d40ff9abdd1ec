"""The series behind a map: inputs opened again, the numbers of the map, and what is refused."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.rasters.points import Point
from pixelwise.series import fits_of_map, origin_of
from support.command_line import run
from support.rasters import random_series, write_raster
from support.scene_files import CLOUDY, write_scenes

SHAPE = (8, 6, 7)
PIXELS = [(0, 0), (3, 4), (5, 6), (3, 4)]

FUNCTIONS = """\
from pathlib import Path

Path(__file__).with_name("ran").touch()


def spread(values):
    return values.max() - values.min()
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with ndvi/, clouds/ and functions.py."""
    random = np.random.default_rng(2)
    for year, layer in enumerate(random_series(SHAPE, seed=1), 2000):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
        write_raster(tmp_path / "clouds" / f"c_{year}.tif", random.integers(0, 3, SHAPE[1:]).astype("uint8"))
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(method: Any = "ols", source: str = "ndvi", options: Any = None, composite: Any = None, **job: Any) -> pw.Map:
    stack: Any = pw.open_stack(source, **(options or {}))
    pw.apply(stack if composite is None else stack.composite(**composite), method, "map.tif", overwrite=True, **job)
    return pw.open_map("map.tif")


def check(map_: pw.Map, **given: Any) -> None:
    """Check that the pixels have the bits of the map, and that nothing else is logged."""
    pixels = [(row, col) for row, col in PIXELS if row < map_.grid.height and col < map_.grid.width]
    for fit, (row, col) in zip(fits_of_map(map_, "map.tif", pixels, **given), pixels, strict=True):
        assert (fit.series.row, fit.series.col) == (row, col)
        for name in map_.names:
            stored = map_[name][row, col]
            assert np.asarray(fit[name]).astype(stored.dtype).tobytes() == np.asarray(stored).tobytes(), name


@pytest.mark.parametrize(
    ("method", "options", "job"),
    [
        ("ols", {}, {}),
        ("ols", {"valid_range": (0.1, 0.8)}, {"bands": ["slope", "rmse"], "dtype": "float64"}),
        ("trend", {"start": "2001"}, {"per": "decade", "min_valid": 0.7}),
        ("contextual_mann_kendall", {"bounds": (500030, 3399850, 500200, 3399990)}, {}),
        (pw.methods.polynomial(degree=2), {"nodata": (0.5,), "scale": 2.0}, {}),
        ("summary", {"region": (500000, 3399900, 500090, 3400000)}, {}),
    ],
)
def test_numbers_are_those_of_the_map(method: Any, options: Any, job: Any, caplog: Any) -> None:
    check(made(method, options=options, **job))
    assert not [record for record in caplog.records if record.name == "pixelwise.series"]


def test_parts_of_a_stack_made_in_python() -> None:
    stack = pw.open_stack("ndvi").crop(pw.Block(1, 2, 3, 4))
    pw.apply(stack, "contextual_mann_kendall", "map.tif")
    map_ = pw.open_map("map.tif")
    for row, col in ((0, 0), (2, 3)):
        (fit,) = fits_of_map(map_, "map.tif", [(row, col)])
        assert np.float32(fit["slope"]) == map_["slope"][row, col]


def test_composites_have_their_periods_again() -> None:
    for year in range(2000, 2006):
        for month in range(1, 13):
            layer = random_series((4, 5), seed=100 * year + month, gaps=0.4)
            write_raster(Path("scenes") / f"s_{year}{month:02d}10.tif", layer)
    stack = pw.open_stack("scenes").composite("mean", equal_count=3, seed=7).select(start="2001")
    pw.apply(stack, "ols", "map.tif")
    map_ = pw.open_map("map.tif")
    (fit,) = fits_of_map(map_, "map.tif", [(2, 3)])
    assert fit.series.labels == ("2001", "2002", "2003", "2004", "2005")
    assert np.float32(fit["slope"]) == map_["slope"][2, 3]
    made("ols", "scenes", composite={"how": "functions.py:spread"})
    with pytest.raises(pw.InputError, match=r"was made with --composite functions.py:spread; a file that a map names"):
        origin_of(pw.open_map("map.tif"), "map.tif")


def test_points() -> None:
    map_ = made()
    fits = origin_of(map_, "map.tif").fits_at([Point(500015, 3399985, name="corner"), Point(500200, 3399830)])
    assert [(fit.series.name, fit.series.row, fit.series.col) for fit in fits] == [("corner", 0, 0), ("", 5, 6)]


def test_inputs_that_moved_or_changed(home: Path) -> None:
    map_ = made()
    shutil.move("ndvi", "elsewhere")
    with pytest.raises(pw.InputError) as refused:
        origin_of(map_, "map.tif")
    assert str(refused.value) == (
        f"map.tif: 8 of its 8 input files are no longer there, such as {home}/ndvi/ndvi_2000.tif; if they or the map "
        "were moved, name them: pixelwise series --map map.tif FILES"
    )
    check(map_, source="elsewhere")
    with pytest.raises(
        pw.InputError, match=r"7 layers instead of 8, 2001-01-01 of ndvi_2001.tif instead of 2000-01-01"
    ):
        origin_of(map_, "map.tif", sorted(Path("elsewhere").glob("*.tif"))[1:])
    write_raster(Path("elsewhere/ndvi_2003.tif"), np.zeros(SHAPE[1:], "float64"))
    with pytest.raises(pw.InputError, match=r"elsewhere/ndvi_2003.tif: changed since the map was made: \d+ bytes then"):
        origin_of(map_, "map.tif", "elsewhere")
    shutil.move("elsewhere", "ndvi")
    with pytest.raises(pw.InputError, match=r"ndvi/ndvi_2003.tif: changed since the map was made"):
        origin_of(map_, "map.tif")


def test_other_numbers_in_files_of_the_same_size_are_noticed(caplog: Any) -> None:
    map_ = made()
    path = Path("ndvi/ndvi_2003.tif")
    with rasterio.open(path, "r+") as dataset:
        dataset.write(dataset.read() + 1)
    with caplog.at_level(logging.WARNING, "pixelwise.series"):
        (fit,) = fits_of_map(map_, "map.tif", [(3, 4)])
    (text,) = [record.getMessage() for record in caplog.records if record.name == "pixelwise.series"]
    assert text.startswith(f"map.tif: slope is {map_['slope'][3, 4]:.9g} in the map, but {fit['slope']:.9g} computed")


def test_files_outside_the_folder_must_be_named(home: Path) -> None:
    made()
    Path("maps").mkdir()
    shutil.move("map.tif", "maps/map.tif")
    pw.apply(pw.open_stack("ndvi"), "ols", "maps/own.tif")
    with pytest.raises(pw.InputError) as refused:
        origin_of(pw.open_map("maps/own.tif"), "maps/own.tif")
    assert refused.value.problems[0].endswith("is outside its folder and is opened only if you name it")
    assert refused.value.problems[-1] == (
        f"if these are the files that you mean: pixelwise series --map maps/own.tif {home}/ndvi"
    )
    assert len(origin_of(pw.open_map("maps/own.tif"), "maps/own.tif", "ndvi").stack) == 8


def test_options_that_name_files_must_be_given_again(home: Path) -> None:
    map_ = made(options={"mask": "clouds/*.tif", "mask_drop": (1,)})
    with pytest.raises(pw.InputError) as refused:
        origin_of(map_, "map.tif")
    assert str(refused.value) == (
        "map.tif: was made with --mask clouds/*.tif; a file that a map names is opened only if you name it again: add "
        "--mask with its present path"
    )
    check(map_, options={"mask": "clouds/*.tif"})
    (fit,) = fits_of_map(map_, "map.tif", [(3, 4)], options={"mask": "clouds/*.tif"})
    assert fit.series.counts["masked"] > 0
    Path("dates.csv").write_text("path,date\n" + "".join(f"ndvi/ndvi_{y}.tif,{y}\n" for y in range(2000, 2008)))
    map_ = made(options={"times": "dates.csv"})
    with pytest.raises(pw.InputError, match=r"was made with --times dates.csv"):
        origin_of(map_, "map.tif")
    check(map_, options={"times": "dates.csv"})


def test_a_region_in_a_file_is_known_from_the_map() -> None:
    pytest.importorskip("shapely")
    Path("half.geojson").write_text(
        '{"type": "Polygon", "crs": {"type": "name", "properties": {"name": "EPSG:32617"}}, "coordinates": '
        "[[[500000, 3399800], [500100, 3399800], [500100, 3400000], [500000, 3400000], [500000, 3399800]]]}"
    )
    map_ = made(options={"region": "half.geojson"})
    Path("half.geojson").unlink()
    check(map_)
    assert [fit.series.inside for fit in fits_of_map(map_, "map.tif", PIXELS)] == [True, False, False, False]


def test_functions_run_only_if_they_are_named() -> None:
    map_ = made("functions.py:spread")
    Path("ran").unlink()
    with pytest.raises(pw.ParameterError, match=r"code that a map names is run only when you name it again: --method"):
        origin_of(map_, "map.tif")
    assert not Path("ran").exists()
    check(map_, method="functions.py:spread")
    with pytest.raises(pw.ParameterError, match="was made by ols, not by a function of your own"):
        origin_of(made(), "map.tif", method="functions.py:spread")


def test_maps_that_do_not_say_enough(tmp_path: Path) -> None:
    stack = pw.open_stack("ndvi")
    with pytest.raises(pw.InputError, match="a map in memory does not say where its inputs are"):
        origin_of(pw.apply(stack, "ols"), "map.tif")
    pw.apply(stack, "correlation", "map.tif", inputs={"rain": pw.open_stack("clouds")}, overwrite=True)
    with pytest.raises(pw.InputError, match="its method has covariates: give INPUT and --method instead of --map, and"):
        origin_of(pw.open_map("map.tif"), "map.tif")
    array = stack.to_xarray().compute()
    pw.apply(array, "ols", "map.tif", overwrite=True)
    with pytest.raises(pw.InputError, match="was not made from files, but from"):
        origin_of(pw.open_map("map.tif"), "map.tif")
    by = stack.composite("max", by=pw.open_stack("clouds"))
    pw.apply(by, "ols", "map.tif", overwrite=True)
    with pytest.raises(pw.InputError, match="its composites were chosen by another stack"):
        origin_of(pw.open_map("map.tif"), "map.tif")


def test_a_map_cannot_lead_to_files_that_it_does_not_list(home: Path) -> None:
    """A table in the folder of a map may list any files: it is not followed."""
    map_ = made()
    secret = write_raster(home.parent / "secret_2000.tif", np.zeros(SHAPE[1:], "float32"))
    Path("ndvi/ndvi_2000.csv").write_text(f"path,date\n{secret},2000\n")
    provenance: Any = dict(map_.provenance)
    for part in (provenance["input"]["files"][0],):
        part["path"] = "ndvi/ndvi_2000.csv"
        part["size"] = Path("ndvi/ndvi_2000.csv").stat().st_size
    provenance["input"]["layers_used"][0]["pieces"][0][0] = "ndvi/ndvi_2000.csv"
    hostile = pw.Map(map_.grid, map_.bands, provenance, map_.timings, map_.files)
    with pytest.raises(pw.InputError, match="it names files that refer to others, such as"):
        origin_of(hostile, "map.tif")
    assert secret.exists()


def test_a_map_with_qvalues_has_its_pixels_too(make_stack: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(make_stack(random_series((12, 20, 30)), folder=tmp_path / "ndvi"))
    pw.apply(stack, "ols", tmp_path / "sure.tif", fdr=0.1)
    (fit,) = fits_of_map(pw.open_map(tmp_path / "sure.tif"), tmp_path / "sure.tif", [(3, 4)])
    assert np.float32(fit["slope"]) == pw.open_map(tmp_path / "sure.tif")["slope"][3, 4]
    assert "qvalue" not in fit.values


@pytest.mark.parametrize("same_date", [None, "mosaic"])
def test_clouds_of_a_product_are_masked_values(same_date: str | None, tmp_path: Path) -> None:
    """Scenes whose masks and bands are of one file, with a formula: beside each cloud there is a value."""
    scenes = write_scenes(tmp_path / "scenes", years=1, size=(20, 30), cloudy=0.3)
    options = {} if same_date is None else {"same_date": same_date}
    pw.apply(pw.open_stack("scenes", product="landsat-c2-l2", value="ndvi", **options), "ols", "map.tif")
    with rasterio.open(scenes.paths[2]) as dataset:
        cloudy = dataset.read(7) == CLOUDY
    row, col = (int(number) for number in np.argwhere(cloudy)[0])
    [fit] = fits_of_map(pw.open_map("map.tif"), "map.tif", [(row, col)])
    assert fit.series.gaps[2] == "masked"
    assert np.isnan(fit.series.values[2])
    assert len(fit.series.values) == 6
    shown = run("series", "--map", "map.tif", "--pixel", f"{row},{col}")
    assert shown.exit_code == 0, shown.output
    assert "masked" in shown.output
