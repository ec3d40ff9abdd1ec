"""What a user may name, and which files are found."""

from __future__ import annotations

import contextlib
import datetime as dt
import glob
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.opening import sources
from pixelwise.opening.sources import _matching
from support.images import IMAGE, YEARS, dates_of, names_of
from support.rasters import problem_of, problems_of, write_raster

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
    first, second = problems_of(
        {three / "ndvi_2000.tif": "5 March", three / "ndvi_2001.tif": np.datetime64("NaT", "D")}
    )
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


@pytest.mark.parametrize("name", ["x" * 300, "*" * 300])
def test_a_name_that_is_too_long(three: Path, name: str):
    assert problems_of(three / name) == [f"{three / name}: File name too long"]


def test_all_sources_that_are_wrong_are_named(three: Path, tmp_path: Path):
    assert problems_of([three, f"{tmp_path}/a*.tif", tmp_path / "b.tif"]) == [
        f"no file matches '{tmp_path}/a*.tif'",
        f"{tmp_path}/b.tif: no such file or folder",
    ]


def test_nothing_is_named():
    assert problem_of([]) == "no file is given"


@pytest.mark.parametrize("source", ["/vsicurl/http://example.org/a.tif", "/vsizip/a.zip"])
def test_only_local_files_are_read(source: str):
    assert problem_of(source) == f"{source}: only local files are read; download it first"


def test_an_unknown_option_names_the_closest(three: Path):
    with pytest.raises(pw.ParameterError, match="unknown input option 'nodat'; did you mean 'nodata'"):
        pw.open_stack(three, nodat=3)
