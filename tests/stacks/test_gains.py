"""Tables of gains: written without loss, read back, and refused line by line where they are wrong."""

from __future__ import annotations

import hashlib
import math
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

import pixelwise as pw
from pixelwise.stacks.gains import COLUMNS, Gain, GainFlag, Gains, read_gains

HEADER = "path,date,band,gain,offset,flag\n"


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "gains.csv"
    path.write_text(text, encoding=encoding)
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    """Return the problems of a table, without the name of the file that each of them begins with."""
    path = table(tmp_path, text)
    with pytest.raises(pw.InputError) as refused:
        read_gains(path)
    found = list(refused.value.problems)
    assert all(one.startswith(f"gains {path}") and "\n" not in one for one in found)
    return [one.removeprefix(f"gains {path}").removeprefix(", ").removeprefix(": ") for one in found]


def test_a_table_comes_back_to_the_bit(tmp_path: Path) -> None:
    rows = (
        Gain("a b.tif", "2001-07-15", "LE07", "red", 1 / 3, -0.1 - 0.2, 1e-300, 5e-324, 12345, 0.5, 7, 0.1, 0.2, 0.3),
        Gain("../x,y.tif", "2001-02-30", "", "nir", 1.0, 0.0, flags=("few", "far"), reference='the "best"', method="m"),
        Gain("https://a.org/x.tif", "2001-07-15T10:00:08", "", "v", 2.0, 3.0),
        Gain("r.tif", "2001-07-16", "", "red", math.nan, math.nan, flags=("refused",)),
    )
    path = table(tmp_path, Gains(rows).as_csv())
    again = read_gains(path)
    assert repr(again.rows) == repr(rows)  # NaN differs from itself, not from how it is written
    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert again.bands == ("red", "nir", "v")
    # What others make of it: pandas finds the same columns and numbers.
    frame = pd.read_csv(path)
    assert tuple(frame.columns) == COLUMNS
    assert len(COLUMNS) == len(fields(Gain))
    assert frame["gain"][0] == 1 / 3


def test_tables_of_ones_own_need_five_columns_in_any_order(tmp_path: Path) -> None:
    text = "# by hand\nBand, gain ,offset,comment,path,date\n\nred,1.1,-.02,first try,a.tif,2001-07-15\n"
    [row] = read_gains(table(tmp_path, text)).rows
    assert math.isnan(row.gain_se)
    assert (row.path, row.band, row.gain, row.offset, row.flags, row.doubtful) == (
        "a.tif",
        "red",
        1.1,
        -0.02,
        (),
        False,
    )


@pytest.mark.parametrize("mark", [";", "\t"])
def test_what_spreadsheets_write_is_read(mark: str, tmp_path: Path) -> None:
    """Excel in German or French: semicolons, decimal commas, a byte order mark, empty cells."""
    lines = [["path", "date", "band", "gain", "offset", "gain_se", "n", "flag"],
             ["a.tif", "2001-07-15", "red", "1,05", "-0,02", "", "12000", "few uncertain"]]  # fmt: skip
    [row] = read_gains(table(tmp_path, "\n".join(map(mark.join, lines)), "utf-8-sig")).rows
    assert (row.gain, row.offset, row.n, row.flags) == (1.05, -0.02, 12000, ("few", "uncertain"))
    assert math.isnan(row.gain_se)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("a.tif,2001-07-15,red,0,0,", "gain 0 is impossible: expected a number above 0"),
        ("a.tif,2001-07-15,red,-1,0,", "gain -1 is impossible: expected a number above 0"),
        ("a.tif,2001-07-15,red,nan,0,", "gain nan is impossible: expected a number above 0"),
        ("a.tif,2001-07-15,red,inf,0,", "gain inf is impossible: expected a number above 0"),
        ("a.tif,2001-07-15,red,1,nan,", "offset nan is not a number"),
        ("a.tif,2001-07-15,red,one,0,", "gain 'one' is not a number"),
        ("a.tif,2001-07-15,red,,0,", "gain '' is not a number"),
        ("a.tif,2001-07-15,red,1,,", "offset '' is not a number"),
        (",2001-07-15,red,1,0,", "path is empty"),
        ("a.tif,2001-07-15,,1,0,", "band is empty"),
        ("a.tif,15.07.2001,red,1,0,", ("date '15.07.2001' is not written like 2001-07-15 (spreadsheets rewrite "
         "dates: format the column as text)")),
        ("a.tif,,red,1,0,", "date '' is not written like 2001-07-15"),
        ("a.tif,2001-07-15,red,1,0,good", f"flag 'good' is unknown: expected {', '.join(get_args(GainFlag))}"),
        ("a.tif,2001-07-15,red,1,0", "5 columns, but 6 in the first line"),
        ("a.tif,2001-07-15,red,1,05,0,", "7 columns, but 6 in the first line"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_line(cells: str, problem: str, tmp_path: Path) -> None:
    assert problems(tmp_path, f"{HEADER}b.tif,2001-07-15,red,1,0,\n\n{cells}\n") == [f"line 4: {problem}"]


def test_all_lines_are_reported_but_only_the_first_in_words(tmp_path: Path) -> None:
    found = problems(tmp_path, HEADER + "".join(f"{name}.tif,2001-07-15,red,0,0,\n" for name in "abcdefgh"))
    assert [line.partition(":")[0] for line in found[:5]] == [f"line {number}" for number in range(2, 7)]
    assert found[5:] == ["3 more lines like these"]


def test_a_scene_twice_is_refused(tmp_path: Path) -> None:
    lines = ["a.tif,2001-07-15,red,1,0,", "a.tif,2001-07-15,nir,1,0,", "a.tif,2001-07-15,red,1.1,0,"]
    assert problems(tmp_path, HEADER + "\n".join(lines)) == [
        "line 4: a.tif, band red, 2001-07-15 occurs twice, first in line 2; delete one of them"
    ]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("path,date,band,gain", "no column offset; expected path, date, band, gain, offset and, "),
        ("file,day,band,gain,offset", "no column path and no column date; expected"),
        ("path,date,band,gain,offset,gain", "two columns have the name gain; delete one of them"),
        # Flags that nobody reads would let doubtful scenes in.
        ("path,date,band,gain,offset,flags", "unknown column flags; did you mean flag?"),
        ("path,date,band,gain,offset,gain_s", "unknown column gain_s; did you mean gain_se?"),
    ],
)
def test_columns_are_checked(header: str, problem: str, tmp_path: Path) -> None:
    [found] = problems(tmp_path, f"{header}\na.tif,2001-07-15,red,1,0,x\n")
    assert found.startswith(f"line 1: {problem}")


@pytest.mark.parametrize(("text", "problem"), [("", "is empty; "), (HEADER, "has no lines below the names")])
def test_empty_tables(text: str, problem: str, tmp_path: Path) -> None:
    [found] = problems(tmp_path, text)
    assert found.startswith(problem)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, content in (("missing.csv", None), ("x.tif", b"II*\0\0\0\0\0"), ("latin.csv", b"path\xe9")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(pw.InputError, match=f"^gains .*{name}: (No such file|not a text file)"):
            read_gains(tmp_path / name)
