"""Which band of which file was observed when."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.opening.recipe import read_recipe, write_recipe
from pixelwise.verify.compare import verify
from support.images import IMAGE, YEARS, at, dates_of, names_of, values_of, write_shards
from support.rasters import MakeStack, problem_of, problems_of, write_raster

# -------------------------------------------------------------------------------------------------- bands


def test_bands_that_are_dates(tmp_path: Path):
    path = write_raster(tmp_path / "study_1999.tif", YEARS, descriptions=["2001-03-05", "2000-03-05", "2002-03-05"])
    stack = pw.open_stack(path)
    assert dates_of(stack) == ["2000-03-05", "2001-03-05", "2002-03-05"]
    assert [layer.pieces[0].band for layer in stack.layers] == [2, 1, 3]
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[[1, 0, 2]])
    np.testing.assert_array_equal(stack.read(pw.Block(2, 3, 2, 2)), YEARS[[1, 0, 2], 2:4, 3:5])


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_bands_dated_by_a_table(tmp_path: Path, interleave: str):
    path = write_raster(tmp_path / "stack.tif", YEARS, descriptions=["a", "b", "c"], interleave=interleave)
    table = tmp_path / "dates.txt"
    table.write_text("1991\n1990\n1992\n")
    stack = pw.open_stack(path, times=table)
    assert stack.axis.years.tolist() == [1990, 1991, 1992]
    assert {layer.rule for layer in stack.layers} == {"--times"}
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[[1, 0, 2]])


def test_a_table_with_another_number_of_dates(tmp_path: Path):
    path = write_raster(tmp_path / "stack.tif", YEARS)
    table = tmp_path / "dates.txt"
    table.write_text("1991\n1990\n")
    assert problem_of(path, times=table) == f"{path}: has 3 bands, but the table of dates has 2 lines"


def test_a_table_that_cannot_be_read_is_the_one_problem(three: Path):
    table = three / "dates.txt"
    table.write_text("1991\nsummer\n1993\n")
    assert problem_of(three, times=table).startswith(f"{table}, line 2: cannot read 'summer' as a date")


def test_dates_without_paths_for_several_files(three: Path):
    table = three / "dates.txt"
    table.write_text("1991\n1990\n1992\n")
    assert problem_of(three, times=table) == (
        f"{table}: dates without paths are for the bands of one file; expected path,date for several files"
    )


def test_files_dated_by_a_table(three: Path):
    table = three.parent / "dates.csv"
    table.write_text("path,date\nstack/ndvi_2000.tif,1999\nndvi_2001.tif,1998\nelsewhere/ndvi_2002.tif,1997\n")
    stack = pw.open_stack(three, times=table)
    assert names_of(stack) == ["ndvi_2002.tif", "ndvi_2001.tif", "ndvi_2000.tif"]
    assert {layer.rule for layer in stack.layers} == {"--times"}


def test_files_that_a_table_leaves_out(three: Path):
    table = three.parent / "dates.csv"
    table.write_text("path,date\nndvi_2000.tif,1999\n")
    assert problems_of(three, times=table) == [f"{three / f'ndvi_{year}.tif'}: not in {table}" for year in (2001, 2002)]


def test_a_name_that_a_table_has_twice_dates_no_third_file(tmp_path: Path):
    sources = [write_raster(tmp_path / place / "ndvi.tif", IMAGE) for place in ("a", "b", "c")]
    table = tmp_path / "dates.csv"
    table.write_text("path,date\na/ndvi.tif,2001\nb/ndvi.tif,2002\n")
    assert problem_of(sources, times=table) == f"{sources[2]}: not in {table}"


def test_a_format_of_dates(make_stack: MakeStack):
    folder = make_stack(YEARS, ["05032001", "06032001", "07042001"])
    assert dates_of(pw.open_stack(folder, times="%d%m%Y")) == ["2001-03-05", "2001-03-06", "2001-04-07"]
    with pytest.raises(pw.ParameterError, match="neither an existing file nor a format with %Y"):
        pw.open_stack(folder, times="dates.csv")


def test_bands_that_are_no_dates_are_listed(tmp_path: Path):
    path = write_raster(tmp_path / "l8_2001.tif", YEARS, descriptions=["Red", None, "NIR"])
    assert problem_of(path) == (
        f"{path}: has 3 bands that are not dates (1 Red, 2, 3 NIR); choose one with --band N|NAME, several with "
        "--band 'NAME*', or date them with --times FILE (one date per line; path,band,date for several files)"
    )


def test_one_date_for_many_bands(tmp_path: Path, three: Path):
    path = write_raster(tmp_path / "stack.tif", YEARS, descriptions=["2001", "2002", "2003"])
    assert problems_of({path: "1999", three / "ndvi_2000.tif": "2000"})[0] == (
        f"{path}: has 3 bands (1 2001, 2 2002, 3 2003), but one date; choose one with --band N|NAME, or date all with "
        "a table of path,band,date (--times FILE)"
    )
    table = tmp_path / "dates.csv"
    table.write_text("path,date\nstack.tif,1999\n")
    assert "has 3 bands (1 2001, 2 2002, 3 2003), but one date" in problem_of(path, times=table)
    assert len(pw.open_stack({path: "1999", three / "ndvi_2000.tif": "2000"}, band=1)) == 2


def test_many_files_of_one_kind_are_counted(make_stack: MakeStack):
    folder = make_stack([YEARS] * 8)
    problems = problems_of(folder)
    assert [problem.partition(":")[0] for problem in problems[:5]] == [
        str(folder / f"ndvi_{year}.tif") for year in range(2000, 2005)
    ]
    assert problems[5:] == ["... and 3 more files like these"]
    # One that is damaged is not lost among those that are missing.
    (folder / "ndvi_2000.tif").write_bytes(b"damaged")
    missing = [folder / f"{year}.tif" for year in range(3000, 3010)]
    (folder / "list.txt").write_text("\n".join(map(str, [*missing, folder / "ndvi_2000.tif"])))
    problems = problems_of(f"@{folder / 'list.txt'}")
    assert problems[4:6] == [f"{missing[4]}: No such file or directory", "... and 5 more files like these"]
    assert [problem.partition(":")[0] for problem in problems[6:]] == [str(folder / "ndvi_2000.tif")]
    problems = problems_of([*missing, "https://example.org/a.tif"])
    assert problems[4:6] == [f"{missing[4]}: no such file or folder", "... and 5 more files like these"]
    assert len(problems) == 7


@pytest.mark.parametrize(("band", "number"), [(2, 2), ("2", 2), ("NIR", 3), ("nir", 3), (np.int64(1), 1)])
def test_a_band_by_number_or_name(make_stack: MakeStack, band: Any, number: int):
    images = [YEARS + year for year in (0, 1)]
    folder = make_stack(images, descriptions=["Red", "Green", "NIR"])
    np.testing.assert_array_equal(values_of(folder, band=band), [image[number - 1] for image in images])


def test_an_unknown_band_names_the_closest(make_stack: MakeStack):
    folder = make_stack([YEARS, YEARS], descriptions=["Red", "Green", "NIR"])
    first, second = problems_of(folder, band="gren")
    assert first == (f"{folder / 'ndvi_2000.tif'}: unknown band 'gren'; did you mean 'Green'? (known: Red, Green, NIR)")
    assert second.startswith(f"{folder / 'ndvi_2001.tif'}: ")
    assert "unknown band '4' (known: Red, Green, NIR)" in problems_of(folder, band=4)[0]
    with pytest.raises(pw.ParameterError, match="band 0 is out of range: bands are numbered from 1"):
        pw.open_stack(folder, band=0)


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """NDVI and EVI of three years in one file: 0, 1, ... in each pixel of a band."""
    names = [f"{name}_{year}" for year in (2001, 2002, 2003) for name in ("NDVI", "EVI")]
    bands = np.stack([np.full((6, 7), number, dtype=np.float32) for number in range(6)])
    return write_raster(tmp_path / "both.tif", bands, descriptions=names)


def test_two_variables_in_one_file_are_no_series(both: Path):
    problem = problem_of(both)
    assert problem == (
        f"{both}: has 2 bands with the date 2001-01-01 (1 NDVI_2001, 2 EVI_2001): choose one variable with "
        "--band 'NDVI_*' or --band 'EVI_*'"
    )
    # What is said works when it is typed.
    for pattern, first in (("NDVI_*", 0), ("EVI_*", 1)):
        assert values_of(both, band=pattern)[:, 0, 0].tolist() == [first, first + 2, first + 4]
    assert problem_of(both, same_date="mean") == problem


@pytest.mark.parametrize(
    ("descriptions", "patterns"),
    [
        (["2001_a[1]", "2001_b", "2002_a[1]", "2002_b"], ["*_a[[]1]", "*_b"]),
        (["01Jan2020 VV x", "01Jan2020 VH x", "13Jan2020 VV x", "13Jan2020 VH x"], ["* VV x", "* VH x"]),
    ],
)
def test_variables_are_told_apart_by_what_is_beside_the_date(
    tmp_path: Path, descriptions: list[str], patterns: list[str]
):
    path = write_raster(tmp_path / "x.tif", np.stack([IMAGE] * 4), descriptions=descriptions)
    assert " or ".join(f"--band '{pattern}'" for pattern in patterns) in problem_of(path)
    for pattern in patterns:
        assert len(pw.open_stack(path, band=pattern)) == 2


def test_bands_of_one_date_that_do_not_differ(tmp_path: Path):
    path = write_raster(tmp_path / "x.tif", YEARS, descriptions=["a_2001", "a_2002", "a_2002"])
    assert problem_of(path) == (
        f"{path}: has 2 bands with the date 2002-01-01 (2 a_2002, 3 a_2002): give each its own date with --times FILE "
        "(one date per line, or path,band,date)"
    )
    table = tmp_path / "dates.txt"
    table.write_text("2001\n2001\n2002\n")
    assert "has 2 bands with the date 2001-01-01 (1 a_2001, 2 a_2002)" in problem_of(path, times=table)
    table.write_text("2001\n2002\n2003\n")
    assert len(pw.open_stack(path, times=table)) == 3


@pytest.mark.parametrize("pattern", ["NDVI*", "ndvi_200?", "*d*", "[N]DVI*"])
def test_bands_by_a_pattern(both: Path, pattern: str):
    stack = pw.open_stack(both, band=pattern)
    assert dates_of(stack) == ["2001-01-01", "2002-01-01", "2003-01-01"]
    assert [layer.pieces[0].band for layer in stack.layers] == [1, 3, 5]


def test_a_pattern_that_fits_no_band(both: Path):
    assert "unknown band 'SAVI*'" in problem_of(both, band="SAVI*")


def test_a_pattern_that_fits_one_band_of_each_file(tmp_path: Path):
    for place, year in enumerate((2001, 2002)):
        write_raster(tmp_path / "own" / f"v{place}.tif", YEARS, descriptions=[f"NDVI_{year}", f"EVI_{year}", "QA"])
        write_raster(tmp_path / "file" / f"x_{year}.tif", YEARS, descriptions=["SR_B3", "SR_B4", "QA"])
    # By the descriptions where they are dates, else by the files' names.
    assert dates_of(pw.open_stack(tmp_path / "own", band="EVI*")) == ["2001-01-01", "2002-01-01"]
    stack = pw.open_stack(tmp_path / "file", band="*B4")
    assert dates_of(stack) == ["2001-01-01", "2002-01-01"]
    assert {layer.pieces[0].band for layer in stack.layers} == {2}


def test_a_band_whose_name_looks_like_a_pattern(make_stack: MakeStack):
    folder = make_stack([YEARS, YEARS + 1], descriptions=["a[1]", "a1", "b"])
    assert {piece.band for layer in pw.open_stack(folder, band="a[1]").layers for piece in layer.pieces} == {1}


def test_a_pattern_through_recipe_apply_and_verify(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_recipe("ndvi.toml", ["both.tif"], pw.InputSpec(band="NDVI*"))
    source, spec, *_ = read_recipe("ndvi.toml")
    assert spec.band == "NDVI*"
    found = pw.apply(pw.open_stack(list(source), spec), "ols", tmp_path / "trend.tif")
    assert np.unique(found["slope"]).tolist() == [2.0]
    assert verify(tmp_path / "trend.tif", everything=True).differing == 0


def test_bands_dated_by_a_format(tmp_path: Path):
    path = write_raster(tmp_path / "x.tif", YEARS, descriptions=["VV_2_010220", "VV_1_130120", "VV_3_250220"])
    stack = pw.open_stack(path, times="%d%m%y")
    assert dates_of(stack) == ["2020-01-13", "2020-02-01", "2020-02-25"]
    assert {layer.rule for layer in stack.layers} == {"--times %d%m%y"}
    assert problem_of(path, times="%Y-%m-%d") == (
        f"{path}: no date like --times %Y-%m-%d in 3 descriptions: VV_2_010220, VV_1_130120, VV_3_250220"
    )
    plain = write_raster(tmp_path / "plain.tif", YEARS)
    assert "has 3 bands that are not dates (1, 2, 3)" in problem_of(plain, times="%Y")


def test_bands_that_can_be_read_in_two_ways(tmp_path: Path):
    path = write_raster(tmp_path / "x.tif", YEARS, descriptions=["2001_02", "2002_03", "2003_04"])
    problem = problem_of(path)
    assert problem.startswith(f"{path}: more than one date in the name of 3 bands: 2001_02 (2001-02-01 by YYYY-MM, or ")
    assert "use --times '%Y_%m' or --times '%Y_%y'" in problem
    assert pw.open_stack(path, times="%Y_%y").axis.years.tolist() == [2001, 2002, 2003]


@pytest.fixture
def annual(tmp_path: Path) -> Path:
    """Two files of three bands: months of 2001 and 2002."""
    for year in (2001, 2002):
        write_raster(tmp_path / "annual" / f"ndvi_{year}.tif", YEARS + year, descriptions=["first", None, "third"])
    return tmp_path / "annual"


def months_table(folder: Path, names: Any = (1, 2, "third")) -> Path:
    rows = [
        f"ndvi_{year}.tif,{name},{year}-{month:02d}" for year in (2002, 2001) for month, name in enumerate(names, 1)
    ]
    table = folder.parent / "months.csv"
    table.write_text("\n".join(["path,band,date", *rows]))
    return table


def test_bands_of_several_files_dated_by_a_table(annual: Path):
    assert "path,band,date for several files" in problems_of(annual)[0]
    stack = pw.open_stack(annual, times=months_table(annual))
    assert dates_of(stack) == [f"{year}-{month:02d}-01" for year in (2001, 2002) for month in (1, 2, 3)]
    np.testing.assert_array_equal(stack.read(stack.grid.block), np.concatenate([YEARS + 2001, YEARS + 2002]))
    assert str(stack.axis.step) == "1 month"


def test_one_band_of_several_files_dated_by_a_table_of_bands(annual: Path):
    stack = pw.open_stack(annual, times=months_table(annual), band="third")
    assert dates_of(stack) == ["2001-03-01", "2002-03-01"]


def test_bands_that_a_table_leaves_out(annual: Path):
    table = months_table(annual, names=(1, "second", 3))
    assert problems_of(annual, times=table) == [
        f"{annual / f'ndvi_{year}.tif'}: band 2 is not in {table}; list it, or choose bands with --band"
        for year in (2001, 2002)
    ]


def test_dates_without_paths_for_several_files_of_bands(annual: Path):
    table = annual.parent / "dates.txt"
    table.write_text("2001-01\n2001-02\n2001-03\n")
    assert problem_of(annual, times=table) == (
        f"{table}: dates without paths are for the bands of one file, but {annual / 'ndvi_2001.tif'} and "
        f"{annual / 'ndvi_2002.tif'} both have several bands; expected a table of path,band,date"
    )


def test_a_table_of_bands_names_no_files(annual: Path):
    table = months_table(annual)
    assert problem_of(table) == (
        f"{table}: has a column of bands; give the files as input, and this table with --times"
    )


def test_year_pairs_stand_for_their_first_or_last_year(make_stack: MakeStack):
    folder = make_stack([IMAGE] * 3, ["1999-00", "2000-01", "2001-02"])
    for period, first in (("start", 1999), ("middle", 1999), ("end", 2000)):
        stack = pw.open_stack(folder, period=period)
        assert stack.axis.years.tolist() == [first, first + 1, first + 2]
        assert str(stack.axis.step) == "1 year"


def test_weeks_pentads_and_dekads_are_regular(tmp_path: Path):
    names = {
        "week": [f"VHP.G04.C07.NJ.P{year}{week:03d}.SM.SMN" for year in (1999, 2000) for week in (1, 2, 9, 10, 51, 52)],
        "pentad": [f"chirps-v2.0.2001.{month:02d}.{k}" for month in (2, 3) for k in range(1, 7)],
        "dekad": [f"L2_AETI_D_2018-{month:02d}-D{k}" for month in (2, 3) for k in (1, 2, 3)],
    }
    for unit, listed in names.items():
        for name in listed:
            write_raster(tmp_path / unit / f"{name}.tif", IMAGE)
        for period in ("start", "middle", "end"):
            assert str(pw.open_stack(tmp_path / unit, period=period).axis.step) == f"1 {unit}"


# -------------------------------------------------------------------------------------------------- dates


def test_names_without_a_date(tmp_path: Path):
    sources = [write_raster(tmp_path / f"{name}.tif", IMAGE) for name in ("a", "b")]
    problem = problem_of(sources)
    assert problem.startswith(f"no date in the name of 2 files: {sources[0]}, {sources[1]}")
    assert "--times" in problem


def test_names_that_can_be_read_in_two_ways(make_stack: MakeStack):
    folder = make_stack(YEARS[:2], ["05-03-2001", "06-03-2001"])
    problem = problem_of(folder)
    assert problem.startswith("more than one date in the name of 2 files: ")
    assert str(folder / "ndvi_05-03-2001.tif") in problem
    assert "2001-03-05 by DD-MM-YYYY, or 2001-05-03 by MM-DD-YYYY" in problem
    assert "--times" in problem


def test_years_and_days_in_one_stack(make_stack: MakeStack, three: Path):
    folder = make_stack(YEARS, ["2005-03-05", "2006-03-05", "2007-03-05"], folder="days")
    table = folder / "dates.csv"
    table.write_text("ndvi_2005-03-05.tif,2005\nndvi_2006-03-05.tif,2006-03-05\nndvi_2007-03-05.tif,2007-03-05\n")
    assert problem_of(table).startswith(
        "1 name(s) have only a year (ndvi_2005-03-05.tif), 2 a date (ndvi_2006-03-05.tif)"
    )


@pytest.mark.parametrize(
    ("period", "dates"),
    [
        ("start", ["2001-02-01", "2001-03-01"]),
        ("middle", ["2001-02-15", "2001-03-16"]),
        ("end", ["2001-02-28", "2001-03-31"]),
    ],
)
def test_what_a_month_stands_for(make_stack: MakeStack, period: str, dates: list[str]):
    folder = make_stack(YEARS[:2], ["2001-02", "2001-03"])
    assert dates_of(pw.open_stack(folder, period=period)) == dates


def test_one_date_is_no_series(three: Path):
    path = three / "ndvi_2000.tif"
    assert problem_of(path) == "1 date (2000-01-01) in 1 file: a series needs at least two"
    assert (
        problem_of(three, start=2002) == "1 date (2002-01-01) in 3 files with start 2002: a series needs at least two"
    )
    assert problem_of(three, start="2010", end="2005") == (
        "0 dates in 3 files with start 2010, end 2005: a series needs at least two"
    )


# --------------------------------------------------------------------------------------------- equal dates


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """Two images of 2001-03-05, with gaps, and one of the next day."""
    nan = np.nan
    write_raster(tmp_path / "a_20010305.tif", np.array([[1, 5, nan, nan]], dtype="float32"))
    write_raster(tmp_path / "b_20010305.tif", np.array([[4, nan, 7, nan]], dtype="float32"))
    write_raster(tmp_path / "c_20010306.tif", np.array([[0, 0, 0, 0]], dtype="float32"))
    return tmp_path


def test_equal_dates_are_refused(twins: Path):
    assert problem_of(twins) == (
        f"2 layers have the date 2001-03-05: {twins / 'a_20010305.tif'}, {twins / 'b_20010305.tif'}; "
        "choose with --same-date keep|first|mosaic|mean|max"
    )


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("keep", [[1, 5, np.nan, np.nan], [4, np.nan, 7, np.nan]]),
        ("first", [[1, 5, np.nan, np.nan]]),
        ("mean", [[2.5, 5, 7, np.nan]]),
        ("max", [[4, 5, 7, np.nan]]),
        ("mosaic", [[1, 5, 7, np.nan]]),
    ],
)
@pytest.mark.parametrize("option", ["same_date", "duplicates"])
def test_equal_dates(twins: Path, option: str, how: str, expected: list[list[float]]):
    stack = pw.open_stack(twins, **{option: how})
    assert len(stack) == len(stack.axis) == len(expected) + 1
    values = stack.read(stack.grid.block)
    assert values.dtype == stack.dtype
    np.testing.assert_array_equal(values[:-1, 0], expected)
    np.testing.assert_array_equal(values[-1], np.zeros((1, 4)))


def test_a_mean_keeps_more_digits_than_its_members(tmp_path: Path):
    for name, value in (("a_2001", 0.1), ("b_2001", 0.2), ("a_2002", 0.3)):
        write_raster(tmp_path / f"{name}.tif", np.array([[value]], dtype="float32"))
    assert pw.open_stack(tmp_path, same_date="max").dtype == np.float32
    values = values_of(tmp_path, same_date="mean")
    assert values.dtype == np.float64
    assert values[0, 0, 0] == (float(np.float32(0.1)) + float(np.float32(0.2))) / 2


def test_equal_dates_in_pieces(tmp_path: Path):
    for name, image in (("a_2001", IMAGE), ("b_2001", IMAGE + 2), ("a_2002", IMAGE)):
        write_shards(tmp_path, name, image)
    np.testing.assert_array_equal(values_of(tmp_path, same_date="mean"), [IMAGE + 1, IMAGE])


def test_equal_dates_of_another_precision_are_equal(three: Path):
    source = {three / "ndvi_2000.tif": dt.date(2001, 3, 1), three / "ndvi_2001.tif": dt.datetime(2001, 3, 1)}
    assert problem_of(source).startswith("2 layers have the date 2001-03-01: ")
    months = {three / "ndvi_2000.tif": "2001-03", three / "ndvi_2001.tif": "2001-03-01"}
    assert problem_of(months).startswith("2 layers have the date 2001-03-01: ")


def test_equal_dates_on_grids_that_differ_by_rounding(three: Path):
    write_raster(three / "v2_2000.tif", IMAGE + 10, transform=at(0, 1e-9))
    np.testing.assert_array_equal(values_of(three, same_date="max")[0], IMAGE + 10)
