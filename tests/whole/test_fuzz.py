"""A part of ``make fuzz``: what hostile files may do, and that those who look would see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

pytest.importorskip("resource", reason="limits of memory and time")

from fuzz import Server

from support import fuzz_cases, fuzz_reference
from support.fuzz_changes import Tiff
from support.rasters import write_raster

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked from one that is warm")

#: Cases here, and how many a test does.
CASES, AT_ONCE = 60, 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.long) for first in range(AT_ONCE, CASES, AT_ONCE))]
)
def test_hostile_files_end_in_an_error_or_the_right_map(server: Server, first: int) -> None:
    verdicts = [server.examine(kind, seed) for kind, seed in fuzz_cases.numbered(first, AT_ONCE)]
    bad = [f"python tests/fuzz.py --kind {v.kind} --seed {v.seed}\n  {v}" for v in verdicts if v.bad]
    assert not bad, "\n".join(bad)
    assert len({verdict.outcome for verdict in verdicts}) >= 3, "all end alike: is anything tried?"


@pytest.mark.parametrize(
    ("harm", "kind", "outcome"),
    [
        ("rows", "tiff", "another map"),
        ("errors", "tiff", "a map where the reference cannot read"),
        ("undefined", "tiff", "another map"),
        ("traceback", "tag", "an error that nobody foresaw"),
        ("crash", "vrt", "killed by SIGABRT"),
        ("network", "tag", "a request to the network"),
        ("network", "vrt", "a request to the network"),
        ("hang", "header", "it does not end"),
        ("foreign", "tag", "a file was opened that nobody named"),
        ("write", "recipe", "a file of others was changed"),
        ("code", "recipe", "code was run"),
        ("litter", "tiff", "something is left"),
        ("resumed", "journal", "another map"),
    ],
)
def test_what_must_not_be_is_found(server: Server, harm: str, kind: str, outcome: str) -> None:
    """Else nothing would be tested above."""
    if harm == "foreign" and not Path("/proc/self/mountinfo").exists():
        pytest.skip("only Linux tells which files are opened")
    found = []
    for seed in range(25):
        found.append(server.examine(kind, seed, harm).outcome)
        if found[-1] == outcome:
            return
    pytest.fail(f"{outcome} is not among {sorted(set(found))}")


@pytest.mark.parametrize(("kind", "name"), [("tiff", "x_2003.tif"), ("vrt", "x_2003.vrt")])
@pytest.mark.long
def test_a_seed_is_a_case(server: Server, tmp_path: Path, kind: str, name: str) -> None:
    for seed in (3, 4, 5):
        one, two = (server.examine(kind, seed, keep=str(tmp_path / f"{folder}{seed}")) for folder in ("one", "two"))
        assert one.change == two.change
        assert (tmp_path / f"one{seed}" / name).read_bytes() == (tmp_path / f"two{seed}" / name).read_bytes()


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"BIGTIFF": "YES", "ENDIANNESS": "BIG", "nodata": 3, "interleave": "pixel"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16, "mask": np.full((40, 30), 255, "uint8"), "scales": [2, 2]},
    ],
)
def test_a_file_that_is_written_anew_without_a_change_is_the_same(tmp_path: Path, profile: dict[str, object]) -> None:
    """So that a change of one field is one of nothing else."""
    values = np.arange(2400, dtype="int16").reshape(2, 40, 30)
    old = write_raster(tmp_path / "old.tif", values, compress="deflate", **profile)
    tiff = Tiff.parse(old.read_bytes())
    offsets, counts = tiff.blocks()
    index = len(tiff.numbers(offsets)) - 1
    tiff.move_block(index, tiff.block(index))
    assert tiff.numbers(counts)[index] > 0
    new = tmp_path / "new.tif"
    new.write_bytes(tiff.write())
    with rasterio.open(old) as before, rasterio.open(new) as after:
        assert before.profile == after.profile
        np.testing.assert_array_equal(after.read(), values)
        np.testing.assert_array_equal(after.read_masks(), before.read_masks())


def test_the_reference_knows_what_is_missing(tmp_path: Path) -> None:
    stored = np.array([[1.0, np.nan, np.inf], [7.0, 7.0000005, 2.0]], dtype="float32")
    path = write_raster(tmp_path / "x.tif", stored, nodata=7)
    plain = fuzz_reference.read_plainly(
        path, 1, "GTiff", {"scale": 2.0, "offset": 1.0, "valid_range": (0, 4)}, blockwise=True
    )
    np.testing.assert_array_equal(plain.values, [[3, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    with pytest.raises(fuzz_reference.Unread, match="no band 2"):
        fuzz_reference.read_plainly(path, 2, "GTiff", {}, blockwise=True)


def test_a_summary_is_what_it_says() -> None:
    series = np.array([[[np.nan, 1.0]], [[3.0, 5.0]], [[4.0, np.nan]]])
    assert {name: band.tolist() for name, band in fuzz_reference.summarized(series).items()} == {
        "n": [[2, 2]], "min": [[3, 1]], "max": [[4, 5]], "first": [[3, 1]], "last": [[4, 5]], "mean": [[3.5, 3]],
    }  # fmt: skip
