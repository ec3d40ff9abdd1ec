"""From what a user names to a stack: files, dates, bands, pieces, grids, and the values that are read."""

from __future__ import annotations

import contextlib
import datetime as dt
import glob
import os
import pickle
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

import pixelwise as pw
from pixelwise.opening import sources
from pixelwise.opening.recipe import read_recipe, write_recipe
from pixelwise.opening.sources import _matching
from pixelwise.opening.survey import survey
from pixelwise.rasters import handles
from pixelwise.rasters.handles import ALL_OPEN_FILES, HANDLES, reading
from pixelwise.rasters.headers import read_header
from pixelwise.stacks.raster import Layout, layout_of
from pixelwise.verify.compare import verify
from support.rasters import PROFILE, MakeStack, problem_of, problems_of, write_raster

ORIGIN: Affine = PROFILE["transform"]
IMAGE = np.arange(42, dtype=np.float32).reshape(6, 7)
YEARS = np.stack([IMAGE, IMAGE + 100, IMAGE + 200])
#: Rows and columns at which Earth Engine would cut.
SHARDS = {(0, 0): (4, 5), (0, 5): (4, 2), (4, 0): (2, 5), (4, 5): (2, 2)}


def at(row: float, col: float) -> Affine:
    return ORIGIN @ Affine.translation(col, row)


def write_shards(
    folder: Path, name: str, image: Any, *, without: tuple[int, int] | None = None, **profile: Any
) -> None:
    for (row, col), (height, width) in SHARDS.items():
        if (row, col) != without:
            part = image[..., row : row + height, col : col + width]
            write_raster(folder / f"{name}-{row:010d}-{col:010d}.tif", part, transform=at(row, col), **profile)


def values_of(source: Any, **options: Any) -> Any:
    stack = pw.open_stack(source, **options)
    return stack.read(stack.grid.block)


def dates_of(stack: pw.RasterStack) -> list[str]:
    return [layer.iso_date for layer in stack.layers]


def names_of(stack: pw.RasterStack) -> list[str]:
    return [path.name for path in stack.paths]


@pytest.fixture
def three(make_stack: MakeStack) -> Path:
    """Three years: ndvi_2000.tif to ndvi_2002.tif."""
    return make_stack(YEARS)


# -------------------------------------------------------------------------------------------- what is named


def test_the_order_of_files_does_not_count(three: Path):
    stack = pw.open_stack([three / f"ndvi_{year}.tif" for year in (2001, 2002, 2000)])
    assert names_of(stack) == ["ndvi_2000.tif", "ndvi_2001.tif", "ndvi_2002.tif"]
    assert stack.axis.years.tolist() == [2000, 2001, 2002]
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS)


def test_one_glob(three: Path):
    assert names_of(pw.open_stack(str(three / "ndvi_200[01].tif"))) == ["ndvi_2000.tif", "ndvi_2001.tif"]
    assert len(pw.open_stack(three / "*.tif")) == 3


def test_a_glob_through_all_folders(tmp_path: Path):
    for year in (2000, 2001):
        write_raster(tmp_path / "a" / str(year) / "ndvi.tif", IMAGE)
    assert len(pw.open_stack(f"{tmp_path}/**/*.tif")) == 2


def test_a_glob_relative_to_the_working_folder(three: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(three.parent)
    assert len(pw.open_stack("stack/*.tif")) == 3
    assert problem_of("stack/*.jp2") == f"no file matches 'stack/*.jp2' in {three.parent}"


def test_an_absolute_glob_that_matches_nothing(three: Path):
    assert problem_of(f"{three}/*.jp2") == f"no file matches '{three}/*.jp2'"


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path: Path):
    sources = [write_raster(tmp_path / f"x[{year}].tif", IMAGE) for year in (2000, 2001)]
    assert len(pw.open_stack(sources)) == 2


def test_a_folder_without_its_sub_folders_hidden_and_other_files(three: Path):
    write_raster(three / "deeper" / "ndvi_2003.tif", IMAGE)
    (three / "._ndvi_2004.tif").write_bytes(b"leftover of macOS")
    (three / ".ndvi_2005.partial-1.tif").write_bytes(b"")
    (three / "readme.txt").write_text("2006")
    (three / "ndvi_2007.png").write_bytes(b"quicklook")
    (three / "folder_2008.tif").mkdir()
    (three / "ndvi_2002.tif").rename(three / "ndvi_2002.TIF")
    assert names_of(pw.open_stack(three)) == ["ndvi_2000.tif", "ndvi_2001.tif", "ndvi_2002.TIF"]


def test_a_folder_with_rasters_in_sub_folders_only(tmp_path: Path):
    write_raster(tmp_path / "a" / "ndvi_2000.tif", IMAGE)
    problem = problem_of(tmp_path)
    assert "only its sub-folders hold rasters" in problem
    assert f"'{tmp_path}/**/*.tif'" in problem


def trees(folder: Path, seed: int) -> list[str]:
    """Make a random tree, with a link to a folder outside it; return patterns."""
    choose = random.Random(seed)
    inside, outside = [folder / "in"], [folder / "out"]
    for places in (inside, outside):
        places[0].mkdir()
        for _ in range(25):
            path = choose.choice(places) / choose.choice(["a", "b", ".h", "a[1]", "x.tif", ".y.tif", "z.TIF"])
            if os.path.lexists(path):
                continue
            if path.suffix.lower() == ".tif":
                path.touch()
            else:
                path.mkdir()
                places.append(path)
    with contextlib.suppress(OSError):  # Windows without the right to
        (choose.choice(inside) / "link").symlink_to(outside[0])
    parts = ["*", "**", "**", "**", "a", ".*", "*.tif", "[ab]", "a[[]1]", "?", ".h", "**x"]
    begin = ["", "./", f"{glob.escape(str(folder))}/in/", f"{folder}/in/../in/"]
    return [choose.choice(begin) + "/".join(choose.choices(parts, k=choose.randint(1, 4))) for _ in range(40)]


@pytest.mark.parametrize("seed", range(8))
def test_globs_match_what_those_of_the_standard_library_do(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = trees(tmp_path, seed)
    monkeypatch.chdir(tmp_path / "in")
    for pattern in patterns:
        names = glob.glob(pattern, recursive=True)  # noqa: PTH207
        # Of a file, FILE/** is FILE/ there.
        wanted = {Path(name) for name in names if not name.endswith(os.sep) and Path(name).is_file()}
        assert _matching(pattern) == sorted(wanted), pattern


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_links_in_circles_are_followed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for year in (2000, 2001):
        write_raster(tmp_path / "tiles" / f"x_{year}.tif", IMAGE)
    (tmp_path / "elsewhere").mkdir()
    write_raster(tmp_path / "elsewhere" / "x_2002.tif", IMAGE)
    stack = tmp_path / "stack"
    stack.mkdir()
    for name in "abc":
        (stack / name).symlink_to(stack)
    (stack / "d").symlink_to("d")
    (stack / "tiles").symlink_to(tmp_path / "tiles")
    (stack / "more").mkdir()
    (stack / "more" / "up").symlink_to(tmp_path)
    (stack / "more" / "y").symlink_to(tmp_path / "elsewhere")
    assert "'**/*.tif'" in problem_of(stack).replace(f"{stack}/", "")
    monkeypatch.chdir(stack)
    for pattern in ("**/*.tif", "**/**/**/*.tif", "**/[x]_*", f"{stack}/**/x*"):
        assert [path.name for path in pw.open_stack(pattern).paths] == ["x_2000.tif", "x_2001.tif", "x_2002.tif"]
    # A million take half a minute.
    monkeypatch.setattr(sources, "MOST_MATCHES", 1000)
    with pytest.raises(pw.InputError, match="matches more than 1000 files or folders"):
        pw.open_stack("*/" * 30 + "*.tif")


def test_a_folder_without_rasters(tmp_path: Path):
    (tmp_path / "a.txt").write_text("")
    assert problem_of(tmp_path).startswith(f"{tmp_path}: no raster in this folder (looked for ")


def test_every_broken_file_of_a_folder_is_named(three: Path):
    (three / "ndvi_2003.tif").write_bytes(b"")
    (three / "ndvi_2004.tif").write_text("<html>Not found</html>")
    empty, web = problems_of(three)
    assert empty == f"{three / 'ndvi_2003.tif'}: the file is empty (0 bytes); copy or export it again"
    assert web.startswith(f"{three / 'ndvi_2004.tif'}: not a raster that can be read (not recognized")


def test_a_list_of_paths_relative_to_it(three: Path, monkeypatch: pytest.MonkeyPatch):
    listed = three.parent / "list.txt"
    listed.write_text(f"\ufeff# annual\nstack/ndvi_2000.tif\n\n  stack/ndvi_2002.tif \n{three}/ndvi_2001.tif\n")
    monkeypatch.chdir("/")
    assert names_of(pw.open_stack(f"@{listed}")) == ["ndvi_2000.tif", "ndvi_2001.tif", "ndvi_2002.tif"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# nothing\n\n", "lists no files"),
        (b"\xff\xfe\x00", "not a text file in UTF-8 (byte 0xff at position 0)"),
        (None, "No such file or directory"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, content: str | bytes | None, message: str):
    listed = tmp_path / "list.txt"
    if content is not None:
        listed.write_bytes(content.encode() if isinstance(content, str) else content)
    assert problem_of(f"@{listed}") == f"{listed}: {message}"


def test_a_list_that_names_a_missing_file(three: Path):
    listed = three / "list.txt"
    listed.write_text("ndvi_2000.tif\nndvi_1999.tif\nndvi_2001.tif\n")
    assert problem_of(f"@{listed}") == f"{three / 'ndvi_1999.tif'}: No such file or directory"


def test_a_csv_with_paths_relative_to_it(three: Path, monkeypatch: pytest.MonkeyPatch):
    table = three.parent / "dates.csv"
    table.write_text("path,date\nstack/ndvi_2000.tif,2010-07-01\nstack/ndvi_2001.tif,2009-07-01\n")
    monkeypatch.chdir("/")
    stack = pw.open_stack(table)
    assert names_of(stack) == ["ndvi_2001.tif", "ndvi_2000.tif"]
    assert dates_of(stack) == ["2009-07-01", "2010-07-01"]
    assert {layer.rule for layer in stack.layers} == {"given"}


def test_a_csv_of_dates_only_names_no_files(tmp_path: Path):
    table = tmp_path / "dates.csv"
    table.write_text("2001\n2002\n")
    assert problem_of(table) == f"{table}: has only one column; expected a CSV with path,date"


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2001-03-05", "2001-03-05"),
        (dt.date(2001, 3, 5), "2001-03-05"),
        (dt.datetime(2001, 3, 5, 10, 30), "2001-03-05T10:30:00"),
        (dt.datetime(2001, 3, 5, 10, 30, tzinfo=dt.UTC), "2001-03-05T10:30:00"),
        (np.datetime64("2001-03-05"), "2001-03-05"),
        (np.datetime64("2001-03-05T10:30:00", "ns"), "2001-03-05T10:30:00"),
        (np.datetime64("2001-03"), "2001-03-01"),
    ],
)
def test_a_mapping_of_path_to_date(three: Path, date: Any, expected: str):
    stack = pw.open_stack({three / "ndvi_2000.tif": date, str(three / "ndvi_2001.tif"): "1999-12-31"})
    assert names_of(stack) == ["ndvi_2001.tif", "ndvi_2000.tif"]
    assert dates_of(stack)[1] == expected


def test_a_mapping_to_years(three: Path):
    stack = pw.open_stack({three / "ndvi_2000.tif": 1990, three / "ndvi_2001.tif": 1991})
    assert stack.axis.years.tolist() == [1990, 1991]
    assert stack.axis.precision == "year"


def test_every_wrong_date_of_a_mapping_names_its_file(three: Path):
    first, second = problems_of({three / "ndvi_2000.tif": "5 March", three / "ndvi_2001.tif": np.datetime64("NaT")})
    assert first.startswith(f"{three / 'ndvi_2000.tif'}: cannot read '5 March' as a date (accepted: 2001,")
    assert second.startswith(f"{three / 'ndvi_2001.tif'}: cannot read 'NaT' as a date")


def test_several_sources(three: Path, tmp_path: Path):
    for year in (1998, 1999):
        write_raster(tmp_path / "other" / f"ndvi_{year}.tif", IMAGE)
    (tmp_path / "list.txt").write_text("other/ndvi_1999.tif\n")
    write_raster(tmp_path / "undated.tif", IMAGE)
    (tmp_path / "dates.csv").write_text("undated.tif,1990\n")
    stack = pw.open_stack([three, str(tmp_path / "other" / "*8.tif"), f"@{tmp_path}/list.txt", tmp_path / "dates.csv"])
    assert stack.axis.years.tolist() == [1990, 1998, 1999, 2000, 2001, 2002]
    assert [layer.rule for layer in stack.layers] == ["given", *["year"] * 5]


def test_a_file_that_is_named_twice_is_one_file(three: Path):
    assert len(pw.open_stack([three, three / "ndvi_2000.tif", f"{three}/*.tif"])) == 3


def test_all_sources_that_are_wrong_are_named(three: Path, tmp_path: Path):
    assert problems_of([three, f"{tmp_path}/a*.tif", tmp_path / "b.tif"]) == [
        f"no file matches '{tmp_path}/a*.tif'",
        f"{tmp_path}/b.tif: no such file or folder",
    ]


def test_nothing_is_named():
    assert problem_of([]) == "no file is given"


@pytest.mark.parametrize(
    "source", ["https://example.org/a.tif", "s3://bucket/a_*.tif", "/vsicurl/http://example.org/a.tif", "/vsizip/a.zip"]
)
def test_only_local_files_are_read(source: str):
    assert problem_of(source) == f"{source}: only local files are read; download it first"


def test_an_unknown_option_names_the_closest(three: Path):
    with pytest.raises(pw.ParameterError, match="unknown input option 'nodat'; did you mean 'nodata'"):
        pw.open_stack(three, nodat=3)


# -------------------------------------------------------------------------------------------- how it is shown


def test_a_stack_in_one_line(make_stack: MakeStack):
    folder = make_stack(YEARS.astype("int16"), nodata=-9999)
    assert str(pw.open_stack(folder)) == "3 layers, 2000..2002, 6 x 7, EPSG:32617, int16, nodata -9999"
    days = make_stack(YEARS, ["2001-03-05", "2001-04-05", "2001-05-05"], folder="days")
    text = "3 layers, 2001-03-05..2001-05-05, 6 x 7, EPSG:32617, float32, nodata none"
    assert str(pw.open_stack(days)) == text
    assert repr(pw.open_stack(days)) == f"<RasterStack: {text}>"
    assert str(pw.open_stack(folder, nodata=(1, 2))).endswith("int16, nodata 1, 2")
    plain = make_stack(YEARS.astype("uint8"), folder="plain")
    assert str(pw.open_stack(plain)).endswith("uint8, nodata none")


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


# --------------------------------------------------------------------------------------- pieces of images


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for year, image in zip((2001, 2002, 2003), YEARS, strict=True):
        write_shards(tmp_path / "shards", f"ndvi{year}", image)
    return tmp_path / "shards"


@pytest.mark.parametrize(
    "block",
    [pw.Block(0, 0, 6, 7), pw.Block(3, 4, 2, 2), pw.Block(0, 0, 4, 5), pw.Block(5, 2, 1, 5), pw.Block(4, 5, 2, 2)],
)
def test_earth_engine_shards_are_joined(shards: Path, block: pw.Block):
    stack = pw.open_stack(shards)
    assert len(stack) == 3
    assert (stack.grid.height, stack.grid.width, stack.grid.transform) == (6, 7, ORIGIN)
    np.testing.assert_array_equal(stack.read(block), YEARS[:, *block.slices])


def test_shards_and_whole_images_make_one_stack(shards: Path):
    write_raster(shards / "ndvi2004.tif", IMAGE + 300)
    np.testing.assert_array_equal(values_of(shards), np.stack([*YEARS, IMAGE + 300]))


def test_shards_are_cropped(shards: Path):
    left, top = at(3, 4) @ (0, 0)
    stack = pw.open_stack(shards).select(bounds=(left, top - 60, left + 90, top))
    assert stack.grid.transform == at(3, 4)
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[:, 3:5, 4:7])


def test_shards_whose_bands_are_dates(tmp_path: Path):
    write_shards(tmp_path, "stack", YEARS, descriptions=["2001", "2002", "2003"])
    stack = pw.open_stack(tmp_path)
    assert stack.axis.years.tolist() == [2001, 2002, 2003]
    assert len(stack.paths) == 4
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS)
    np.testing.assert_array_equal(stack.read(pw.Block(3, 3, 2, 3)), YEARS[:, 3:5, 3:6])


TAKE = "; --extent union uses what there is"


@pytest.mark.parametrize("place", [(0, 5), (4, 0), (4, 5)])
def test_a_missing_shard_is_named(shards: Path, place: tuple[int, int]):
    name = f"ndvi2002-{place[0]:010d}-{place[1]:010d}.tif"
    (shards / name).unlink()
    assert problem_of(shards) == f"{shards / 'ndvi2002'}: a piece is missing: {name} (2002-01-01){TAKE}"


def test_a_missing_row_of_shards_is_named(shards: Path):
    names = [f"ndvi2002-0000000000-{col:010d}.tif" for col in (0, 5)]
    for name in names:
        (shards / name).unlink()
    assert problem_of(shards) == f"{shards / 'ndvi2002'}: a piece is missing: {', '.join(names)} (2002-01-01){TAKE}"


def test_a_missing_shard_of_many_dates_is_named_once(tmp_path: Path):
    write_shards(tmp_path, "stack", YEARS, without=(4, 0), descriptions=["2001", "2002", "2003"])
    assert problem_of(tmp_path) == (
        f"{tmp_path / 'stack'}: a piece is missing: stack-0000000004-0000000000.tif (2001-01-01 and 2 more dates)"
        + TAKE
    )


def test_pieces_with_other_names_are_joined_where_they_lie(tmp_path: Path):
    for year, image in zip((2001, 2002), YEARS, strict=False):
        write_raster(tmp_path / f"east_{year}.tif", image[:, 4:], transform=at(0, 4))
        write_raster(tmp_path / f"west_{year}.tif", image[:, :4])
    np.testing.assert_array_equal(values_of(tmp_path), YEARS[:2])
    (tmp_path / "east_2002.tif").unlink()
    assert problem_of(tmp_path) == (
        f"{tmp_path / 'west_2002.tif'}: its pieces do not cover 6 x 7 pixels "
        "(missing: rows 0..5 columns 4..6) (2002-01-01)" + TAKE
    )


def test_pieces_that_overlap_are_refused(tmp_path: Path):
    for year in (2001, 2002):
        write_raster(tmp_path / f"west_{year}.tif", IMAGE[:, :5])
        write_raster(tmp_path / f"east_{year}.tif", IMAGE[:, 4:], transform=at(0, 4))
    problems = problems_of(tmp_path)
    assert problems[:2] == [
        f"{tmp_path / f'east_{year}.tif'} and {tmp_path / f'west_{year}.tif'} overlap and have the same date "
        f"({year}-01-01): choose with --same-date keep|first|mosaic|mean|max, or give each its own date"
        for year in (2001, 2002)
    ]


def test_a_piece_off_the_lattice_is_refused(shards: Path):
    name = shards / "ndvi2002-0000000004-0000000000.tif"
    write_raster(name, IMAGE[4:, :5], transform=at(4.4, 0))
    problem = problem_of(shards)
    assert problem.startswith(
        f"{name}: is a piece of the same image as {shards / 'ndvi2002-0000000000-0000000000.tif'}"
    )
    assert "but not on its lattice" in problem
    assert "(30, 0, 500000, 0, -30, 3399868) instead of (30, 0, 500000, 0, -30, 3400000)" in problem


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


# -------------------------------------------------------------------------------------------------- values


def pair(folder: Path, first: Any, **profile: Any) -> Path:
    """Write a one-row image of 2001 and the same of 2002."""
    image = np.asarray(first)[None]
    for year in (2001, 2002):
        write_raster(folder / f"x_{year}.tif", image, **profile)
    return folder


def row(folder: Path, **options: Any) -> Any:
    return values_of(folder, **options)[0, 0]


def test_nodata_of_the_file(tmp_path: Path):
    folder = pair(tmp_path, np.array([-9999, 0, 5], dtype="int16"), nodata=-9999)
    np.testing.assert_array_equal(row(folder), [np.nan, 0, 5])


def test_the_option_wins_over_the_nodata_of_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = pair(tmp_path, np.array([-9999, 0, 5], dtype="int16"), nodata=-9999)
    with caplog.at_level("INFO", logger="pixelwise"):
        np.testing.assert_array_equal(row(folder, nodata=5), [-9999, 0, np.nan])
    assert caplog.messages == ["nodata 5 is used instead of what the files say"]
    np.testing.assert_array_equal(row(folder, nodata=[0, 5]), [-9999, np.nan, np.nan])
    np.testing.assert_array_equal(row(folder, nodata=np.float32(5)), [-9999, 0, np.nan])


def test_a_nodata_that_float32_rounds(tmp_path: Path):
    folder = pair(tmp_path, np.array([0.1, -3.4028234663852886e38, 1], dtype="float32"), nodata=0.1)
    np.testing.assert_array_equal(row(folder), np.array([np.nan, -3.4028234663852886e38, 1], dtype="float32"))
    np.testing.assert_array_equal(row(folder, nodata=-3.4028234663852886e38), np.float32([0.1, np.nan, 1]))
    # As GDAL has it, where the sum of both overflows.
    np.testing.assert_array_equal(row(folder, nodata=-3.4e38), np.float32([0.1, np.nan, 1]))
    np.testing.assert_array_equal(row(folder, nodata=-3.4e37), np.float32([0.1, -3.4028234663852886e38, 1]))


@pytest.mark.parametrize("nodata", [-9999, 256, 0.5, np.nan, np.inf])
def test_a_nodata_that_the_type_cannot_hold(tmp_path: Path, nodata: float):
    stored = np.array([0, 1, 241, 255], dtype="uint8")  # 241 is -9999 modulo 256
    np.testing.assert_array_equal(row(pair(tmp_path, stored), nodata=nodata), stored)


def test_nodata_is_compared_before_scaling(tmp_path: Path):
    stored = np.array([-3000, 6000, 2], dtype="int16")
    folder = pair(tmp_path, stored, nodata=-3000, scales=[0.5], offsets=[1.0])
    np.testing.assert_array_equal(row(folder), [np.nan, 3001, 2])
    np.testing.assert_array_equal(row(folder, nodata=2), [-1499, 3001, np.nan])
    np.testing.assert_array_equal(row(folder, nodata=3001), [-1499, 3001, 2])


def test_scaling_is_done_in_float64(tmp_path: Path):
    stored = np.array([7919, -3, 12345], dtype="int16")
    folder = pair(tmp_path, stored, scales=[0.0001], offsets=[0.1])
    values = row(folder)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, stored * 0.0001 + 0.1)
    assert (values != (stored.astype("float32") * np.float32(0.0001) + np.float32(0.1))).any()


def test_the_options_win_over_scale_and_offset_of_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = pair(tmp_path, np.array([1, 2], dtype="int16"), scales=[0.0001], offsets=[0.1])
    with caplog.at_level("INFO", logger="pixelwise"):
        np.testing.assert_array_equal(row(folder, scale=2), [2.1, 4.1])
    assert caplog.messages == ["scale 2 is used instead of what the files say"]
    np.testing.assert_array_equal(row(folder, scale=2, offset=0), [2, 4])
    plain = row(folder, scale=1, offset=0)
    np.testing.assert_array_equal(plain, [1, 2])
    assert plain.dtype == np.float32


def test_the_valid_range_is_of_scaled_values_and_closed(tmp_path: Path):
    folder = pair(tmp_path, np.array([-20, -10, 0, 10, 11], dtype="int16"), scales=[0.1], nodata=0)
    np.testing.assert_array_equal(row(folder, valid_range=(-1, 1)), [np.nan, -1, np.nan, 1, np.nan])


def test_infinite_values_are_missing(tmp_path: Path):
    folder = pair(tmp_path, np.array([np.inf, -np.inf, np.nan, 1], dtype="float32"))
    np.testing.assert_array_equal(row(folder), [np.nan, np.nan, np.nan, 1])
    wide = pair(tmp_path / "wide", np.array([1e300, 1], dtype="float64"))
    np.testing.assert_array_equal(row(wide, scale=1e10), [np.nan, 1e10])


def test_pixels_outside_the_internal_mask_are_missing(tmp_path: Path):
    mask = np.array([[0, 255, 255]], dtype="uint8")
    folder = pair(tmp_path, np.array([1, 2, 3], dtype="uint8"), mask=mask)
    np.testing.assert_array_equal(row(folder), [np.nan, 2, 3])


def test_transparent_pixels_are_missing_and_alpha_is_no_band(tmp_path: Path):
    image = np.array([[[1, 2, 3]], [[0, 255, 1]]], dtype="uint8")
    for year in (2001, 2002):
        write_raster(tmp_path / f"x_{year}.tif", image, alpha="yes")
    np.testing.assert_array_equal(row(tmp_path), [np.nan, 2, 3])


@pytest.mark.parametrize(
    ("dtype", "options", "expected"),
    [
        *((dtype, {}, "float32") for dtype in ("int8", "uint8", "int16", "uint16", "float32")),
        *((dtype, {}, "float64") for dtype in ("int32", "uint32", "int64", "float64")),
        ("int16", {"scale": 0.0001}, "float64"),
        ("int16", {"offset": 1}, "float64"),
        ("float32", {"scale": 0.1}, "float64"),
    ],
)
def test_float32_only_where_nothing_is_lost(tmp_path: Path, dtype: str, options: dict[str, Any], expected: str):
    stack = pw.open_stack(pair(tmp_path, np.array([1, 2], dtype=dtype)), **options)
    assert stack.dtype == stack.read(stack.grid.block).dtype == np.dtype(expected)
    assert stack.layout.itemsize == np.dtype(expected).itemsize
    assert stack.layout.stored_bytes_per_pixel == len(stack) * np.dtype(dtype).itemsize


def test_one_wide_layer_makes_the_stack_wide(make_stack: MakeStack):
    folder = make_stack(YEARS)
    write_raster(folder / "ndvi_2003.tif", IMAGE.astype("float64") + 1e-9)
    stack = pw.open_stack(folder)
    values = stack.read(stack.grid.block)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values[3], IMAGE.astype("float64") + 1e-9)


def test_large_integers_keep_their_digits(tmp_path: Path):
    stored = np.array([2**24 + 1, 2**31 - 1], dtype="int32")
    np.testing.assert_array_equal(row(pair(tmp_path, stored)), stored)


# ------------------------------------------------------------------------------------------------ selecting


def by_option(folder: Path, **options: Any) -> pw.RasterStack:
    return pw.open_stack(folder, **options)


def by_select(folder: Path, **options: Any) -> pw.RasterStack:
    return pw.open_stack(folder).select(**options)


either_way = pytest.mark.parametrize("choose", [by_option, by_select])
Choose = Callable[..., pw.RasterStack]

DAYS = ["1999-12-31", "2000-06-01", "2000-06-30", "2000-07-01", "2001-06-15"]


@pytest.fixture
def days(make_stack: MakeStack) -> Path:
    return make_stack([IMAGE + i for i in range(5)], DAYS, folder="days")


@either_way
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"start": "2000"}, [1, 2, 3, 4]),
        ({"start": 2000, "end": "2000-06"}, [1, 2]),
        ({"end": "2000-06-30"}, [0, 1, 2]),
        ({"start": dt.date(2000, 6, 30)}, [2, 3, 4]),
        ({"months": [6]}, [1, 2, 4]),
        ({"months": (6, 12), "end": 2000}, [0, 1, 2]),
    ],
)
def test_a_range_of_dates(days: Path, choose: Choose, options: dict[str, Any], kept: list[int]):
    stack = choose(days, **options)
    assert dates_of(stack) == [DAYS[i] for i in kept]
    np.testing.assert_array_equal(stack.read(stack.grid.block), [IMAGE + i for i in kept])


@either_way
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "June"}, "start: cannot read 'June' as a date"),
        ({"end": "200006"}, "end: cannot read '200006' as a date .*write 2001-03 for a month"),
        ({"months": [0, 13]}, r"months 0,13 are not all among 1 to 12"),
        ({"bounds": (0, 1)}, r"bounds \(0, 1\) are not four numbers: expected left, bottom, right, top"),
        ({"bounds": (0, 0, np.inf, 1)}, r"bounds \(0, 0, inf, 1\) are not finite"),
        ({"bounds": "here"}, "bounds 'here' is not a number"),
    ],
)
def test_a_choice_that_is_impossible(days: Path, choose: Choose, options: dict[str, Any], message: str):
    with pytest.raises(pw.ParameterError, match=message):
        choose(days, **options)


def test_a_choice_that_leaves_too_little(days: Path):
    with pytest.raises(
        pw.InputError, match=r"1 of 5 layers are left with end 1999, months 12: a series needs at least"
    ):
        pw.open_stack(days).select(end=1999, months=[12])


@either_way
def test_months_of_layers_that_know_their_year_only(three: Path, choose: Choose):
    with pytest.raises(pw.InputError, match=r"months \[6\] cannot be selected: .*ndvi_2000.tif has only a year"):
        choose(three, months=[6])


@either_way
@pytest.mark.parametrize(
    ("bounds", "rows", "cols"),
    [
        ((500030, 3399880, 500090, 3399970), (1, 4), (1, 3)),  # on pixel edges
        ((500031, 3399881, 500061, 3399969), (1, 4), (1, 3)),  # touches the same pixels
        ((500045, 3399955, 500046, 3399956), (1, 2), (1, 2)),  # within one pixel
        ((0, 0, 500001, 9e6), (0, 6), (0, 1)),  # beyond the image
    ],
)
def test_bounds(
    three: Path,
    choose: Choose,
    bounds: tuple[float, float, float, float],
    rows: tuple[int, int],
    cols: tuple[int, int],
):
    stack = choose(three, bounds=bounds)
    assert stack.grid.transform == at(rows[0], cols[0])
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[:, slice(*rows), slice(*cols)])


@either_way
@pytest.mark.parametrize(
    "transform",
    [
        Affine(30, 0, 500000, 0, 30, 3400000),  # south-up
        Affine.translation(500000, 3400000) @ Affine.rotation(30) @ Affine.scale(30, -30),
    ],
    ids=["south-up", "rotated"],
)
def test_bounds_on_grids_that_do_not_face_north(make_stack: MakeStack, choose: Choose, transform: Affine):
    folder = make_stack(YEARS, transform=transform)
    x, y = transform @ (3.5, 2.5)
    stack = choose(folder, bounds=(x - 1, y - 1, x + 1, y + 1))
    assert stack.grid == pw.Grid(stack.grid.crs, transform @ Affine.translation(3, 2), 1, 1)
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[:, 2:3, 3:4])


def test_bounds_outside(three: Path):
    assert problem_of(three, bounds=(0, 0, 1, 1)) == (
        "bounds (0, 0, 1, 1) lie outside the rasters, which cover (500000.0, 3399820.0, 500210.0, 3400000.0)"
    )
    assert "bounds (1, 1, 0, 0) are empty: expected left, bottom, right, top" in problem_of(three, bounds=(1, 1, 0, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodata": "-9999"}, "nodata '-9999' is not a number"),
        ({"scale": 0}, "scale 0 makes every value the same"),
        ({"scale": np.nan}, "scale nan is not finite"),
        ({"offset": np.inf}, "offset inf is not finite"),
        ({"valid_range": (1, 0)}, r"valid_range \(1, 0\) is empty: expected LOW,HIGH"),
        ({"period": "centre"}, "period='centre' is not one of start, middle, end"),
        (
            {"same_date": "maximum"},
            "same_date='maximum' is not one of keep, first, mosaic, mean, max; did you",
        ),
    ],
)
def test_options_that_are_impossible(three: Path, options: dict[str, Any], message: str):
    with pytest.raises(pw.ParameterError, match=message):
        pw.open_stack(three, **options)


def test_numbers_of_numpy_reach_the_map_as_plain_ones(three: Path, tmp_path: Path):
    left, bottom, right, top = np.array([500000, 3399850, 500100, 3400000])
    stack = pw.open_stack(three, bounds=(left, bottom, right, top), nodata=np.int16(7), band=np.int32(1))
    spec = pw.apply(stack, "ols", tmp_path / "map.tif").provenance["input"]["spec"]
    assert spec == {"bounds": [500000, 3399850, 500100, 3400000], "nodata": [7], "band": 1}


# --------------------------------------------------------------------------------------------------- grids


def test_the_odd_grid_is_named_even_if_it_comes_first(three: Path):
    write_raster(three / "ndvi_1990.tif", np.zeros((4, 4), np.float32))
    first, second, _ = problems_of(three)
    assert first.startswith(f"the rasters are not on one grid; 1 differ from {three / 'ndvi_2000.tif'}")
    assert second.startswith(f"{three / 'ndvi_1990.tif'}: size 4 x 4 instead of")


def test_all_differences_of_all_grids(make_stack: MakeStack):
    folder = make_stack(YEARS)
    write_raster(folder / "ndvi_2003.tif", IMAGE, crs="EPSG:32618")
    write_raster(folder / "ndvi_2004.tif", IMAGE[:5], crs="EPSG:4326", transform=at(1.5, 0))
    head, third, fourth, advice = problems_of(folder)
    assert head == f"the rasters are not on one grid; 2 differ from {folder / 'ndvi_2000.tif'}:"
    assert third == f"{folder / 'ndvi_2003.tif'}: CRS EPSG:32618 instead of EPSG:32617"
    assert fourth == (
        f"{folder / 'ndvi_2004.tif'}: CRS EPSG:4326 instead of EPSG:32617; "
        "size 5 x 7 instead of 6 x 7 (rows x columns); "
        "transform (30, 0, 500000, 0, -30, 3399955) instead of (30, 0, 500000, 0, -30, 3400000) (off by 1.5 pixels)"
    )
    assert advice.startswith("put them on one lattice with --align FILE --resampling nearest|bilinear")


def test_grids_that_differ_by_less_than_a_hundredth_of_a_pixel(make_stack: MakeStack):
    folder = make_stack(YEARS)
    write_raster(folder / "ndvi_2003.tif", IMAGE, transform=at(0.009, 0))
    assert pw.open_stack(folder).grid.transform == ORIGIN
    write_raster(folder / "ndvi_2003.tif", IMAGE, transform=at(0.011, 0))
    assert "(off by 0.011 pixels)" in problems_of(folder)[1]


SINUSOIDAL = (
    'PROJCS["Sinusoidal of MODIS",GEOGCS["unknown",DATUM["unknown",SPHEROID["sphere",6371007.181,0]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Sinusoidal"],'
    'PARAMETER["longitude_of_center",0],PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


def test_a_crs_without_a_code(make_stack: MakeStack, tmp_path: Path):
    stack = pw.open_stack(make_stack(YEARS, crs=SINUSOIDAL))
    assert str(stack).startswith("3 layers, 2000..2002, 6 x 7, Sinusoidal of MODIS, ")
    trend = pw.apply(stack, "ols", tmp_path / "map.tif")
    assert trend.grid == stack.grid
    assert trend.grid.crs.to_epsg() is None
    assert pickle.loads(pickle.dumps(stack.grid)) == stack.grid


def test_no_crs(make_stack: MakeStack, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        folder = make_stack(YEARS, crs=None, transform=None)
    stack = pw.open_stack(folder)
    assert "6 x 7, no CRS" in str(stack)
    trend = pw.apply(stack, "ols", tmp_path / "map.tif")
    np.testing.assert_allclose(trend["slope"], 100)
    assert trend.grid.crs is None
    assert pw.open_map(tmp_path / "map.tif").grid == stack.grid


def test_ground_control_points_only(tmp_path: Path):
    points = [GroundControlPoint(row, col, 5 + col, 50 - row) for row, col in ((0, 0), (0, 7), (6, 0))]
    for year in (2000, 2001):
        profile = {"driver": "GTiff", "width": 7, "height": 6, "count": 1, "dtype": "float32"}
        with rasterio.open(tmp_path / f"x_{year}.tif", "w", gcps=points, crs="EPSG:4326", **profile) as dataset:
            dataset.write(IMAGE, 1)
    first, second = problems_of(tmp_path)
    assert first == (
        f"{tmp_path / 'x_2000.tif'}: is placed by 3 ground control points only; warp it to a grid first (gdalwarp)"
    )
    assert second.startswith(f"{tmp_path / 'x_2001.tif'}: ")


def test_a_grid_whose_pixels_have_no_area(make_stack: MakeStack):
    folder = make_stack(YEARS[:2], transform=Affine(30, 30, 1, 30, 30, 1))
    problem = problems_of(folder)[0]
    assert problem.startswith(f"{folder / 'ndvi_2000.tif'}: the transform (30.0, 30.0, 1.0, 30.0, 30.0, 1.0)")


def test_complex_numbers(make_stack: MakeStack):
    folder = make_stack(YEARS[:2].astype("complex64"))
    assert problems_of(folder)[0] == f"{folder / 'ndvi_2000.tif'}: holds complex64 bands; expected real numbers"


# ---------------------------------------------------------------------------------------------------- VRT


def write_vrt(path: Path, source: str, *, relative: bool = True) -> Path:
    path.write_text(
        f'<VRTDataset rasterXSize="7" rasterYSize="6"><SRS>EPSG:32617</SRS>'
        f"<GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1"><NoDataValue>3</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="{int(relative)}">{source}</SourceFilename><SourceBand>1</SourceBand>'
        f"</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def test_vrts_of_local_files(three: Path, tmp_path: Path):
    for year in (2000, 2001):
        write_vrt(tmp_path / f"v_{year}.vrt", f"stack/ndvi_{year}.tif")
    write_vrt(tmp_path / "v_2002.vrt", str(three / "ndvi_2002.tif"), relative=False)
    expected = YEARS.copy()
    expected[0, 0, 3] = np.nan
    np.testing.assert_array_equal(values_of(tmp_path / "*.vrt"), expected)
    write_vrt(three / "outer_2003.vrt", "../v_2000.vrt")
    np.testing.assert_array_equal(values_of(three)[3], expected[0])


@pytest.mark.parametrize("name", ["v_2003.vrt", "v_2003.tif"])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/vsicurl/http://127.0.0.1:9/a.tif", "its source '/vsicurl/http://127.0.0.1:9/a.tif' is not a local file"),
        ("gone.tif", "its source 'gone.tif' is not a local file"),
        ("WMS:http://127.0.0.1:9/", "its source 'WMS:http://127.0.0.1:9/' is not a local file"),
        ("service.xml", "a source of this VRT is wrong: {folder}/service.xml: not a raster that can be read"),
        ("{name}", "this VRT is a source of itself"),
        ("deeper/../{name}", "this VRT is a source of itself"),
    ],
)
def test_vrts_that_reach_further_are_refused(three: Path, name: str, source: str, message: str):
    (three / "deeper").mkdir()
    (three / "service.xml").write_text(
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service>'
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>"
        "<LowerRightY>0</LowerRightY><TileLevel>1</TileLevel></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
    )
    path = write_vrt(three / name, source.format(name=name))
    problem = problem_of(three)
    assert problem.startswith(str(three))
    assert path.name in problem
    assert message.format(folder=three) in problem


def test_a_broken_vrt(three: Path):
    (three / "v_2003.vrt").write_text("<VRTDataset>")
    assert problem_of(three).startswith(f"{three / 'v_2003.vrt'}: not a VRT (no element found")


# ------------------------------------------------------------------------------------------------- reading


def truncate(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_a_truncated_file_is_named_on_reading(make_stack: MakeStack):
    folder = make_stack(noise(3, 64, 64), compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    path = truncate(folder / "ndvi_2001.tif")
    stack = pw.open_stack(folder)
    assert stack.read(pw.Block(0, 0, 16, 16)).shape == (3, 16, 16)
    with pytest.raises(pw.InputError) as caught:
        stack.read(pw.Block(48, 32, 16, 32))
    message = str(caught.value)
    assert message.startswith(f"{path}: band 1 cannot be read at rows 48..63, columns 32..63 (")
    assert message.endswith("is the file truncated?")
    with pytest.raises(pw.InputError, match=r"ndvi_2001\.tif: band 1 cannot be read at rows"):
        pw.apply(stack, "ols")


def test_a_truncated_file_of_many_bands_is_named_on_reading(tmp_path: Path):
    path = truncate(write_raster(tmp_path / "stack.tif", noise(3, 64, 64), compress="deflate"))
    table = tmp_path / "dates.txt"
    table.write_text("2001\n2002\n2003\n")
    stack = pw.open_stack(path, times=table)
    with pytest.raises(pw.InputError, match=r"stack\.tif: bands 1, 2, 3 cannot be read at rows 0\.\.63.*truncated\?"):
        stack.read(stack.grid.block)


def test_a_file_that_vanished_is_named_on_reading(three: Path):
    stack = pw.open_stack(three)
    (three / "ndvi_2001.tif").unlink()
    with pytest.raises(pw.InputError, match=r"ndvi_2001\.tif: cannot be opened \(No such file or directory\)$"):
        stack.read(stack.grid.block)


def test_a_file_that_was_replaced_is_read_anew(three: Path):
    before = values_of(three)
    (three / "ndvi_2000.tif").unlink()
    write_raster(three / "ndvi_2000.tif", IMAGE + 1000)
    np.testing.assert_array_equal(values_of(three)[0], before[0] + 1000)


def test_what_gdal_keeps_of_a_file_grows_with_its_blocks(tmp_path: Path):
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    raw = read_header(write_raster(tmp_path / "raw.tif", image, **tiles))
    large = read_header(write_raster(tmp_path / "large.tif", image, tiled=True, blockxsize=64, blockysize=64))
    zstd = read_header(write_raster(tmp_path / "zstd.tif", image, compress="zstd", **tiles))
    bands = read_header(write_raster(tmp_path / "bands.tif", np.stack([image] * 4), interleave="pixel", **tiles))
    block = 16 * 16 * 4
    assert raw.open_file_bytes == (64 << 10) + 1.5 * block
    assert large.open_file_bytes == (64 << 10) + 1.5 * 16 * block
    assert zstd.open_file_bytes == raw.open_file_bytes + block
    assert bands.open_file_bytes == (64 << 10) + 2.5 * 4 * block


def test_what_was_used_last_is_closed_first_because_it_is_needed_last(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
):
    stack = pw.open_stack(make_stack(np.stack([IMAGE] * 6)))
    opened: list[str] = []
    really_open = handles._open
    monkeypatch.setattr(
        handles, "_open", lambda piece, **how: opened.append(piece.path.name) or really_open(piece, **how)
    )
    share = stack.readers(1, handles=4)[0]
    out = np.empty((6, *IMAGE.shape), np.float32)
    for _ in range(5):
        share.read_into(stack.grid.block, (out,))
        assert len(share.handles) == 4
    # Each further block opens two, sometimes three; closing the least recently used would open all six.
    assert len(opened) <= 6 + 4 * 3
    share.close()
    assert not share.handles
    np.testing.assert_array_equal(out, [IMAGE] * 6)


def test_files_of_a_mosaics_other_parts_are_closed_first(
    make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for shard in range(6):
        for year in (2000, 2001):
            name = f"ndvi_{year}-{shard * 2:010d}-0000000000.tif"
            place = ORIGIN @ Affine.translation(0, shard * 2)
            write_raster(tmp_path / name, IMAGE[:2] + shard, transform=place)
    stack = pw.open_stack(tmp_path)
    share = stack.readers(1, handles=4)[0]
    out = np.empty((2, 2, 7), np.float32)
    for shard in range(6):
        for _ in range(2):
            share.read_into(pw.Block(shard * 2, 0, 2, 7), (out,))
        # Whatever came before, the files of this part are open.
        assert {f"ndvi_{year}-{shard * 2:010d}-0000000000.tif" for year in (2000, 2001)} <= {
            path.name for path, _ in share.handles
        }
        np.testing.assert_array_equal(out, [IMAGE[:2] + shard] * 2)


def test_few_files_are_open_at_once(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch):
    stack = pw.open_stack(make_stack(np.stack([IMAGE] * 20)))
    # All threads share the limit, whoever made them.
    monkeypatch.setattr("pixelwise.rasters.handles.file_limit", lambda: 9 * len(ALL_OPEN_FILES))
    with reading((stack,)):
        values = stack.read(stack.grid.block)
        assert len(HANDLES.open_files) == 9
    assert not HANDLES.open_files
    np.testing.assert_array_equal(values, [IMAGE] * 20)


def vrt_of(path: Path, source: str, tag: str = "SourceFilename", root: str = "<VRTDataset") -> Path:
    """Write a VRT of one float32 band whose source element is spelt as wanted."""
    path.write_text(
        f"""{root} rasterXSize="7" rasterYSize="6"><SRS>EPSG:32617</SRS>
        <GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform>
        <VRTRasterBand dataType="Float32" band="1"><SimpleSource>
        <{tag} relativeToVRT="0">{source}</{tag}><SourceBand>1</SourceBand>
        </SimpleSource></VRTRasterBand></VRTDataset>"""
    )
    return path


@pytest.mark.parametrize(
    ("tag", "root"),
    [
        ("SourceFilename", "<VRTDataset"),
        ("sourcefilename", "<VRTDataset"),
        ("SOURCEFILENAME", '<VRTDataset xmlns="urn:x"'),
    ],
)
def test_no_spelling_of_a_vrt_reaches_the_network(three: Path, tag: str, root: str):
    path = vrt_of(three / "ndvi_2005.vrt", "/vsicurl/http://127.0.0.1:1/a.tif", tag, root)
    assert problem_of(three) == f"{path}: its source '/vsicurl/http://127.0.0.1:1/a.tif' is not a local file"


def test_what_a_vrt_names_elsewhere_is_refused(three: Path):
    path = vrt_of(three / "ndvi_2005.vrt", str(three / "ndvi_2000.tif"))
    text = path.read_text()
    path.write_text(
        text.replace("</VRTDataset>", "<OverviewList>/vsicurl/http://127.0.0.1:1/o</OverviewList></VRTDataset>")
    )
    assert "its element overviewlist names '/vsicurl/" in problem_of(three)
    path.write_text(text.replace("<VRTDataset", '<VRTDataset subClass="VRTProcessedDataset"', 1))
    assert "a VRT of class 'VRTProcessedDataset' is not read" in problem_of(three)
    path.write_text(text.replace("<VRTDataset", '<VRTDataset SUBCLASS="VRTProcessedDataset"', 1))
    assert "a VRT of class 'VRTProcessedDataset' is not read" in problem_of(three)
    path.write_text(text)
    assert len(pw.open_stack([*sorted(three.glob("*.tif")), path])) == 4


def test_the_mask_of_a_single_band_is_honoured(three: Path):
    mask = write_raster(three / "masks" / "mask.tif", (np.arange(42).reshape(6, 7) % 2 * 255).astype(np.uint8))
    path = vrt_of(three / "ndvi_2005.vrt", str(three / "ndvi_2000.tif"))
    band = f"""<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename>{mask}</SourceFilename>
        <SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand></VRTDataset>"""
    path.write_text(path.read_text().replace("</VRTRasterBand></VRTDataset>", band))
    values = values_of([three / "ndvi_2000.tif", path])
    assert np.isnan(values[1].ravel()[::2]).all()
    assert not np.isnan(values[1].ravel()[1::2]).any()


def test_the_valid_range_includes_its_limits_as_stored(make_stack: MakeStack):
    values = np.full((2, 2, 2), -0.2, np.float32)
    assert np.isnan(values_of(make_stack(values), valid_range=(-0.19, 1))).all()
    np.testing.assert_array_equal(values_of(make_stack(values), valid_range=(-0.2, 1)), values)


def test_a_mean_of_equal_dates_has_the_same_bits_in_any_block(tmp_path: Path):
    random = np.random.default_rng(0)
    for date in ("2001-01-01", "2002-01-01"):
        for member in range(10):
            stored = random.integers(0, 10000, (5, 5)).astype(np.int16)
            write_raster(tmp_path / f"{member}_{date}.tif", stored, scales=(0.0001,))
    stack = pw.open_stack(tmp_path, same_date="mean")
    whole = stack.read(stack.grid.block)
    for block in stack.grid.blocks(1, 1):
        assert stack.read(block).tobytes() == whole[:, *block.slices].tobytes()


def test_a_block_outside_the_grid_is_a_mistake_of_the_program(three: Path):
    stack = pw.open_stack(three)
    with pytest.raises(ValueError, match=r"Block\(row=5, col=0, height=2, width=7\) lies outside"):
        stack.read(pw.Block(5, 0, 2, 7))


# --------------------------------------------------------------------------------------- surveys and stacks


def test_a_survey_lists_what_it_found_beside_the_problems(three: Path):
    (three / "ndvi_2003.tif").write_bytes(b"")
    undated = write_raster(three / "landsat_2004.tif", YEARS, descriptions=["Red", "Green", "NIR"])
    found = survey(three, pw.InputSpec())
    assert [layer.pieces[0].path.name for layer in found.layers] == [f"ndvi_{year}.tif" for year in (2000, 2001, 2002)]
    assert found.undated == (undated,)
    assert len(found.problems) == 2
    with pytest.raises(pw.InputError) as caught:
        found.stack()
    assert caught.value.problems == found.problems
    assert pickle.loads(pickle.dumps(caught.value)).problems == found.problems


class Multiplied:
    """Another stack times a number, with nothing but what the protocol asks for."""

    def __init__(self, stack: pw.Stack, factor: float) -> None:
        self._stack, self._factor = stack, factor

    @property
    def grid(self) -> pw.Grid:
        return self._stack.grid

    @property
    def axis(self) -> pw.TimeAxis:
        return self._stack.axis

    def read(self, block: pw.Block) -> Any:
        return self._stack.read(block) * np.float64(self._factor)


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_the_engine_knows_a_stack_by_grid_axis_and_read(three: Path, tmp_path: Path, executor: str):
    stack = Multiplied(pw.open_stack(three), 0.5)
    assert isinstance(stack, pw.Stack)
    assert layout_of(stack) == Layout()
    trend = pw.apply(stack, "ols", tmp_path / "map.tif", executor=executor)
    np.testing.assert_allclose(trend["slope"], np.full((6, 7), 50))
    assert trend.grid == stack.grid
    assert trend.provenance["input"]["kind"] == "Multiplied"
    assert (trend.provenance["input"]["first"], trend.provenance["input"]["layers"]) == ("2000-01-01", 3)


def test_a_stack_derived_from_a_derived_stack(three: Path):
    stack = Multiplied(Multiplied(pw.open_stack(three), 2), 3)
    np.testing.assert_allclose(pw.apply(stack, "ols", executor="inline")["slope"], np.full((6, 7), 600))
