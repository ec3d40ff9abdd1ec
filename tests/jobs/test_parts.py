"""Maps in parts: any parts, in any order, joined to the bytes of one job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.errors import ParameterError
from pixelwise.grid import Grid
from pixelwise.jobs.parts import Part, array_expression, make_up, share_of
from pixelwise.maps.tag import decode_provenance, encode_provenance
from pixelwise.stacks.base import Layout
from support import slurm
from support.command_line import run
from support.rasters import random_series, write_raster


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    block=st.tuples(st.sampled_from([1, 16, 100, 256, 3000]), st.sampled_from([16, 256, 3000])),
    count=st.integers(1, 60),
)
def test_parts_make_up_the_map(height: int, width: int, block: tuple[int, int], count: int) -> None:
    grid, layout = Grid(None, Affine(30, 0, 0, 0, -30, 0), height, width), Layout(*block)
    try:
        shares = [share_of(grid, layout, Part(index, count)) for index in range(1, count + 1)]
    except ParameterError:
        assert -(-height // 16) * -(-width // 16) < count
        return
    assert make_up(shares, (height, width))
    assert len(shares) == 1 or not make_up(shares[1:], (height, width))
    assert not make_up([*shares, shares[0]], (height, width))
    seen = np.zeros((height, width), dtype=np.uint8)
    for share in shares:
        seen[share.slices] += 1
        assert share.row % 16 == share.col % 16 == 0
    assert (seen == 1).all()


def test_parts_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, layout = Grid(None, Affine(30, 0, 0, 0, -30, 0), 20_000, 20_000), Layout(512, 512)
    before = [share_of(grid, layout, Part(index, 7)) for index in range(1, 8)]
    monkeypatch.setattr("pixelwise.jobs.plan.allowed_memory", lambda: 1 << 30)
    assert [share_of(grid, layout, Part(index, 7)) for index in range(1, 8)] == before
    assert all(share.row % 512 == 0 for share in before)
    assert max(share.pixels for share in before) < 1.4 * min(share.pixels for share in before)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "a/b", "1", "1/2/3", "-1/3", "1/10000000"])
def test_odd_parts_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="expected I/N"):
        Part.parse(text)


@pytest.mark.parametrize(
    ("numbers", "text"), [({3}, "3"), ({3, 17, 18, 19}, "3,17-19"), ({1, 2}, "1-2"), ({5, 1, 3}, "1,3,5")]
)
def test_missing_parts_are_written_as_queues_write_arrays(numbers: set[int], text: str) -> None:
    assert array_expression(numbers) == text


def assert_same(found: pw.Map, wanted: pw.Map) -> None:
    assert found.names == wanted.names
    for name in wanted.names:
        assert found[name].tobytes() == wanted[name].tobytes(), name
        assert found[name].dtype == wanted[name].dtype
    assert [band.description for band in found.bands] == [band.description for band in wanted.bands]
    differing = {"timings"}
    assert {k: v for k, v in found.provenance.items() if k not in differing} == {
        k: v for k, v in wanted.provenance.items() if k not in differing
    }


def compute(order: Any, count: int, *words: Any) -> None:
    for index in order:
        found = run("apply", *words, "--quiet", "--part", f"{index}/{count}")
        assert found.exit_code == 0, found.output


@pytest.mark.parametrize("name", ["trend.tif", "trend.zarr", "trend.nc", "trend_{band}.tif"])
def test_every_format_in_any_order(stack: pw.RasterStack, out: Path, name: str) -> None:
    """Two are missing at first, which `join` names."""
    files = [*map(str, stack.paths), "--write", "fitted"]
    fit = "fit.zarr" if name.endswith(".zarr") else "fit.tif"
    words = ["ols", *files, out / fit, "-o", out / name]
    compute((4, 1, 5), 5, *words)
    missing = run("join", out / name)
    assert missing.exit_code == 1
    assert f"error: {out / name}: 2 of 5 parts are missing: 2-3; compute them with --part" in missing.stderr
    compute((3, 4, 2), 5, *words)
    joined = run("join", out / name)
    assert joined.exit_code == 0, joined.output
    assert not list(out.glob("*.parts"))
    (out / "inline").mkdir()
    words = [out / "inline" / word.name if isinstance(word, Path) else word for word in words]
    assert run("apply", *words, "--executor", "inline", "--quiet").exit_code == 0
    found, wanted = pw.open_map(out / name), pw.open_map(out / "inline" / name)
    one, other = pw.open_stack(out / fit), pw.open_stack(out / "inline" / fit)
    assert one.names == other.names == stack.names
    assert one.read(one.grid.block).tobytes() == other.read(other.grid.block).tobytes()
    assert one.layout.unit == other.layout.unit
    for band in wanted.names:
        assert found[band].tobytes() == wanted[band].tobytes()
    assert found.bands == wanted.bands
    assert found.grid == wanted.grid
    verified = run("verify", out / name, *stack.paths)
    assert verified.exit_code == 0, verified.output


def test_the_tags_are_those_of_one_job(stack: pw.RasterStack, out: Path) -> None:
    compute((2, 1), 2, "ols", *stack.paths, "-o", out / "trend.tif")
    assert run("join", out / "trend.tif").exit_code == 0
    found = pw.open_map(out / "trend.tif")
    (out / "trend.tif").unlink()
    assert_same(found, pw.apply(pw.open_stack(list(stack.paths)), "ols", out / "trend.tif"))


def test_neighbours_in_other_parts_count(stack: pw.RasterStack, out: Path) -> None:
    """The halo of a part is read beyond its edge."""
    words = ("contextual_mann_kendall", *stack.paths, "--region", "500000,3396000,503500,3400000")
    compute(range(1, 7), 6, *words, "-o", out / "parts.tif")
    assert run("join", out / "parts.tif").exit_code == 0
    assert run("apply", *words, "-o", out / "one.tif", "--quiet").exit_code == 0
    one, other = pw.open_map(out / "parts.tif"), pw.open_map(out / "one.tif")
    for name in other.names:
        assert one[name].tobytes() == other[name].tobytes(), name


def test_a_part_that_is_done_is_not_done_again(stack: pw.RasterStack, out: Path) -> None:
    words = ("ols", *stack.paths, "-o", out / "trend.tif")
    compute((1,), 3, *words)
    part = out / "trend.tif.parts" / "part-1-of-3.tif"
    before = part.stat()
    found = run("apply", *words, "--part", "1/3")
    assert "part 1/3 is done already" in found.stderr
    assert part.stat() == before
    for other, words_ in {
        "parameters": ("ols", *stack.paths, "-p", "min_obs=4"),
        "part count was 3, is 4": ("ols", *stack.paths),
        "dtype was": ("ols", *stack.paths, "--dtype", "float64"),
        "part form": ("ols", *stack.paths, "--driver", "COG"),
    }.items():
        count = 4 if "count" in other else 3
        refused = run("apply", *words_, "-o", out / "trend.tif", "--part", f"2/{count}")
        assert refused.exit_code == 1
        assert f"{part}: belongs to another job: {other}" in refused.stderr, refused.stderr
        assert f"remove {part.parent}" in refused.stderr


def test_a_part_that_is_stopped_resumes(stack: pw.RasterStack, tmp_path: Path, out: Path) -> None:
    wanted = pw.apply(stack, "ols", executor="inline")
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.joining import join_parts
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.methods.lookup import resolve_method
    from pixelwise.run import run_job

    method, _ = resolve_method("ols", None)
    output = out / "trend.tif"
    with pytest.raises(KeyboardInterrupt):
        run_job(stack, method, output, {}, OutputSpec(), Execution("inline", progress=stop, part=Part(1, 2)))
    assert (out / "trend.tif.parts" / ".part-1-of-2.tif.journal").exists()
    first: list[int] = []
    note = Execution("inline", progress=lambda done, total: first.append(done), part=Part(1, 2))
    run_job(stack, method, output, {}, OutputSpec(), note)
    assert first[0] > 3 * 1000
    run_job(stack, method, output, {}, OutputSpec(), Execution("inline", part=Part(2, 2)))
    found = join_parts(output, Execution())
    for name in wanted.names:
        assert found[name].tobytes() == wanted[name].tobytes(), name


def test_what_cannot_be_computed_in_parts(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    for words, told in (
        (
            ("-o", out / "a.tif", "--part", "1/9999"),
            "part 1/9999: a map of 130 x 150 pixels (width x height) has 90 parts at most",
        ),
        (("-o", out / "a.tif", "--part", "x"), "part 'x': expected I/N, such as 3/10 for the third of ten"),
        (
            ("-o", out / "a.tif", "--part", "1/2", "--write", "fitted", tmp_path / "fit.tif"),
            "with parts, fitted are written beside the map: choose a name in its folder",
        ),
    ):
        found = run("apply", "ols", *stack.paths, *words)
        assert found.exit_code == 1
        assert told in found.stderr, found.stderr
    assert f"error: {out / 'a.tif'}.parts: holds no finished part; compute" in run("join", out / "a.tif").stderr
    (tmp_path / "odd.py").write_text("import random\ndef odd(y):\n    return y[0] + eval('0')\n")
    found = run("apply", f"{tmp_path}/odd.py:odd", *stack.paths, "-o", out / "a.tif", "--part", "1/2")
    assert found.exit_code == 1
    assert "part 1/2: " in found.stderr
    assert "--trust-function" in found.stderr


@pytest.mark.parametrize("given", ["1/2", (1, 2), [1, 2]])
def test_parts_in_python(stack: pw.RasterStack, out: Path, given: Any) -> None:
    assert pw.apply(stack, "ols", out / "trend.tif", part=given).grid.height < stack.grid.height
    for odd in ((1,), 3, (1.0, 2), (True, 2), (1, 2, 3), (3, 2)):
        with pytest.raises(pw.ParameterError, match=r"^part .*expected"):
            pw.apply(stack, "ols", out / "trend.tif", part=odd)  # type: ignore[arg-type]
    pw.apply(stack, "ols", out / "trend.tif", part=(2, 2))
    assert_same(pw.join(out / "trend.tif"), pw.apply(stack, "ols", out / "trend.tif", overwrite=True))


def test_layers_of_equal_dates_and_of_other_calendars(tmp_path: Path, out: Path) -> None:
    """The dates of layers are told by the parts, not by the names of bands."""
    for name in ("a_2000-01-01.tif", "b_2000-01-01.tif", "c_2001-01-01.tif", "d_2002-01-01.tif"):
        write_raster(tmp_path / "twice" / name, random_series((1, 40, 50), seed=len(name))[0])
    words = [
        "ols",
        tmp_path / "twice",
        "--same-date",
        "keep",
        "--write",
        "residuals",
        out / "r.tif",
        "-o",
        out / "t.tif",
    ]
    compute((1, 2), 2, *words)
    assert run("join", out / "t.tif").exit_code == 0
    with rasterio.open(out / "r.tif") as dataset:
        assert dataset.descriptions[:2] == ("2000-01-01", "2000-01-01")


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_layers_keep_their_calendar(tmp_path: Path, out: Path, calendar: str) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    times = xarray.date_range("2000-01-30", periods=36, freq="30D", calendar=calendar, use_cftime=True)
    values = random_series((36, 40, 50), seed=2)
    array = xarray.DataArray(
        values, dims=("time", "y", "x"), coords={"time": times, "y": -np.arange(40.0), "x": np.arange(50.0)}
    )
    array.to_dataset(name="v").to_netcdf(tmp_path / "v.nc")
    for name, parts in (("one", ()), ("two", (1, 2))):
        (out / name).mkdir()
        words = ["ols", tmp_path / "v.nc", "--write", "residuals", out / name / "r.nc", "-o", out / name / "t.nc"]
        if parts:
            compute(parts, 2, *words)
            assert run("join", out / name / "t.nc").exit_code == 0
        else:
            assert run("apply", *words, "--quiet").exit_code == 0
    with xarray.open_dataset(out / "one" / "r.nc") as one, xarray.open_dataset(out / "two" / "r.nc") as two:
        assert one.time.encoding["calendar"] == two.time.encoding["calendar"] == calendar
        assert (one.time == two.time).all()


def test_a_part_whose_layers_are_gone_is_computed_again(stack: pw.RasterStack, out: Path) -> None:
    words = ("ols", *stack.paths, "--write", "fitted", out / "fit.tif", "-o", out / "t.tif")
    compute((1, 2), 2, *words)
    (out / "t.tif.parts" / "part-2-of-2.fitted.tif").unlink()
    assert run("join", out / "t.tif").exit_code == 1
    compute((2,), 2, *words)
    assert run("join", out / "t.tif").exit_code == 0
    assert pw.open_stack(out / "fit.tif").names == stack.names


@pytest.mark.parametrize("name", ["t.tif", "t_{band}.tif"])
def test_a_join_that_was_stopped_while_it_removed_parts_ends(stack: pw.RasterStack, out: Path, name: str) -> None:
    words = ("ols", *stack.paths, "-o", out / name)
    compute((1, 2, 3), 3, *words)
    folder = next(out.glob("*.parts"))
    shutil.copytree(folder, out / "kept")
    assert run("join", out / name).exit_code == 0
    (out / "kept").rename(folder)
    (folder / "part-1-of-3.tif").unlink()
    found = run("join", out / name)
    assert found.exit_code == 0, found.output
    assert "the map was already complete" in found.stderr
    assert not folder.exists()
    # And a part of a map that is there is refused, whatever its form.
    refused = run("apply", *words, "--part", "1/3")
    assert refused.exit_code == 1
    assert "already exists; --overwrite replaces it" in refused.stderr
    assert not folder.exists()


def test_what_an_interrupted_job_left_can_be_discarded(stack: pw.RasterStack, out: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, "ols", out / "t.tif", executor="inline", progress=stop)
    compute((1, 2), 2, "ols", *stack.paths, "-o", out / "t.tif")
    found = run("join", out / "t.tif")
    assert found.exit_code == 1
    assert "--restart discards it" in found.stderr
    assert run("join", out / "t.tif", "--restart").exit_code == 0


def test_parts_with_other_tags_are_refused(stack: pw.RasterStack, out: Path) -> None:
    """Tags are data from anywhere: nothing that they say leads elsewhere, or to a bug."""
    compute((1, 2), 2, "ols", *stack.paths, "-o", out / "trend.tif")
    folder = out / "trend.tif.parts"
    kept = out / "kept"
    shutil.copytree(folder, kept)
    (folder / "part-2-of-2.tif").write_bytes((folder / "part-1-of-2.tif").read_bytes())
    assert "1 of 2 parts are missing: 2;" in run("join", out / "trend.tif").stderr
    for old, new in (
        ('"block":[0,', '"block":[5,'), ('"index":1', '"index":9'), ('"count":2', '"count":0'),
        ('"index":1', '"index":1.0'), ('"driver":"GTiff"', '"driver":["GTiff"]'), ('"part":{', '"part":7,"x":{'),
        ('"zarr_format":3', '"zarr_format":9'), ('"size":[150,130]', '"size":[15,13]'),
        ('"size":[150,', '"size":7,"x":['), ('"size":[150,130]', '"size":[1000000000,1000000000]'),
        ('"form":{', '"form":7,"x":{'), ('"dtype":"float32"', '"dtype":"int8"'), ('"dtype":"float32"', '"y":1'),
        ('"part":{', '"warnings":[7],"part":{'), ('"part":{', '"lost":{"pixels":"x"},"part":{'),
        ('"part":{', '"lost":{"pixels":1,"files":1,"worst":[7]},"part":{'), ('"part":{', '"write":7,"part":{'),
        ('"part":{', '"write":{"x/../../y":"a.tif"},"part":{'), ('"part":{', '"write":{"fitted":"../a.tif"},"part":{'),
        ('"part":{', '"part":{"axis":{"dates":["x"],"years":[1],"precision":"day","calendar":"standard"},'),
        ('"part":{', '"part":{"axis":{"dates":["2000-01-01"],"years":[1],"precision":"day","calendar":7},'),
    ):  # fmt: skip
        changed = 0
        for path in kept.iterdir():
            shutil.copy(path, folder)
            with rasterio.open(folder / path.name, "r+") as dataset:
                tag = dataset.tags()["PIXELWISE"]
                if old in (text := plain(tag)):
                    dataset.update_tags(PIXELWISE=encode_provenance(json.loads(text.replace(old, new))))
                    changed += 1
        assert changed, old
        found = run("join", out / "trend.tif")
        assert found.exit_code == 1, (new, found.output)
        assert found.stderr.startswith("error: ")
        assert found.stderr.count("\n") == 1
        assert not (out / "trend.tif").exists()


def plain(tag: str) -> str:
    """Return the text of a tag."""
    return json.dumps(decode_provenance(tag), separators=(",", ":"))


@pytest.mark.long
def test_a_job_array_of_slurm(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    if why := slurm.missing():
        pytest.skip(why)
    wanted = pw.apply(stack, "ols", executor="inline")
    folder, output = stack.paths[0].parent, out / "trend.tif"
    part = "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
    command = f"{sys.executable} -m pixelwise apply ols {folder} -o {output} --part {part}"
    with slurm.slurm(tmp_path / "slurm") as environment:
        subprocess.run(
            ["sbatch", "--wait", "--array=1-4", f"--output={tmp_path}/%a.log", "--wrap", command],
            env={**os.environ, **environment}, check=True, timeout=120, capture_output=True,
        )  # fmt: skip
    assert run("join", output).exit_code == 0
    found = pw.open_map(output)
    for name in wanted.names:
        assert found[name].tobytes() == wanted[name].tobytes(), name
