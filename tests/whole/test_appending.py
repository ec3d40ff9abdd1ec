"""`composite --append`: the same file as if all of it had been made anew, with only new periods computed."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import rasterio
import zarr

import pixelwise as pw
from pixelwise import appending
from pixelwise.grid import Block
from pixelwise.maps.files import FileSink
from pixelwise.rasters.windows import read_window
from pixelwise.stacks.appended import AppendedStack
from support.command_line import run
from support.limits import set_limits
from support.rasters import random_series, write_raster

MONTHS = (1, 4, 6, 7, 9, 12)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_scenes(
    years: range, *, months: tuple[int, ...] = MONTHS, masks: bool = False, dtype: str = "float32"
) -> None:
    """Write scenes with values that depend on year and month only."""
    for year in years:
        for month in months:
            values = random_series((2, 20, 30), seed=100 * year + month)
            layer = values[0] if dtype == "float32" else np.round(1000 * np.nan_to_num(values[0], nan=-9)).astype(dtype)
            write_raster(
                Path("scenes") / f"ndvi_{year}-{month:02}-15.tif", layer, nodata=-9 if dtype != "float32" else None
            )
            if masks:
                write_raster(Path("masks") / f"mask_{year}-{month:02}-15.tif", (values[1] > 0.5).astype(np.uint8))


def composite(output: str, *options: str) -> Any:
    result = run("composite", "scenes", *options, "-o", output, "--quiet")
    assert result.exit_code == 0, result.output
    return result


def assert_same(one: str, other: str) -> None:
    a, b = pw.open_map(one), pw.open_map(other)
    assert a.names == b.names
    for name in a.names:
        assert a[name].tobytes() == b[name].tobytes(), name
    unequal = {name for name in {*a.provenance, *b.provenance} if a.provenance.get(name) != b.provenance.get(name)}
    assert unequal <= {"timings"}


CASES: dict[str, tuple[str, ...]] = {
    "median": ("--composite", "median"),
    "drawn": ("--composite", "mean", "--equal-count", "3"),
    "season": ("--composite", "date_of_max", "--season", "11-01..04-30"),
    "seasons": ("--every", "season"),
    "masks": ("--mask", "masks/*.tif", "--mask-drop", "1", "--min-count", "2"),
    "region": ("--region", "500100,3399500,500700,3399900"),
    "float64": ("--composite", "p90", "--dtype", "float64"),
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_same_bits_as_anew(home: Path, options: tuple[str, ...]) -> None:
    write_scenes(range(2001, 2005), masks=True)
    composite("a.tif", *options, "--append")  # nothing is there yet
    write_scenes(range(2005, 2006), masks=True)
    said = composite("a.tif", *options, "--append").stderr
    assert re.search(r"a\.tif: \d+ of \d+ periods are kept, [1-5] computed: .*200(5|4/05)", said)
    composite("all.tif", *options)
    assert_same("a.tif", "all.tif")


@pytest.mark.parametrize("kind", ["zarr", "nc"])
def test_other_formats(home: Path, kind: str) -> None:
    write_scenes(range(2001, 2004))
    composite(f"a.{kind}", "--every", "month")
    write_scenes(range(2004, 2005))
    composite(f"a.{kind}", "--every", "month", "--append")
    composite(f"all.{kind}", "--every", "month")
    assert_same(f"a.{kind}", f"all.{kind}")


def test_only_new_periods_are_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(range(2001, 2005))
    composite("a.tif")
    write_scenes(range(2005, 2006))
    read: set[str] = set()

    def note(piece: Any, *args: Any) -> Any:
        read.add(piece.path.name)
        return read_window(piece, *args)

    monkeypatch.setattr("pixelwise.rasters.windows.read_window", note)
    # What a sample of pixels is looked at for warnings is not the job's.
    monkeypatch.setattr("pixelwise.run.warnings_of", lambda *_, **__: [])
    monkeypatch.setattr("pixelwise.run.clear_counts", lambda _: None)
    composite("a.tif", "--append", "--executor", "inline")
    assert {name[5:9] for name in read if name.startswith("ndvi")} == {"2005"}
    assert "a.tif" in read


def test_a_late_scene_and_a_period_that_becomes_incomplete(home: Path) -> None:
    write_scenes(range(2001, 2007))
    for month in (1, 4):
        (home / "scenes" / f"ndvi_2003-{month:02}-15.tif").unlink()
    composite("a.tif")
    # A scene of 2003 comes late, and the scenes of 2005 are replaced.
    write_scenes(range(2003, 2004), months=(4,))
    write_raster(home / "scenes" / "ndvi_2005-06-15.tif", random_series((1, 20, 30), seed=9)[0])
    write_scenes(range(2007, 2008), months=(1, 4))
    said = composite("a.tif", "--append").stderr
    assert "the year is incomplete and left out" in said
    assert "4 of 6 periods are kept, 2 computed: 2003, 2005" in said
    assert "3 files are new: scenes/ndvi_2003-04-15.tif, scenes/ndvi_2007-01-15.tif" in said
    assert "1 file has changed: scenes/ndvi_2005-06-15.tif" in said
    composite("all.tif")
    assert_same("a.tif", "all.tif")
    assert "a.tif is up to date: its 6 periods are still the same" in composite("a.tif", "--append").stderr


def test_no_period_is_lost(home: Path) -> None:
    write_scenes(range(2001, 2005))
    composite("a.tif")
    content = (home / "a.tif").read_bytes()
    result = run("composite", "scenes", "-o", "a.tif", "--append", "--start", "2003", "--quiet")
    assert result.exit_code == 1
    assert "a.tif: holds 2001, 2002, which would be lost" in result.stderr
    assert "--start was not given, now '2003'" in result.stderr
    assert (home / "a.tif").read_bytes() == content


def put(path: str, value: float) -> None:
    """Overwrite one pixel of the second layer, as another program may."""
    if path.endswith(".tif"):
        with rasterio.open(path, "r+") as dataset:
            layer = dataset.read(2)
            layer[3, 4] = value
            dataset.write(layer, 2)
    elif path.endswith(".zarr"):
        for array in dict(zarr.open_group(path, mode="r+").arrays()).values():
            if array.ndim == 3:
                array[1, 3, 4] = value
    else:
        with netCDF4.Dataset(path, "r+") as dataset:
            for variable in dataset.variables.values():
                if variable.ndim == 3:
                    variable[1, 3, 4] = value


@pytest.mark.parametrize("kind", ["tif", "zarr", "nc"])
def test_an_altered_layer_is_computed_again(home: Path, kind: str) -> None:
    write_scenes(range(2001, 2004))
    composite(f"a.{kind}")
    put(f"a.{kind}", 42)
    said = composite(f"a.{kind}", "--append").stderr
    assert f"a.{kind}: 2002: computed again, as the file has been changed since it was written" in said
    assert "2 of 3 periods are kept, 1 computed: 2002" in said
    composite(f"all.{kind}")
    assert_same(f"a.{kind}", f"all.{kind}")


@pytest.mark.parametrize("field", ["scales", "offsets", "nodata"])
def test_values_that_are_read_otherwise_are_computed_again(home: Path, field: str) -> None:
    write_scenes(range(2001, 2004))
    write_raster(home / "scenes" / "ndvi_2002-06-15.tif", np.full((20, 30), 3, "float32"))
    composite("a.tif")
    with rasterio.open("a.tif", "r+") as dataset:
        setattr(dataset, field, 3.0 if field == "nodata" else (1.0, 2.0, 1.0))
    said = composite("a.tif", "--append").stderr
    assert re.search(r"a\.tif: .*2002.*: computed again, as the file has been changed", said)
    composite("all.tif")
    assert_same("a.tif", "all.tif")


def test_scaled_scenes_change_the_type_of_all(home: Path) -> None:
    """A mean in float64 has other digits than one in float32."""
    write_scenes(range(2001, 2004))
    composite("a.tif", "--composite", "mean")
    write_scenes(range(2004, 2005), dtype="int16")
    with rasterio.open(home / "scenes" / "ndvi_2004-01-15.tif", "r+") as dataset:
        dataset.scales = (0.001,)
    said = composite("a.tif", "--append", "--composite", "mean").stderr
    assert "a.tif: 0 of 4 periods are kept, 4 computed" in said
    composite("all.tif", "--composite", "mean")
    assert_same("a.tif", "all.tif")


def test_other_options_are_refused(home: Path) -> None:
    write_scenes(range(2001, 2004))
    composite("a.tif", "--composite", "median", "--season", "03-01..10-31")
    content = (home / "a.tif").read_bytes()
    season = ("--season", "03-01..10-31")
    for options, words in (
        (("--composite", "max", *season), "was made with --composite 'median', now with --composite 'max'"),
        (("--composite", "median"), "was made with --season '03-01..10-31', now without --season"),
        (("--composite", "median", *season, "--min-count", "2"), "without --min-count, now with --min-count 2"),
        (("--composite", "median", *season, "--dtype", "float64"), "--dtype float32, now with --dtype float64"),
        (("--composite", "median", *season, "--region", "500100,3399500,500700,3399900"), "without --region, now with"),
        (
            ("--composite", "median", *season, "--bounds", "500100,3399500,500700,3399900"),
            "have another grid now: size",
        ),
    ):
        result = run("composite", "scenes", *options, "-o", "a.tif", "--append", "--quiet")
        assert result.exit_code == 1
        assert words in result.stderr
        assert "--overwrite" in result.stderr.splitlines()[-1]
    assert (home / "a.tif").read_bytes() == content


def test_a_grid_that_grows(home: Path) -> None:
    """The message gives an extent with which the update works."""
    write_scenes(range(2001, 2004))
    composite("a.tif", "--extent", "union")
    for month in MONTHS:
        values = random_series((1, 20, 36), seed=month)[0]
        write_raster(home / "scenes" / f"ndvi_2004-{month:02}-15.tif", values)
    result = run("composite", "scenes", "--extent", "union", "-o", "a.tif", "--append", "--quiet")
    assert result.exit_code == 1
    assert "a.tif: its composites have another grid now: size 36 x 20 instead of 30 x 20" in result.stderr
    given = re.search(r"--extent ([0-9.,]+)\)", result.stderr)
    assert given is not None
    assert "3 of 4 periods are kept" in composite("a.tif", "--extent", given[1], "--append").stderr
    composite("all.tif", "--extent", given[1])
    assert_same("a.tif", "all.tif")


def test_in_python(home: Path) -> None:
    write_scenes(range(2001, 2004))
    pw.write_layers(pw.open_stack("scenes").composite("median"), "a.tif")
    write_scenes(range(2004, 2005))
    stack = pw.open_stack("scenes").composite("median")
    pw.write_layers(stack, "a.tif", append=True)
    pw.write_layers(stack, "all.tif")
    assert_same("a.tif", "all.tif")
    with pytest.raises(pw.ParameterError, match="choose one of them"):
        pw.write_layers(stack, "a.tif", append=True, overwrite=True)
    with pytest.raises(pw.ParameterError, match="only composites are appended"):
        pw.write_layers(pw.open_stack("scenes"), "a.tif", append=True)


def test_other_outputs_are_refused(home: Path) -> None:
    write_scenes(range(2001, 2004))
    write_raster(home / "other.tif", np.zeros((20, 30), "float32"))
    pw.apply(pw.open_stack("scenes"), "ols", "map.tif")
    for output, words in (
        ("other.tif", "is not a pixelwise map, and only maps are replaced"),
        ("map.tif", "is a map of 'ols', to which no period can be appended"),
        ("{band}.tif", "periods are appended to one file that holds them all"),
    ):
        result = run("composite", "scenes", "-o", output, "--append", "--quiet")
        assert (result.exit_code, words in result.stderr) == (1, True), result.stderr
    result = run("composite", "scenes", "-o", "a.tif", "--append", "--overwrite")
    assert result.exit_code == 2
    assert "choose one of them" in result.stderr


def test_all_files_must_be_given(home: Path) -> None:
    write_scenes(range(2001, 2004))
    composite("a.tif")
    write_scenes(range(2004, 2006))
    result = run("composite", "scenes/*_200[45]*.tif", "-o", "a.tif", "--append", "--quiet")
    assert result.exit_code == 1
    assert "a.tif: was made from 18 files that are not among the inputs: scenes/ndvi_2001-01-15.tif" in result.stderr
    assert "give all files, old and new" in result.stderr


@pytest.mark.parametrize("late", [2001, 2003])
def test_workers_and_teams_read_the_same(home: Path, monkeypatch: pytest.MonkeyPatch, late: int) -> None:
    """A stack that is sent to a process, one whose files several threads divide, and a part of one."""
    write_scenes(range(2001, 2005))
    composite("a.tif")
    write_scenes(range(late, late + 1), months=(8,))
    stacks: list[AppendedStack] = []
    monkeypatch.setattr(appending, "run_layers", lambda stack, *_: stacks.append(stack) or Path("a.tif"))
    composite("a.tif", "--append")
    [stack] = stacks
    whole = stack.grid.block
    wanted = stack.plain.read(whole)
    assert isinstance(stack, AppendedStack)
    assert len(stack.rows) == 3
    assert stack.read(whole).tobytes() == wanted.tobytes()
    assert pickle.loads(pickle.dumps(stack)).read(whole).tobytes() == wanted.tobytes()
    for count in (1, 2, 5, 16):
        out = np.full(wanted.shape, -1, wanted.dtype)
        for reader in stack.readers(count, 8):
            reader.read_into(whole, [out])
            reader.close()
        assert out.tobytes() == wanted.tobytes()
    block = Block(3, 5, 7, 11)
    assert stack.crop(block).read(Block(0, 0, 7, 11)).tobytes() == wanted[:, 3:10, 5:16].tobytes()
    assert stack.select(start=2002).read(whole).tobytes() == wanted[1:].tobytes()
    assert stack.take([0, 2]).read(whole).tobytes() == wanted[[0, 2]].tobytes()
    assert stack.layout.stored_bytes_per_pixel < stack.plain.layout.stored_bytes_per_pixel + 4 * len(stack)


def test_a_stopped_update_resumes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=4096)
    tiled: dict[str, Any] = {"tiled": True, "blockxsize": 32, "blockysize": 32}

    def write_large(years: range) -> None:
        for year in years:
            for month, layer in zip((2, 6, 10), random_series((3, 80, 70), seed=year), strict=True):
                write_raster(home / "scenes" / f"ndvi_{year}-{month:02}-15.tif", layer, **tiled)

    write_large(range(2001, 2004))
    composite("a.tif")
    content = (home / "a.tif").read_bytes()
    write_large(range(2004, 2005))
    write, count = FileSink.write, iter(range(100))

    def stop(sink: FileSink, *args: Any) -> Any:
        if next(count) == 1:
            raise KeyboardInterrupt
        return write(sink, *args)

    with monkeypatch.context() as patch:
        patch.setattr(FileSink, "write", stop)
        result = run("composite", "scenes", "-o", "a.tif", "--append", "--quiet", "--executor", "inline")
        assert result.exit_code == 130
        assert "run the same job again to resume" in result.stderr
    assert (home / "a.tif").read_bytes() == content
    assert "resuming: " in composite("a.tif", "--append").stderr
    composite("all.tif")
    assert_same("a.tif", "all.tif")
    assert sorted(path.name for path in home.iterdir()) == ["a.tif", "all.tif", "scenes"]


def test_an_interrupted_update_leaves_the_old_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(range(2001, 2004))
    composite("a.tif")
    content = (home / "a.tif").read_bytes()
    write_scenes(range(2004, 2005))

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pixelwise.maps.files.FileSink.finish", stop)
        assert run("composite", "scenes", "-o", "a.tif", "--append", "--quiet").exit_code == 130
    assert (home / "a.tif").read_bytes() == content
    composite("a.tif", "--append")
    composite("all.tif")
    assert_same("a.tif", "all.tif")


def test_periods_of_other_versions_are_kept_with_a_warning(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(range(2001, 2004))
    older = {**appending.versions(), "gdal": "3.8.0"}
    with monkeypatch.context() as patch:
        patch.setattr("pixelwise.jobs.provenance.versions", lambda: older)
        composite("a.tif")
    for year in (2004, 2005):
        write_scenes(range(year, year + 1))
        said = composite("a.tif", "--append").stderr
        assert "warning: 2001, 2002, 2003: kept although made with gdal '3.8.0'" in said
        provenance = pw.open_map("a.tif").provenance
        assert provenance["kept"] == [{"periods": ["2001", "2002", "2003"], "versions": older}]
        assert any("kept although made with" in text for text in provenance["warnings"])


@pytest.mark.parametrize("damage", ["digests", "lost"])
def test_what_cannot_be_compared_is_computed_again(home: Path, damage: str) -> None:
    write_scenes(range(2001, 2004))
    composite("a.tif")
    map_ = pw.open_map("a.tif")
    provenance = dict(map_.provenance)
    if damage == "digests":
        provenance["input"] = {**provenance["input"], "composite": {**provenance["input"]["composite"], "digests": 3}}
    else:
        provenance["lost"] = {"pixels": 3, "files": 1, "worst": []}
    with rasterio.open(home / "a.tif", "r+") as dataset:
        dataset.update_tags(PIXELWISE=json.dumps(provenance))
    said = composite("a.tif", "--append").stderr
    assert "a.tif: all periods are computed again" in said
    composite("all.tif")
    assert_same("a.tif", "all.tif")


def test_a_function_makes_all_periods_again(home: Path) -> None:
    (home / "mine.py").write_text(
        "import pixelwise as pw\n\n@pw.per_pixel(bands=['top'], jit=False)\ndef top(y, t):\n    return max(y)\n"
    )
    write_scenes(range(2001, 2004))
    how = ("--composite", "mine.py:top", "--executor", "inline")
    composite("a.tif", *how)
    write_scenes(range(2004, 2005))
    assert "as a function of your own makes them" in composite("a.tif", *how, "--append").stderr
    assert pw.open_map("a.tif").names == ("2001", "2002", "2003", "2004")


@pytest.mark.parametrize("what", ["masks", "gains"])
def test_what_changes_the_values_of_a_scene_counts(home: Path, what: str) -> None:
    write_scenes(range(2001, 2005), masks=True)
    names = sorted(path.name for path in (home / "scenes").iterdir())

    def write_gains(gain: float) -> None:
        rows = (f"scenes/{name},{name[5:15]},b1,{gain if '2003-07' in name else 1.5},0.25" for name in names)
        (home / "gains.csv").write_text("\n".join(("path,date,band,gain,offset", *rows)) + "\n")

    write_gains(1.25)
    options = {
        "masks": ("--mask", "masks/*.tif", "--mask-drop", "1", "--min-count", "2"),
        "gains": ("--gains", "gains.csv"),
    }[what]
    composite("a.tif", *options)
    if what == "masks":
        write_raster(home / "masks" / "mask_2003-07-15.tif", np.ones((20, 30), np.uint8))
    else:
        write_gains(1.125)
    said = composite("a.tif", *options, "--append").stderr
    assert "3 of 4 periods are kept, 1 computed: 2003" in said
    composite("all.tif", *options)
    assert_same("a.tif", "all.tif")


def test_two_updates_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(range(2001, 2004))
    composite("a.tif")
    content = (home / "a.tif").read_bytes()
    write_scenes(range(2004, 2005))
    write, told = FileSink.write, []

    def write_while_another_starts(sink: FileSink, *args: Any) -> Any:
        if not told:
            told.append("")
            told[0] = run("composite", "scenes", "-o", "a.tif", "--append", "--quiet").stderr
            assert (home / "a.tif").read_bytes() == content
        return write(sink, *args)

    monkeypatch.setattr(FileSink, "write", write_while_another_starts)
    composite("a.tif", "--append", "--executor", "inline")
    assert "error: a.tif: another run is writing it" in told[0]
    composite("all.tif")
    assert_same("a.tif", "all.tif")
    assert sorted(path.name for path in home.iterdir()) == ["a.tif", "all.tif", "scenes"]
