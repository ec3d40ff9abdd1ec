"""Scenes are read with the gains of a table or preset: the right line for each band of each file, or a clear error."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.stacks import file_reader
from support.arrays import cube
from support.command_line import run
from support.images import at
from support.limits import set_limits
from support.rasters import pixels_in, problem_of, problems_of, read_all, refusal_of, write_raster
from support.stopping import Stop, stopped_after

YEARS = tuple(range(2001, 2009))
SHAPE = (20, 30)


def line_of(year: int, band: str) -> tuple[float, float]:
    """Return gain and offset: other ones for each scene and band, none of them exact in binary."""
    return 1 + (0.013 if band == "red" else -0.017) * (year - 2000), 0.0031 * (year - 2003)


def row(path: str, year: int, band: str, flag: str = "", date: str = "") -> str:
    gain, offset = line_of(year, band)
    return f"{path},{date or f'{year}-07-15'},{band},{gain!r},{offset!r},{flag}"


def write_table(path: Path, rows: Sequence[str]) -> Path:
    path.write_text("path,date,band,gain,offset,flag\n" + "".join(f"{one}\n" for one in rows))
    return path


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Scenes of eight years with two bands, as integers with a scale, and their table beside the folder."""
    random = np.random.default_rng(1)
    for year in YEARS:
        stored = random.integers(0, 10000, (2, *SHAPE)).astype(np.int16)
        stored[:, 0, :5] = -9999
        write_raster(tmp_path / "scenes" / f"x_{year}0715.tif", stored, nodata=-9999, descriptions=("red", "nir"),
                     scales=(0.0001, 0.0001), offsets=(0.0, 0.0))  # fmt: skip
    rows = [row(f"scenes/x_{year}0715.tif", year, band) for year in YEARS for band in ("red", "nir")]
    write_table(tmp_path / "gains.csv", rows)
    return tmp_path / "scenes"


def rectified(folder: Path, year: int, band: str) -> Any:
    """Return (y, x) of a scene by plain rasterio and NumPy: scaled first, then on its line."""
    with rasterio.open(folder / f"x_{year}0715.tif") as dataset:
        stored = dataset.read(1 if band == "red" else 2)
    gain, offset = line_of(year, band)
    return np.where(stored == -9999, np.nan, (stored * 0.0001 + 0.0) * gain + offset)


# ------------------------------------------------------------------------------------------------- values


def test_a_formula_is_computed_from_rectified_bands(scenes: Path) -> None:
    stack = pw.open_stack(scenes, value="ndvi", gains=scenes.parent / "gains.csv")
    for year, found in zip(YEARS, read_all(stack), strict=True):
        red, nir = (rectified(scenes, year, band) for band in ("red", "nir"))
        np.testing.assert_array_equal(found, (nir - red) / (nir + red))
    assert (stack.gains.scenes, stack.gains.left_out, stack.gains.kept) == (8, 0, 0)


def test_one_band_is_rectified_too(scenes: Path) -> None:
    stack = pw.open_stack(scenes, band="nir", gains=scenes.parent / "gains.csv")
    for year, found in zip(YEARS, read_all(stack), strict=True):
        np.testing.assert_array_equal(found, rectified(scenes, year, "nir"))
    np.testing.assert_array_equal(read_all(stack.unrectified), read_all(pw.open_stack(scenes, band="nir")))


def test_limits_are_those_of_the_values_before_to_the_bit(tmp_path: Path) -> None:
    """Exactly 1 is within 0..1 whatever the gain, and the next number is not."""
    for dtype in (np.float32, np.float64):
        one = dtype(1)
        edge = np.array([[0, np.nextafter(dtype(0), -one), one, np.nextafter(one, dtype(2)), 0.5]], dtype=dtype)
        folder, rows = tmp_path / np.dtype(dtype).name, []
        for year in YEARS:
            write_raster(folder / f"x_{year}0715.tif", edge)
            # Gains and offsets with which limits that are moved along would round to either side.
            rows.append(
                f"{folder.name}/x_{year}0715.tif,{year}-07-15,b1,{0.1 * (year - 2000)!r},{0.7 / (year - 2000)!r}"
            )
        table = tmp_path / "gains.csv"
        table.write_text("path,date,band,gain,offset\n" + "\n".join(rows))
        values = read_all(pw.open_stack(folder, valid_range=(0, 1), gains=table))
        for year, found in zip(YEARS, values, strict=True):
            gain, offset = 0.1 * (year - 2000), 0.7 / (year - 2000)
            expected = [0 * gain + offset, np.nan, 1 * gain + offset, np.nan, 0.5 * gain + offset]
            np.testing.assert_array_equal(found[0], expected)


def test_scaled_limits_and_those_of_products_stay_where_they_were(scenes: Path) -> None:
    values = read_all(pw.open_stack(scenes, band="red", valid_range=(0.2, 0.4), gains=scenes.parent / "gains.csv"))
    plain = read_all(pw.open_stack(scenes, band="red", valid_range=(0.2, 0.4)))
    np.testing.assert_array_equal(np.isnan(values), np.isnan(plain))
    assert 0.1 < np.isnan(plain).mean() < 0.9


def test_the_type_does_not_depend_on_the_gains(tmp_path: Path) -> None:
    for year in YEARS:
        write_raster(tmp_path / "f" / f"x_{year}0715.tif", np.full(SHAPE, 0.5, np.float32))
    rows = [f"f/x_{year}0715.tif,{year}-07-15,b1,1,0," for year in YEARS]
    table = write_table(tmp_path / "gains.csv", rows)
    assert pw.open_stack(tmp_path / "f").dtype == np.float32
    assert pw.open_stack(tmp_path / "f", gains=table).dtype == np.float64


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_bands_of_one_file_are_still_read_at_once(
    interleave: str, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each band has another gain, but a file of interleaved bands is decoded once."""
    calls: list[tuple[int, ...]] = []
    read = file_reader.read_with_retries

    def counting(piece: Any, bands: tuple[int, ...], *rest: Any) -> Any:
        calls.append(bands)
        return read(piece, bands, *rest)

    monkeypatch.setattr(file_reader, "read_with_retries", counting)
    for path in sorted(scenes.glob("*.tif")):
        write_raster(path, pixels_in(path), nodata=-9999, descriptions=("red", "nir"), interleave=interleave)
    read_all(pw.open_stack(scenes, value="nir - red", gains=scenes.parent / "gains.csv"))
    assert calls == [(2, 1)] * len(YEARS)


def test_bands_as_dates_have_a_line_each(tmp_path: Path) -> None:
    """A file whose bands are dates, decoded at once: float64 as stored, so that it is unpacked where it was read."""
    stored = np.random.default_rng(2).random((8, *SHAPE))
    stored[0, 0, 0] = np.nan
    write_raster(tmp_path / "all.tif", stored, descriptions=[f"{year}-07-15" for year in YEARS], interleave="pixel")
    rows = [row("all.tif", year, f"{year}-07-15") for year in YEARS]
    values = read_all(pw.open_stack(tmp_path / "all.tif", gains=write_table(tmp_path / "gains.csv", rows)))
    for year, before, found in zip(YEARS, stored, values, strict=True):
        gain, offset = line_of(year, "nir")
        np.testing.assert_array_equal(found, before * gain + offset)


def test_variables_of_arrays_are_found_by_date(tmp_path: Path) -> None:
    """One file holds all dates and both bands, and a chunk holds several dates."""
    random = np.random.default_rng(3)
    red, nir = random.random((2, 6, *SHAPE))
    dataset = cube(red, name="red").assign(nir=cube(nir, name="nir")["nir"])
    dataset.to_netcdf(tmp_path / "s.nc", encoding={name: {"chunksizes": (3, 20, 30)} for name in ("red", "nir")})
    months = [f"2001-{month:02d}-01" for month in range(1, 7)]
    rows = [row("s.nc", 2000 + n, band, date=date) for n, date in enumerate(months, 1) for band in ("red", "nir")]
    stack = pw.open_stack(tmp_path / "s.nc", value="nir - red", gains=write_table(tmp_path / "gains.csv", rows))
    for step, found in enumerate(read_all(stack)):
        (g_red, o_red), (g_nir, o_nir) = (line_of(2001 + step, band) for band in ("red", "nir"))
        np.testing.assert_array_equal(found, (nir[step] * g_nir + o_nir) - (red[step] * g_red + o_red))
    months[2] = "2001-03-02"
    rows = [row("s.nc", 2000 + n, band, date=date) for n, date in enumerate(months, 1) for band in ("red", "nir")]
    problem = problem_of(tmp_path / "s.nc", value="nir - red", gains=write_table(tmp_path / "gains.csv", rows))
    assert f"lacks 1 of 6 scenes: {tmp_path}/s.nc of 2001-03-01; make the table again" in problem


def test_files_of_one_image_have_a_line_each(tmp_path: Path) -> None:
    """Two tiles of each date, each with a line of its own, as tables of several runs may have them."""
    rows = []
    for year in YEARS[:3]:
        for side, col in (("w", 0), ("e", 30)):
            path = write_raster(tmp_path / "t" / f"{side}_{year}0715.tif", np.full(SHAPE, 0.5), transform=at(0, col))
            rows.append(f"t/{path.name},{year}-07-15,b1,{1.5 if side == 'w' else 2.5},{year / 1000!r},")
    table = write_table(tmp_path / "gains.csv", rows)
    values = read_all(pw.open_stack(tmp_path / "t", extent="union", same_date="mosaic", gains=table))
    for year, found in zip(YEARS[:3], values, strict=True):
        np.testing.assert_array_equal(found[:, :30], 0.5 * 1.5 + year / 1000)
        np.testing.assert_array_equal(found[:, 30:], 0.5 * 2.5 + year / 1000)


def test_images_of_one_date_are_left_out_one_by_one(tmp_path: Path) -> None:
    rows = []
    for year in YEARS[:3]:
        for side, col in (("a", 0), ("b", 20)):  # they overlap
            path = write_raster(tmp_path / "t" / f"{side}_{year}0715.tif", np.full(SHAPE, 0.5), transform=at(0, col))
            rows.append(f"t/{path.name},{year}-07-15,b1,{1.5 if side == 'a' else 2.5},0,")
    table = write_table(tmp_path / "gains.csv", [f"{one}far" if "a_2002" in one else one for one in rows])
    stack = pw.open_stack(tmp_path / "t", extent="union", same_date="mosaic", gains=table)
    assert (len(stack), stack.gains.scenes, stack.gains.left_out) == (3, 5, 1)
    first, second, _ = read_all(stack)
    np.testing.assert_array_equal(first, np.where(np.arange(50) < 30, 0.75, 1.25) * np.ones((20, 1)))
    np.testing.assert_array_equal(second, np.where(np.arange(50) < 20, np.nan, 1.25) * np.ones((20, 1)))


def test_composites_are_made_of_rectified_scenes(scenes: Path) -> None:
    for year in YEARS:
        for month in (6, 8):
            stored = pixels_in(scenes / f"x_{year}0715.tif") + np.int16(month)
            write_raster(scenes / f"x_{year}{month:02d}15.tif", stored, nodata=-9999, descriptions=("red", "nir"),
                         scales=(1e-4, 1e-4), offsets=(0.0, 0.0))  # fmt: skip
    table = scenes.parent / "gains.csv"
    rows = [row(f"scenes/x_{year}{month:02d}15.tif", year, "red", date=f"{year}-{month:02d}-15")
            for year in YEARS for month in (6, 7, 8)]  # fmt: skip
    write_table(table, rows)
    scenes_ = pw.open_stack(scenes, band="red", gains=table)
    found = read_all(scenes_.composite("median"))
    values = read_all(scenes_).reshape(len(YEARS), 3, *SHAPE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN")
        np.testing.assert_array_equal(found, np.nanmedian(values, axis=1))
    # Outside the season nothing is read, and needs no gains.
    write_table(table, [one for one in rows if "-08-15" not in one])
    output = scenes.parent / "map.tif"
    words = ("apply", "ols", scenes, "--band", "red", "--gains", table, "--composite", "max", "-o", output, "--quiet")
    refused = run(*words)
    assert refused.exit_code == 1
    assert "lacks 8 of 24 scenes: " in refused.stderr
    done = run(*words, "--season", "06-01..07-31")
    assert done.exit_code == 0, done.output
    assert pw.open_map(output).provenance["input"]["gains"]["scenes"] == 16


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_the_same_bytes_whoever_computes_and_in_whatever_blocks(
    executor: str, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, window_bytes=1)
    options = {"value": "ndvi", "gains": scenes.parent / "gains.csv"}
    whole = pw.apply(pw.open_stack(scenes, **options), "ols", executor="inline", jobs=1)
    found = pw.apply(pw.open_stack(scenes, **options), "ols", executor=executor, jobs=2)
    for name in whole:
        np.testing.assert_array_equal(found[name], whole[name])
    plain = pw.apply(pw.open_stack(scenes, value="ndvi"), "ols")
    assert not np.array_equal(plain["slope"], whole["slope"], equal_nan=True)


# ------------------------------------------------------------------------------------------------- tables


def test_a_table_in_another_folder_finds_files_by_their_names(
    scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row(f"/elsewhere/x_{year}0715.tif", year, "red") for year in YEARS]
    (tmp_path / "tables").mkdir()
    table = write_table(tmp_path / "tables" / "g.csv", rows)
    np.testing.assert_array_equal(
        read_all(pw.open_stack(scenes, band="red", gains=table)),
        read_all(pw.open_stack(scenes, band="red", gains=tmp_path / "gains.csv")),
    )
    # There is no other file of these names, but nothing else says that they are meant.
    remark = f"gains {table}: names files that are not there; 8 of 8 scenes were matched by their names alone"
    assert caplog.messages == [remark]
    words = (scenes, "--band", "red", "--gains", table)
    assert remark in run("plan", *words).output
    done = run("apply", "ols", *words, "-o", tmp_path / "map.tif", "--quiet")
    assert (done.exit_code, done.stderr.count(remark)) == (0, 1), done.output
    assert remark in " ".join(run("info", tmp_path / "map.tif").stdout.split())
    # Twice the same name: which one is meant is unknown.
    write_table(table, [*rows, row("/third/x_20010715.tif", 2001, "red")])
    assert "lacks 1 of 8 scenes: " in problem_of(scenes, band="red", gains=table)


def test_a_table_of_another_area_is_refused_though_its_files_have_the_same_names(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "area2")
    table, output = tmp_path / "gains.csv", tmp_path / "map.tif"
    words = ("apply", "ols", f"{tmp_path}/area2/*.tif", "--band", "red", "--gains", table, "-o", output, "--quiet")
    refused = run(*words)
    assert (refused.exit_code, output.exists()) == (1, False)
    assert (
        f"gains {table}: belongs to scenes/x_20010715.tif, not to {tmp_path}/area2/x_20010715.tif (8 files like this); "
        "make a table from these scenes (pixelwise rectify)"
    ) in refused.stderr
    (scenes / "x_20010715.tif").unlink()  # one of its files does not make it a table of others
    assert "(7 files like this)" in problem_of(tmp_path / "area2", band="red", gains=table)
    scenes.rename(tmp_path / "away")
    assert run(*words).exit_code == 0
    # Links lead to the same files.
    (tmp_path / "away").rename(scenes)
    (tmp_path / "linked").symlink_to(scenes)
    assert len(pw.open_stack(tmp_path / "linked", band="red", gains=table)) == 7


def test_copies_of_files_on_servers_are_matched_by_their_names(scenes: Path, tmp_path: Path) -> None:
    rows = [row(f"https://a.org/s/x_{year}0715.tif", year, "red") for year in YEARS]
    stack = pw.open_stack(scenes, band="red", gains=write_table(tmp_path / "g.csv", rows))
    assert [text for text in stack.remarks if "gains" in text] == [
        f"gains {tmp_path}/g.csv: names files on servers; 8 of 8 scenes were matched by their names alone"
    ]


def test_dates_may_be_written_less_exactly(tmp_path: Path) -> None:
    for year in YEARS:
        write_raster(tmp_path / "f" / f"x_{year}0715T101112.tif", np.full(SHAPE, 0.5))
    for date in ("{}-07-15T10:11:12", "{}-07-15", "{}-07", "{}"):
        rows = [row(f"f/x_{year}0715T101112.tif", year, "b1", date=date.format(year)) for year in YEARS]
        stack = pw.open_stack(tmp_path / "f", gains=write_table(tmp_path / "gains.csv", rows))
        assert read_all(stack)[0, 0, 0] == 0.5 * line_of(2001, "nir")[0] + line_of(2001, "nir")[1]


def test_rows_of_other_scenes_do_no_harm_but_do_not_help(scenes: Path, tmp_path: Path) -> None:
    stack = pw.open_stack(scenes, band="red", start="2003", gains=tmp_path / "gains.csv")
    assert (len(stack), stack.gains.scenes) == (6, 6)
    other = write_table(tmp_path / "other.csv", [row(f"scenes/y_{year}0715.tif", year, "red") for year in YEARS])
    assert problem_of(scenes, band="red", gains=other) == (
        f"gains {other}: lacks 8 of 8 scenes: {scenes}/x_20010715.tif, {scenes}/x_20020715.tif, "
        f"{scenes}/x_20030715.tif and 5 more; make the table again from all scenes (pixelwise rectify), or leave them "
        "out: by their dates (--start, --end, --months), or by taking the files out of the input"
    )


def test_lacking_bands_and_other_dates_are_named(scenes: Path, tmp_path: Path) -> None:
    rows = [row(f"scenes/x_{year}0715.tif", year, "red") for year in YEARS]
    table = write_table(tmp_path / "t.csv", rows)
    problem = problem_of(scenes, value="ndvi", gains=table)
    assert problem.startswith(f"gains {table}: lacks band nir of 8 of 8 scenes, but has red: {scenes}/x_20010715.tif, ")
    write_table(table, [one.replace("2003-07-15", "2003-07-16") for one in rows])
    problem = problem_of(scenes, band="red", gains=table)
    assert f"1 of 8 scenes: {scenes}/x_20030715.tif is of 2003-07-15, there of 2003-07-16; " in problem
    # All at once.
    write_table(table, [one.replace("2003-07-15", "2003-07-16") for one in rows if "2001" not in one])
    assert len(problems_of(scenes, band="red", gains=table)) == 2


def test_a_broken_table_is_a_problem_among_others(scenes: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", ["scenes/x_20010715.tif,2001-07-15,red,0,0,"])
    found = problems_of(scenes, band="red", gains=table, bounds=(0, 0, 1, 1))
    assert found[0] == f"gains {table}, line 2: gain 0 is impossible: expected a number above 0"
    assert len(found) == 2


# -------------------------------------------------------------------------------------------------- flags


def flag(table: Path, flags: dict[int, str], band: str = "red") -> Path:
    lines = table.read_text().splitlines()
    for year, words in flags.items():
        lines = [line + words if f"{year}-07-15,{band}," in line else line for line in lines]
    table.write_text("\n".join(lines) + "\n")
    return table


def test_doubtful_scenes_are_left_out_and_counted(scenes: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = flag(scenes.parent / "gains.csv", {2002: "few", 2003: "few little_unchanged", 2005: "little_unchanged far"})
    stack = pw.open_stack(scenes, band="red", gains=table)
    assert [layer.date.year for layer in stack.layers] == [2001, 2002, 2004, 2006, 2007, 2008]
    said = (
        f"gains {table}: 2 of 8 scenes are left out because of flagged gains (2 little_unchanged, 1 far); "
        "--gains-flagged keep uses them"
    )
    assert said in stack.remarks
    assert said in caplog.messages
    # Of a band that is not read, no flag counts.
    assert len(pw.open_stack(scenes, band="nir", gains=table)) == 8
    caplog.clear()
    kept = pw.open_stack(scenes, band="red", gains=table, gains_flagged="keep")
    assert (len(kept), kept.gains.scenes, kept.gains.left_out, kept.gains.kept) == (8, 8, 0, 2)
    [said] = kept.remarks
    assert said == f"gains {table}: 2 of 8 scenes are used in spite of flagged gains (2 little_unchanged, 1 far)"
    assert said in caplog.messages


def test_scenes_without_gains_cannot_be_kept(scenes: Path) -> None:
    table = flag(scenes.parent / "gains.csv", {2003: "far"})
    lines = table.read_text().splitlines()
    gone = ["scenes/x_20050715.tif,2005-07-15,red,,,refused" if "2005-07-15,red" in line else line for line in lines]
    table.write_text("\n".join(gone) + "\n")
    stack = pw.open_stack(scenes, band="red", gains=table, gains_flagged="keep")
    assert [layer.date.year for layer in stack.layers] == [2001, 2002, 2003, 2004, 2006, 2007, 2008]
    dropped = pw.open_stack(scenes, band="red", gains=table)
    assert dropped.remarks[0].endswith("flagged gains (1 far, 1 refused); --gains-flagged keep uses 1 of them")
    assert [one.partition(": ")[2] for one in stack.remarks] == [
        "1 of 8 scenes is used in spite of flagged gains (1 far)",
        "1 of 8 scenes is left out because of flagged gains (1 refused)",
    ]


@pytest.mark.parametrize(("good", "left"), [(0, "0 dates are left"), (1, "1 date is left")])
def test_two_dates_must_be_left(good: int, left: str, scenes: Path) -> None:
    table = flag(scenes.parent / "gains.csv", dict.fromkeys(YEARS[good:], "uncertain"))
    problem = problem_of(scenes, value="ndvi", gains=table)
    assert problem == (
        f"gains {table}: {8 - good} of 8 scenes are left out because of flagged gains ({8 - good} uncertain); "
        f"--gains-flagged keep uses them; {left}: a series needs at least two"
    )


def test_options_are_checked(scenes: Path) -> None:
    with pytest.raises(pw.ParameterError, match=r"^gains_flagged keep without gains: give --gains FILE\|PRESET$"):
        pw.open_stack(scenes, band="red", gains_flagged="keep")
    with pytest.raises(pw.ParameterError, match="gains_flagged='all' is not one of drop, keep"):
        pw.open_stack(scenes, band="red", gains="gains.csv", gains_flagged="all")
    with pytest.raises(pw.ParameterError, match="gains is empty"):
        pw.open_stack(scenes, band="red", gains="")
    with pytest.raises(pw.ParameterError, match=r"unknown preset of gains 'roy201'; did you mean 'roy2016'\?.*a table"):
        pw.open_stack(scenes, band="red", gains="roy201")
    assert refusal_of(scenes, band="red", gains="roy201.csv") == "gains roy201.csv: No such file or directory"


# ------------------------------------------------------------------------------------------------ presets

#: Roy et al. 2016, as notes and scripts have it: from ETM+ to OLI, in reflectance.
ROY = {"red": (0.9047, 0.0061), "nir": (0.8462, 0.0412)}
BANDS = {"LT05": ("B3", "B4"), "LE07": ("B3", "B4"), "LC08": ("B4", "B5"), "LC09": ("B4", "B5")}


def write_landsat(folder: Path, sensors: dict[int, str]) -> dict[int, tuple[Any, Any]]:
    """Write scenes of Collection 2, and return their reflectances."""
    found = {}
    for year, sensor in sensors.items():
        stored = np.random.default_rng(year).integers(8000, 30000, (2, *SHAPE)).astype(np.uint16)
        scene = f"{sensor}_L2SP_014032_{year}0711_{year}0903_02_T1"
        for token, values in zip(BANDS[sensor], stored, strict=True):
            write_raster(folder / scene / f"{scene}_SR_{token}.TIF", values)
        found[year] = tuple(stored * 0.0000275 + -0.2)
    return found


def test_a_preset_changes_the_sensor_that_it_is_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sensors = {2001: "LE07", 2002: "LE07", 2014: "LC08", 2022: "LC09"}
    before = write_landsat(tmp_path / "l", sensors)
    options = {"product": "landsat-c2-l2", "value": "ndvi", "mask": "none"}
    stack = pw.open_stack(f"{tmp_path}/l/**/*.TIF", gains="roy2016", **options)
    for (year, sensor), found in zip(sensors.items(), read_all(stack), strict=True):
        lines = ROY if sensor == "LE07" else {"red": (1.0, 0.0), "nir": (1.0, 0.0)}
        red, nir = (v * lines[band][0] + lines[band][1] for v, band in zip(before[year], ("red", "nir"), strict=True))
        np.testing.assert_array_equal(found, (nir - red) / (nir + red))
    [said] = [one for one in stack.remarks if "roy2016" in one]
    assert said in caplog.messages
    for words in ("Roy et al. 2016", "pre-collection", "advised against for landsat-c2-l2", "LT-GEE issue 30",
                  "2 of 4 scenes are changed", "those of LE07", "themselves: pixelwise rectify"):  # fmt: skip
        assert words in said
    map_ = pw.apply(stack, "ols", tmp_path / "map.tif")
    assert said in map_.provenance["warnings"]
    recorded = map_.provenance["input"]["gains"]
    assert (recorded["preset"], recorded["scenes"], len(recorded["sha256"])) == ("roy2016", 4, 64)
    assert not any("several sensors" in one for one in map_.provenance["warnings"])


def test_presets_refuse_what_was_not_measured(tmp_path: Path) -> None:
    write_landsat(tmp_path / "l", {2001: "LT05", 2002: "LE07", 2014: "LC08"})
    source, options = f"{tmp_path}/l/**/*.TIF", {"product": "landsat-c2-l2", "mask": "none", "gains": "roy2016"}
    with pytest.raises(pw.ParameterError, match=r"other sensors: 1 of LT05; LT05 were not measured; find gains with"):
        pw.open_stack(source, value="ndvi", **options)
    assert len(pw.open_stack(source, value="ndvi", start="2002", **options)) == 2
    for path in tmp_path.glob("l/*/*B4.TIF"):
        path.with_name(path.name.replace("SR_B4", "ST_B6" if "LE07" in path.name else "ST_B10")).write_bytes(
            path.read_bytes()
        )
    with pytest.raises(pw.ParameterError, match=r"^gains roy2016: have none for thermal, only for blue, green, red, "):
        pw.open_stack(source, band="thermal", start="2002", **options)
    with pytest.raises(pw.ParameterError, match="which only products know: give --product"):
        pw.open_stack(tmp_path / "l" / "LC08_L2SP_014032_20140711_20140903_02_T1", band=1, gains="roy2016")


# ------------------------------------------------------------------------- checks, plans, records, journals


def test_sensors_are_warned_of_unless_gains_are_given(tmp_path: Path) -> None:
    sensors = {2001: "LE07", 2002: "LT05", 2014: "LC08", 2022: "LC09"}
    write_landsat(tmp_path / "l", sensors)
    words = ("plan", f"{tmp_path}/l/**/*.TIF", "--product", "landsat-c2-l2", "--band", "nir", "--mask", "none")
    result = run(*words)
    assert (
        "several sensors (LT05/LE07 2, 2001-07-11 to 2002-07-11; LC08/LC09 2, 2014-07-11 to 2022-07-11) whose bands "
        "differ: a step from one to the next may look like a trend; make them comparable with pixelwise rectify SCENES "
        "--product landsat-c2-l2 --per scene --season MM-DD..MM-DD -o gains.csv, then give --gains gains.csv"
    ) in result.stdout
    # No two scenes are near enough in time for gains per sensor.
    assert (
        "--product landsat-c2-l2 --per scene --season 06-01..08-31 -o"
        in run(*words, "--composite", "max", "--season", "06-01..08-31").stdout
    )
    rows = [f"{path.relative_to(tmp_path)},{year}-07-11,nir,1,0," for year in sensors
            for path in tmp_path.glob(f"l/*_{year}0711_*/*{BANDS[sensors[year]][1]}.TIF")]  # fmt: skip
    table = write_table(tmp_path / "gains.csv", [*rows[:3], f"{rows[3]}uncertain"])
    result = run(*words, "--gains", table)
    assert "several sensors" not in result.stdout
    assert f"gains     {table}: 3 scenes, 1 more flagged and left out\n" in result.stdout
    assert "left out because of flagged gains (1 uncertain)" in result.stderr
    gains = json.loads(run(*words, "--gains", table, "--gains-flagged", "keep", "--json").stdout)["gains"]
    assert (gains["path"], gains["scenes"], gains["kept"]) == (str(table), 4, 1)


def test_gains_per_sensor_are_advised_if_pairs_of_scenes_link_all_sensors(tmp_path: Path) -> None:
    """Landsat 5 and 7, then 7 and 8, follow each other after at most 8 days."""
    dates = {"LT05": ["20010711"], "LE07": ["20010719", "20140703"], "LC08": ["20140711"]}
    for sensor, date in ((sensor, date) for sensor, dates in dates.items() for date in dates):
        scene = f"{sensor}_L2SP_014032_{date}_20200903_02_T1"
        stored = np.random.default_rng(int(date)).integers(8000, 30000, SHAPE).astype(np.uint16)
        write_raster(tmp_path / "l" / f"{scene}_SR_{BANDS[sensor][1]}.TIF", stored)
    words = ("plan", tmp_path / "l", "--product", "landsat-c2-l2", "--band", "nir", "--mask", "none")
    assert "rectify SCENES --product landsat-c2-l2 --per sensor -o gains.csv" in run(*words).stdout
    for file in tmp_path.glob("l/LE07*20140703*"):
        file.rename(str(file).replace("20140703", "20140702"))  # nine days
    assert "rectify SCENES --product landsat-c2-l2 --per scene --season MM-DD..MM-DD -o" in run(*words).stdout


def test_fill_values_are_found_in_values_as_they_are_stored(tmp_path: Path) -> None:
    """With gains, one fill value would be as many values as there are scenes."""
    rows = []
    for year in YEARS:
        stored = np.random.default_rng(year).integers(0, 1000, (40, 50)).astype(np.int16)
        stored[:4] = -3000
        write_raster(tmp_path / "f" / f"x_{year}0715.tif", stored)
        rows.append(row(f"f/x_{year}0715.tif", year, "b1"))
    table = write_table(tmp_path / "gains.csv", rows)
    result = run("plan", tmp_path / "f", "--gains", table)
    assert "the value -3000 occurs" in result.stdout
    assert "different scales" not in result.stdout


def test_records_say_which_table_was_used(scenes: Path, tmp_path: Path) -> None:
    output = tmp_path / "maps" / "map.tif"
    output.parent.mkdir()
    table = flag(tmp_path / "gains.csv", {2004: "uncertain"})
    done = run("apply", "ols", scenes, "--band", "red", "--gains", table, "-o", output, "--quiet")
    assert done.exit_code == 0, done.output
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    given = pw.open_map(output).provenance["input"]
    assert given["gains"] == {"path": "../gains.csv", "sha256": digest, "scenes": 7, "left_out": 1, "kept": 0}
    assert given["spec"]["gains"] == str(table)
    info = run("info", output).stdout
    assert "gains " in info
    assert "../gains.csv, 7 scenes, 1 more flagged and left out, sha256" in " ".join(info.split())
    # The table is an input: nothing replaces it.
    refused = run("plot", output, "-o", tmp_path / "gains.csv", "--overwrite")
    assert refused.exit_code != 0
    assert table.read_text().startswith("path,")


def test_a_job_resumes_only_with_the_same_table(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=1)
    table, output = tmp_path / "gains.csv", tmp_path / "map.tif"
    content = table.read_text()

    def job(**options: Any) -> pw.Map:
        stack = pw.open_stack(scenes, band="red", gains=table)
        return pw.apply(stack, "ols", output, jobs=1, executor="inline", **options)

    with pytest.raises(Stop):
        job(progress=stopped_after(1))
    table.write_text(content.replace("2004-07-15,red,", "2004-07-15,red,0"))  # the same number, written differently
    with pytest.raises(pw.OutputError, match=r"input 1 gains sha256 is different; --restart discards it"):
        job()
    table.write_text(content)
    found = job()
    np.testing.assert_array_equal(
        found["slope"], pw.apply(pw.open_stack(scenes, band="red", gains=table), "ols")["slope"]
    )


def test_covariates_have_gains_by_their_recipes(scenes: Path, tmp_path: Path) -> None:
    """The table is found from the recipe's folder; the response has no gains."""
    (tmp_path / "recipes").mkdir()
    recipe = tmp_path / "recipes" / "red.toml"
    made = run("plan", scenes, "--band", "red", "--gains", tmp_path / "gains.csv", "--write-recipe", recipe)
    assert made.exit_code == 0, made.output
    recipe.write_text(recipe.read_text().replace(f"{tmp_path}/", "../"))
    assert 'gains = "../gains.csv"' in recipe.read_text()
    output = tmp_path / "map.tif"
    done = run("apply", "regress", scenes, "--band", "nir", "--with", f"red={recipe}", "-p", "covariates=red", "-o",
               output, "--quiet")  # fmt: skip
    assert done.exit_code == 0, done.output
    provenance = pw.open_map(output).provenance
    assert "gains" not in provenance["input"]
    assert provenance["further_inputs"]["red"]["gains"]["scenes"] == 8
    # By hand, at one pixel.
    red = np.array([rectified(scenes, year, "red")[7, 9] for year in YEARS])
    nir = read_all(pw.open_stack(scenes, band="nir"))[:, 7, 9]
    assert pw.open_map(output)["red"][7, 9] == pytest.approx(np.polyfit(red, nir, 1)[0], rel=1e-5)


def test_gains_are_not_found_for_rectified_scenes(scenes: Path, tmp_path: Path) -> None:
    stack = pw.open_stack(scenes, value="nir - red", gains=tmp_path / "gains.csv")
    with pytest.raises(pw.ParameterError, match="rectify compares scenes as they are in their files"):
        pw.rectify(stack)
