"""Maps of rectified scenes are computed again with the gains of their table, which must be the same and be meant."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.maps.tag import TAG, decode_provenance, encode_provenance
from pixelwise.series import fits_of_map, origin_of
from pixelwise.verify import recompute, verify
from support.arrays import cube
from support.command_line import run
from support.rasters import random_series, write_raster

SHAPE = (7, 6, 9)
YEARS = tuple(range(2000, 2007))


def rows_of(paths: list[str], band: str = "b1", dates: list[str] | None = None) -> str:
    """Return a table: another line for each date, and one that is flagged."""
    dates = dates or [f"{year}-01-01" for year in YEARS]
    lines = [
        f"{path},{date},{band},{1 + 0.03 * number!r},{0.017 * number - 0.05!r},{'few' if number % 2 else ''}"
        for number, (path, date) in enumerate(zip(paths, dates, strict=True))
    ]
    return "# gains\npath,date,band,gain,offset,flag\n" + "\n".join(lines) + "\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with ndvi/ and gains.csv."""
    monkeypatch.chdir(tmp_path)
    for year, layer in zip(YEARS, random_series(SHAPE), strict=True):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
    (tmp_path / "gains.csv").write_text(rows_of([f"ndvi/ndvi_{year}.tif" for year in YEARS]))
    return tmp_path


def made(output: str = "map.tif", source: Any = "ndvi", method: Any = "ols", **options: Any) -> pw.Map:
    stack = pw.open_stack(source, **{"gains": "gains.csv", **options})
    pw.apply(stack, method, output, dtype="float64", overwrite=True, executor="inline")
    return pw.open_map(output)


def refused(*words: Any) -> str:
    result = run("verify", *words)
    assert result.exit_code == 1, result.output
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("options", [{}, {"valid_range": (0.2, 0.7)}, {"scale": 2.0, "offset": 0.1}])
@pytest.mark.parametrize("oracle", [True, False])
def test_a_right_map_passes(options: Any, oracle: bool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not oracle:  # then to the bit
        monkeypatch.setattr(recompute, "ORACLES", {})
    made(**options)
    found = verify("map.tif", everything=True)
    assert (found.differing, found.tolerance > 0) == (0, oracle)
    # It would not without gains.
    with rasterio.open("map.tif", "r+") as dataset:
        provenance = decode_provenance(dataset.tags()[TAG])
        del provenance["input"]["gains"], provenance["input"]["spec"]["gains"]
        dataset.update_tags(**{TAG: encode_provenance(provenance)})
    assert verify("map.tif", everything=True).differing > 20


def test_several_images_of_a_date(home: Path) -> None:
    for year, layer in zip(YEARS, random_series(SHAPE, seed=5), strict=True):
        write_raster(home / "ndvi" / f"second_{year}.tif", layer)
    names = [f"ndvi/{name}_{year}.tif" for year in YEARS for name in ("ndvi", "second")]
    (home / "gains.csv").write_text(rows_of(names, dates=[f"{year}-01-01" for year in YEARS for _ in range(2)]))
    for how in ("mean", "max", "first", "mosaic"):
        made(same_date=how)
        assert verify("map.tif", everything=True).differing == 0, how


def test_bands_of_one_file_and_time_steps_of_arrays(home: Path) -> None:
    write_raster(home / "all.tif", random_series(SHAPE), descriptions=[str(year) for year in YEARS])
    # Each band is called by its date.
    text = "path,date,band,gain,offset\n" + "".join(
        f"all.tif,{year}-01-01,{year},{1 + 0.1 * n!r},{0.3 * n!r}\n" for n, year in enumerate(YEARS)
    )
    (home / "gains.csv").write_text(text)
    made(source="all.tif")
    assert verify("map.tif", everything=True).differing == 0
    cube(random_series(SHAPE, dtype="float64"), name="v").to_netcdf(home / "v.nc")
    months = [f"2001-{month:02d}-01" for month in range(1, 8)]
    (home / "gains.csv").write_text(rows_of(["v.nc"] * 7, "v", months))
    made(source="v.nc")
    assert verify("map.tif", everything=True).differing == 0


def test_a_changed_table_is_refused_with_both_sums(home: Path) -> None:
    made()
    before = hashlib.sha256((home / "gains.csv").read_bytes()).hexdigest()
    (home / "gains.csv").write_text((home / "gains.csv").read_text().replace("1.03", "1.04"))
    after = hashlib.sha256((home / "gains.csv").read_bytes()).hexdigest()
    assert refused("map.tif") == (
        f"error: map.tif: was made with other gains than {home}/gains.csv has now: the sha256 of the table was "
        f"{before}, and is {after}; restore the table, or name that of the map: pixelwise verify map.tif --gains FILE"
    )
    with pytest.raises(pw.InputError, match=f"was {before}, and is {after}.*: add --gains FILE"):
        origin_of(pw.open_map("map.tif"), "map.tif")


def test_a_table_that_moved_is_named(home: Path) -> None:
    map_ = made()
    (home / "tables").mkdir()
    (home / "gains.csv").rename(home / "tables" / "g.csv")
    assert "its table of gains" in (said := refused("map.tif"))
    assert said.endswith("is no longer there; if it was moved, name it: pixelwise verify map.tif --gains FILE")
    # Its rows name files from another folder now, but no other files have these names.
    done = run("verify", "map.tif", "--gains", "tables/g.csv", "--all")
    assert done.exit_code == 0, done.output
    [fit] = fits_of_map(map_, "map.tif", [(3, 4)], options={"gains": "tables/g.csv"})
    assert fit["slope"] == map_["slope"][3, 4]


def test_a_table_of_files_elsewhere_is_not_that_of_the_map(home: Path) -> None:
    (home / "ndvi").rename(home / "moved")
    made(source="moved")
    assert verify("map.tif", everything=True).differing == 0
    shutil.copytree(home / "moved", home / "ndvi")
    assert f"belongs to {home}/ndvi/ndvi_2000.tif, not to {home}/moved/ndvi_2000.tif, but the map" in refused("map.tif")


def test_a_table_outside_the_folder_is_opened_only_if_it_is_named(home: Path) -> None:
    (home / "maps").mkdir()
    made("maps/map.tif", source=[f"ndvi/ndvi_{year}.tif" for year in YEARS])
    assert (
        "maps/map.tif: its table of gains ../gains.csv is outside its folder and is opened only if you name it: "
        "pixelwise verify maps/map.tif --gains FILE"
    ) in refused("maps/map.tif", "ndvi")
    assert run("verify", "maps/map.tif", "ndvi", "--gains", "gains.csv").exit_code == 0
    with pytest.raises(pw.InputError, match="is outside its folder"):
        origin_of(pw.open_map("maps/map.tif"), "maps/map.tif", "ndvi")
    shown = run("series", "ndvi", "--map", "maps/map.tif", "--pixel", "3,4", "--gains", "gains.csv")
    assert shown.exit_code == 0, shown.output


def test_a_table_for_a_map_without_gains_is_refused(home: Path) -> None:
    made(gains=None)
    assert "map.tif: was not made with a table of gains: leave gains.csv out" in refused(
        "map.tif", "--gains", "gains.csv"
    )
    with pytest.raises(pw.InputError, match="was not made with a table of gains"):
        origin_of(pw.open_map("map.tif"), "map.tif", options={"gains": "gains.csv"})


def test_series_of_a_map_are_rectified_without_a_word(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    map_ = made()
    stack = pw.open_stack("ndvi", gains="gains.csv")
    caplog.clear()
    [fit] = fits_of_map(map_, "map.tif", [(3, 4)])
    np.testing.assert_array_equal(fit.series.values, stack.read(stack.grid.block)[:, 3, 4])
    assert fit["slope"] == map_["slope"][3, 4]
    assert not caplog.messages


def test_a_preset_says_how_many_scenes_it_changes_and_one_that_has_changed_is_refused(home: Path) -> None:
    for sensor, year, token in (("LE07", 2001, "B4"), ("LE07", 2003, "B4"), ("LC08", 2014, "B5")):
        scene = f"{sensor}_L2SP_014032_{year}0711_{year}0903_02_T1"
        stored = np.random.default_rng(year).integers(8000, 30000, SHAPE[1:]).astype(np.uint16)
        write_raster(home / "l" / f"{scene}_SR_{token}.TIF", stored)
    map_ = made(source="l", gains="roy2016", product="landsat-c2-l2", band="nir", mask="none")
    [fit] = fits_of_map(map_, "map.tif", [(3, 4)])
    assert fit["slope"] == map_["slope"][3, 4]
    assert "gains roy2016, 2 of 3 scenes, sha256" in " ".join(run("info", "map.tif").stdout.split())
    assert map_.provenance["input"]["gains"]["unchanged"] == 1
    retell(sha256="0" * 64)
    with pytest.raises(pw.InputError, match="was made with other gains of the preset roy2016 than this version"):
        origin_of(pw.open_map("map.tif"), "map.tif")


def retell(**gains: Any) -> None:
    with rasterio.open("map.tif", "r+") as dataset:
        provenance = decode_provenance(dataset.tags()[TAG])
        provenance["input"]["gains"].update(gains)
        dataset.update_tags(**{TAG: encode_provenance(provenance)})


@pytest.mark.parametrize(
    ("gains", "problem"),
    [
        ({"path": 3}, r"path is 3"),
        ({"path": "https://a.org/g.csv"}, r"the table of its gains is 'https://a.org/g.csv'"),
        ({"path": "/vsicurl/x"}, r"the table of its gains is"),
        ({"path": "x" * 20_000}, r"the table of its gains is"),
        ({"sha256": "../x"}, r"sha256 of its gains is '../x'"),
        ({"preset": "roy2016"}, r"its gains are 'roy2016'"),
    ],
)
def test_what_a_map_says_is_not_trusted(gains: Any, problem: str, home: Path) -> None:
    made()
    retell(**gains)
    assert re.search(f"is damaged .*{problem}", refused("map.tif"))


def test_a_link_out_of_the_folder_is_not_followed(home: Path) -> None:
    (home / "maps").mkdir()
    (home / "ndvi").rename(home / "maps" / "ndvi")
    (home / "gains.csv").rename(home / "elsewhere.csv")
    (home / "maps" / "gains.csv").symlink_to(home / "elsewhere.csv")
    made("maps/map.tif", source="maps/ndvi", gains="maps/gains.csv")
    assert "its table of gains gains.csv is outside its folder" in refused("maps/map.tif")
