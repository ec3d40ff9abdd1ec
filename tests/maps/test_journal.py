"""Jobs that are stopped go on where they stopped, and give the same map."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.grid import Block, Grid
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.jobs.provenance import describe, identify
from pixelwise.maps import journal as journal_module
from pixelwise.maps.journal import Journal, journal_of
from pixelwise.maps.records import DoneBlock, Layout, PlacedTiles, Seal
from support.limits import set_limits
from support.rasters import MakeStack, random_series
from support.stopping import Stop, stopped_after

GRID = Grid(None, Affine(30, 0, 0, 0, -30, 0), 100, 70)
KEY = {"method": "ols", "parameters": {"min_obs": 3}, "files": [{"path": "a.tif", "size": 5}]}


VRT = """<VRTDataset rasterXSize="130" rasterYSize="150"><SRS>EPSG:32617</SRS>
<GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform><VRTRasterBand dataType="Float32" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""


LAYOUT = Layout((16, 16), (100,))


def done(block: Block) -> DoneBlock:
    """Return a block whose place in the file tells which one it is."""
    return DoneBlock(block, (PlacedTiles(1000 * block.row + block.col, 7, np.ones((1, 2, 2), int)),))


def blocks_of(journal: Journal) -> list[Block]:
    """Take over all that an earlier run did, and begin."""
    journal.begin(LAYOUT)
    found = [done.block for done in journal.records()]
    for block in found:
        journal.confirm(block)
    return found


def make(output: Path, key: Any = KEY, **options: Any) -> Journal:
    return Journal(output, key, GRID, **options)


def fill(output: Path, blocks: list[Block]) -> None:
    journal = make(output)
    assert blocks_of(journal) == []
    for block in blocks:
        journal.add(done(block))
    journal.close(finished=False)


BLOCKS = list(GRID.blocks(32, 32))


def test_blocks_come_back(tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    fill(output, BLOCKS[:4])
    journal = make(output)
    assert journal.layout == LAYOUT
    journal.begin(LAYOUT)
    for found, expected in zip(journal.records(), BLOCKS[:4], strict=True):
        assert found.block == expected
        assert found.files[0].begin == 1000 * expected.row + expected.col
        assert found.files[0].checksum == 7
        journal.confirm(found.block)
    assert journal.pixels == sum(block.pixels for block in BLOCKS[:4])
    assert list(journal.remaining(BLOCKS)) == BLOCKS[4:]
    for block in BLOCKS[4:]:
        journal.add(done(block))
    assert journal.committed is None
    journal.commit([Seal(5, 6)])
    journal.close(finished=False)
    journal = make(output)
    assert journal.committed == [Seal(5, 6)]
    assert blocks_of(journal) == BLOCKS
    assert journal.pixels == GRID.height * GRID.width
    journal.close(finished=True)
    assert not journal_of(output).exists()


@given(done=st.sets(st.integers(0, 11)), height=st.integers(1, 7), width=st.integers(1, 5))
def test_another_plan_does_the_rest_once(
    tmp_path_factory: pytest.TempPathFactory, done: set[int], height: int, width: int
) -> None:
    output = tmp_path_factory.mktemp("journal") / "trend.tif"
    fill(output, [BLOCKS[index] for index in done])
    journal = make(output)
    count = np.zeros((GRID.height, GRID.width), int)
    for block in blocks_of(journal):
        count[block.slices] += 1
    for block in journal.remaining(GRID.blocks(16 * height, 16 * width)):
        count[block.slices] += 1
    assert (count == 1).all()
    journal.close(finished=False)


def test_a_line_cut_short_is_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output = tmp_path / "trend.tif"
    fill(output, BLOCKS[:3])
    path = journal_of(output)
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(1, last):
        path.write_bytes(whole[:-cut])
        journal = make(output)
        assert blocks_of(journal) == BLOCKS[:2]
        journal.add(done(BLOCKS[5]))
        journal.close(finished=False)
        journal = make(output)
        assert blocks_of(journal) == [BLOCKS[0], BLOCKS[1], BLOCKS[5]]
        journal.close(finished=False)
    # A killed run is no damage.
    assert not caplog.text


def test_a_kill_within_the_first_line_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """Seen by ``make torture``: the file was refused as foreign."""
    output = tmp_path / "trend.tif"
    make(output).close(finished=False)
    first = journal_module.IDENTIFICATION
    # Cut short, and zeros after a power failure, which must not follow the next line.
    for content in (*(first[:cut] for cut in range(len(first))), bytes(4096)):
        journal_of(output).write_bytes(content)
        journal = make(output)
        assert len(journal_of(output).read_bytes()) <= len(first)
        assert blocks_of(journal) == []
        journal.add(done(BLOCKS[5]))
        journal.close(finished=False)
        journal = make(output)
        assert blocks_of(journal) == [BLOCKS[5]]
        journal.close(finished=False)


def test_any_damaged_byte_costs_one_block(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output = tmp_path / "trend.tif"
    fill(output, BLOCKS[:3])
    path = journal_of(output)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    start = len(lines[0] + lines[1])
    for at in range(start, start + len(lines[2]) - 1):
        for flip in (0x41, 0x0A ^ whole[at]):  # also into a line feed
            damaged = bytearray(whole)
            damaged[at] ^= flip
            path.write_bytes(damaged)
            journal = make(output)
            assert blocks_of(journal) == [BLOCKS[0], BLOCKS[2]]
            assert BLOCKS[1] in list(journal.remaining(BLOCKS))
            journal.close(finished=False)
    assert "damaged line(s)" in caplog.text


def test_a_damaged_head_starts_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output = tmp_path / "trend.tif"
    for at in (0, 8, 9, 40):
        caplog.clear()
        fill(output, BLOCKS[:2])
        data = bytearray(journal_of(output).read_bytes())
        data[at] ^= 1
        journal_of(output).write_bytes(data)
        journal = make(output)
        assert journal.layout is None
        assert blocks_of(journal) == []
        assert "trend.tif.journal is damaged: everything is computed again" in caplog.text
        journal.close(finished=True)


def test_another_format_is_nothing_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "trend.tif"
    fill(output, BLOCKS[:2])
    monkeypatch.setattr(journal_module, "FORMAT", 99)
    journal = make(output)
    assert blocks_of(journal) == []
    assert "is from another version of pixelwise: everything is computed again" in caplog.text
    journal.close(finished=True)


def test_somebody_elses_file_is_not_dropped(tmp_path: Path) -> None:
    output, path = tmp_path / "trend.tif", journal_of(tmp_path / "trend.tif")
    path.write_text("my notes\nof years\n")
    with pytest.raises(pw.OutputError, match=r"\.trend\.tif\.journal beside it is not a pixelwise journal; remove it"):
        make(output)
    with pytest.raises(pw.OutputError, match="is not a pixelwise journal"):
        make(output, restart=True)
    assert path.read_text() == "my notes\nof years\n"
    for content in (b"deadbeef", b"deadbeef {", bytes(100) + b"notes"):
        path.write_bytes(content)
        with pytest.raises(pw.OutputError, match="is not a pixelwise journal"):
            make(output)
        assert path.read_bytes() == content
    path.write_bytes(bytes(1000))  # a power failure
    make(output).close(finished=False)
    assert not path.exists()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(pw.OutputError, match="beside it is a link, which is not followed; remove it"):
        make(output, restart=True)
    assert victim.read_text() == "precious"


def test_a_job_is_worth_a_journal_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its first blocks took: those of an empty corner take nothing."""
    clock = [100.0]
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: clock[0])
    output = tmp_path / "trend.tif"
    journal = make(output, after=5.0)
    assert blocks_of(journal) == []
    for block in BLOCKS[:3]:
        journal.add(done(block))
        clock[0] += 2.0
        assert not journal.worth_keeping
    journal.add(done(BLOCKS[3]))
    assert journal.worth_keeping
    journal.close(finished=False)
    journal = make(output, after=5.0)
    assert blocks_of(journal) == BLOCKS[:4]
    # One that goes on keeps all from its beginning.
    journal.add(done(BLOCKS[4]))
    journal.close(finished=False)
    journal = make(output)
    assert blocks_of(journal) == BLOCKS[:5]
    journal.close(finished=True)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ({**KEY, "method": "theil_sen"}, 'method was "ols", is "theil_sen"'),
        ({**KEY, "parameters": {"min_obs": 5}}, "parameters min_obs was 3, is 5"),
        ({**KEY, "files": [{"path": "a.tif", "size": 6}]}, r"files a\.tif size was 5, is 6"),
        ({**KEY, "files": []}, 'files had 1 entries, has 0: "a.tif"'),
    ],
)
def test_another_job_stops_and_says_what_differs(tmp_path: Path, key: Any, words: str) -> None:
    output = tmp_path / "trend.tif"
    fill(output, BLOCKS[:2])
    with pytest.raises(
        pw.OutputError, match=rf"trend\.tif: a different unfinished job left.*: {words}; --restart discards it"
    ):
        make(output, key)
    journal = make(output, key, restart=True)
    assert blocks_of(journal) == []
    journal.close(finished=False)


def test_a_journal_without_records_stands_in_nobodys_way(tmp_path: Path) -> None:
    """A killed job that was too short to keep anything leaves one."""
    output = tmp_path / "trend.tif"
    for options in ({}, {"key": {"method": "other"}}, {"refused": "no source"}):
        left = make(output)
        left.begin(LAYOUT)
        left._file.close()
        assert journal_of(output).exists()
        journal = make(output, **options)
        assert blocks_of(journal) == []
        journal.close(finished=False)
        assert not journal_of(output).exists()


def test_what_was_not_looked_at_is_kept(tmp_path: Path) -> None:
    """As where a run that would go on fails before it begins."""
    output = tmp_path / "trend.tif"
    fill(output, BLOCKS[:2])
    journal = make(output)
    assert journal.worth_keeping
    journal.close(finished=False)
    journal = make(output)
    assert blocks_of(journal) == BLOCKS[:2]
    journal.close(finished=True)


def test_what_cannot_be_compared_is_not_gone_on_with(tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    journal = make(output, refused="no source")
    journal.begin(LAYOUT)
    journal.add(done(BLOCKS[0]))
    journal.commit([])
    journal.close(finished=False)
    assert not journal_of(output).exists()
    fill(output, BLOCKS[:2])
    with pytest.raises(pw.OutputError, match="cannot resume it: no source; --restart"):
        make(output, refused="no source")


def test_a_second_run_refuses(tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    first = make(output)
    with pytest.raises(pw.OutputError, match="another run is writing it"):
        make(output)
    first.close(finished=False)
    make(output).close(finished=True)


def test_a_disk_that_cannot_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("pixelwise.maps.disk.lock", no_locks)
    with pytest.raises(pw.OutputError, match=r"cannot be locked \(No locks available\)"):
        make(tmp_path / "trend.tif")


class Full:
    """A file on a disk that is full after some bytes; `short` writes less than it is asked to before."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        if not self._room:
            raise OSError(28, "No space left on device")
        count = min(len(data), self._room, 1000)
        self._room -= count
        return int(self._file.write(data[:count]))


def test_a_full_disk_keeps_what_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    journal = make(output)
    assert blocks_of(journal) == []
    journal.add(done(BLOCKS[0]))
    size = journal.path.stat().st_size
    journal._file = Full(journal._file, 10)  # type: ignore[assignment]
    with pytest.raises(pw.ResourceError, match=r"No space left on device\); free some space"):
        journal.add(done(BLOCKS[1]))
    assert journal.path.stat().st_size == size
    journal.close(finished=False)
    journal = make(output)
    assert blocks_of(journal) == BLOCKS[:1]
    journal.close(finished=True)


def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module, "append", fail)
    with pytest.raises(pw.ResourceError, match=r"trend\.tif: its journal .* cannot be written \(No space left"):
        make(tmp_path / "trend.tif")
    assert not list(tmp_path.iterdir())


def test_a_journal_that_cannot_be_begun_or_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    journal = make(tmp_path / "trend.tif")
    assert blocks_of(journal) == []
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", fail)
        journal.close(finished=True)
    assert caplog.messages == [f"{journal.path} cannot be removed (Read-only file system)"]
    journal = make(tmp_path / "trend.tif")
    file = journal._file
    journal._file = type("File", (), {"truncate": fail, "close": fail, "fileno": file.fileno})()
    with pytest.raises(pw.OutputError, match=r"its journal \.trend\.tif\.journal cannot be written \(Read-only"):
        journal.begin(LAYOUT)
    journal.close(finished=True)
    file.close()


def test_a_journal_that_cannot_be_brought_to_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pixelwise.maps.disk.sync", fail)
    monkeypatch.setattr(journal_module, "SYNC_SECONDS", -1.0)
    journal = make(tmp_path / "trend.tif")
    assert blocks_of(journal) == []
    journal.add(done(BLOCKS[0]))
    while not journal._syncing.idle:
        time.sleep(0.01)
    with pytest.raises(pw.OutputError, match=r"its journal \.trend\.tif\.journal: cannot be flushed to disk \(Input"):
        journal.add(done(BLOCKS[1]))
    journal.close(finished=True)


# --- whole jobs ----------------------------------------------------------------------------------------------


@pytest.fixture
def stack(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> pw.RasterStack:
    """A stack of 6 dates; every job keeps a journal and has small blocks."""
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=4096)
    values = random_series((6, 150, 130), seed=4)
    return pw.open_stack(make_stack(values, tiled=True, blockxsize=32, blockysize=32))


@contextmanager
def stopping(count: int) -> Iterator[Any]:
    """Give a progress callback that fails after some blocks, and expect that it does."""
    with pytest.raises(Stop):
        yield stopped_after(count)


def bands(path: Path) -> dict[str, bytes]:
    found = pw.open_map(path)
    return {name: found[name].tobytes() for name in found.names}


@pytest.mark.parametrize(
    "again",
    [{}, {"jobs": 1}, {"executor": "inline"}, {"executor": "processes", "jobs": 2}, {"memory": "600MB", "jobs": 3}],
)
def test_a_stopped_job_goes_on(
    stack: pw.RasterStack, tmp_path: Path, again: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    whole = pw.apply(stack, "ols", tmp_path / "whole.tif")
    output = tmp_path / "trend.tif"
    with stopping(3) as progress:
        pw.apply(stack, "ols", output, jobs=2, progress=progress)
    assert not output.exists()
    assert sorted(p.name for p in tmp_path.glob(".*")) == [".trend.partial.tif", journal_of(output).name]
    calls: list[int] = []
    caplog.set_level("INFO")
    pw.apply(stack, "ols", output, **again, progress=lambda done, total: calls.append(done))
    assert "resuming: " in caplog.text
    assert len(set(calls)) == len(calls)
    assert calls[-1] == 150 * 130
    assert bands(output) == bands(whole.paths[0])
    assert not list(tmp_path.glob(".*"))


def test_short_jobs_keep_nothing(stack: pw.RasterStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, journal_seconds=1e9)
    with stopping(2) as progress:
        pw.apply(stack, "ols", tmp_path / "trend.tif", progress=progress)
    assert not list(tmp_path.glob(".*"))
    assert not list(tmp_path.glob("*.tif"))


def test_a_changed_input_stops_the_run(stack: pw.RasterStack, tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    with stopping(2) as progress:
        pw.apply(stack, "ols", output, progress=progress)
    path = stack.paths[2]
    os.utime(path, ns=(1, 1))
    again = pw.open_stack(path.parent)
    with pytest.raises(pw.OutputError, match=rf"{path.name} mtime_ns was"):
        pw.apply(again, "ols", output)
    with pytest.raises(pw.OutputError, match="bands"):
        pw.apply(again, "ols", output, bands=["slope"])
    pw.apply(again, "ols", output, restart=True)
    assert bands(output) == bands(pw.apply(again, "ols", tmp_path / "whole.tif").paths[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "vanished since"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), r"changed since its header was read: \d+ bytes then"),
        (lambda path: os.utime(path, ns=(1, 1)), ".*now 1970-01-01 00:00:00 UTC"),
    ],
)
@pytest.mark.parametrize("when", ["before", "during", "at the end"])
def test_files_that_change_stop_the_job(
    stack: pw.RasterStack, tmp_path: Path, change: Any, words: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, check_seconds=0.0 if when == "during" else 1e9)
    path, seen = stack.paths[3], []
    if when == "before":
        change(path)

    def progress(done: int, total: int) -> None:
        if (when == "at the end" and done == total) or (when == "during" and not seen):
            change(path)
        seen.append(done)

    with pytest.raises(pw.InputError, match=rf"{path.name}: {words}"):
        pw.apply(stack, "ols", tmp_path / "trend.tif", progress=progress, executor="inline")
    assert not (tmp_path / "trend.tif").exists()
    pixels = stack.grid.block.pixels
    assert (not seen) if when == "before" else (seen[-1] < pixels) == (when == "during")


@pytest.mark.parametrize("change", ["before", "during"])
def test_files_behind_a_vrt_count(stack: pw.RasterStack, tmp_path: Path, change: str) -> None:
    (tmp_path / "vrt").mkdir()
    for path in stack.paths:
        text = VRT.format(path=path)
        (tmp_path / "vrt" / f"{path.stem}.vrt").write_text(text)
    virtual = pw.open_stack(tmp_path / "vrt")
    assert set(virtual.stamps) == {*virtual.paths, *stack.paths}
    output = tmp_path / "trend.tif"
    if change == "before":
        with stopping(2) as progress:
            pw.apply(virtual, "ols", output, progress=progress)
        os.utime(stack.paths[1], ns=(1, 1))
        with pytest.raises(pw.OutputError, match=rf"{stack.paths[1].name} mtime_ns was"):
            pw.apply(pw.open_stack(tmp_path / "vrt"), "ols", output)
    else:
        with pytest.raises(pw.InputError, match=rf"{stack.paths[1].name}: changed since"):
            pw.apply(virtual, "ols", output, progress=lambda *_: os.utime(stack.paths[1], ns=(1, 1)))


def assert_seen_to_change(changed: Path, named: Any, found: pw.RasterStack, folder: Path) -> Path:
    """Stop a job, and change a file that is read for one of its inputs; return the output, which stays unfinished."""
    output = folder / "trend.tif"
    with stopping(2) as progress:
        pw.apply(found, "ols", output, progress=progress)
    os.utime(changed, ns=(1, 1))
    with pytest.raises(pw.OutputError, match=rf"{re.escape(changed.name)} mtime_ns was"):
        pw.apply(pw.open_stack(named), "ols", output)
    with pytest.raises(pw.InputError, match=rf"{re.escape(changed.name)}: changed since"):
        pw.apply(found, "ols", folder / "other.tif")
    return output


#: By driver: the file that is named, and others that are read for it.
BESIDE = {
    "RRASTER": ("grd", [".gri"]),
    "ENVI": ("dat", [".hdr"]),
    "HFA": ("img", [".ige"]),
    "EHdr": ("bil", [".hdr"]),
    "RST": ("rst", [".rdc", ".rst.aux.xml"]),
    "SAGA": ("sdat", [".sgrd"]),
    "ILWIS": ("mpr", [".mp#", ".grf"]),
}


@pytest.mark.parametrize(
    ("driver", "through_vrt"), [*((driver, False) for driver in BESIDE), ("RRASTER", True), ("HFA", True)]
)
def test_files_beside_a_header_count(driver: str, through_vrt: bool, tmp_path: Path, stack: pw.RasterStack) -> None:
    """The pixels of half of these formats lie in another file than the one that is named."""
    suffix, ends = BESIDE[driver]
    options = {"USE_SPILL": "YES"} if driver == "HFA" else {}
    (tmp_path / "raw").mkdir()
    for path in stack.paths:
        with rasterio.open(path) as dataset:
            profile = {**dataset.profile, "driver": driver, "dtype": "float32", **options}
            profile = {key: value for key, value in profile.items() if "block" not in key and key != "tiled"}
            values = dataset.read()
        with rasterio.open(tmp_path / "raw" / f"{path.stem}.{suffix}", "w", **profile) as dataset:
            dataset.write(values)
    sources = {f"{path.stem}": tmp_path / "raw" / f"{path.stem}.{suffix}" for path in stack.paths}
    named = list(sources.values())
    if through_vrt:
        named = [tmp_path / f"{stem}.vrt" for stem in sources]
        for path in named:
            path.write_text(VRT.format(path=sources[path.stem]))
        try:
            pw.open_stack(named)
        except pw.InputError as error:
            assert re.search("GDAL would read it as|not a GeoTIFF", str(error))  # noqa: PT017 - it is read, or refused
            return
    found = pw.open_stack(named)
    second = list(sources)[1]
    beside = [sources[second].with_name(second + end) for end in ends]
    # GDAL 3.12 writes no .rst.aux.xml.
    assert {path for path in beside if path.exists()} == {*beside} & {*found.stamps}
    assert beside[0] in found.stamps
    changed = sources[second].with_name(second + ends[0])
    assert_seen_to_change(changed, named, found, tmp_path)


@pytest.mark.parametrize(
    ("end", "through_vrt"),
    [
        (".tif.msk", False), (".tif.ovr", False), (".tif.aux.xml", False), (".TIF.AUX.XML", False), (".tfw", False),
        (".tif.msk", True),
    ],
)  # fmt: skip
def test_sidecars_count(end: str, through_vrt: bool, tmp_path: Path, stack: pw.RasterStack) -> None:
    source = stack.paths[1]
    sidecar = source.with_name(source.stem + end)
    if end == ".tif.msk":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(source, "r+") as dataset:
            dataset.write_mask(np.ones(dataset.shape, bool))
    elif end == ".tif.ovr":
        with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(source, "r+") as dataset:
            dataset.build_overviews([2])
    elif end == ".tfw":
        sidecar.write_text("30\n0\n0\n-30\n500015\n3399985\n")
    else:
        sidecar.write_text("<PAMDataset></PAMDataset>")
    assert sidecar.exists()
    named = list(stack.paths)
    if through_vrt:
        named = [path.with_name(f"{path.stem}.vrt") for path in named]
        for path, behind in zip(named, stack.paths, strict=True):
            path.write_text(VRT.format(path=behind))
    now = pw.open_stack(named)
    assert set(now.stamps) == {*named, *stack.paths, sidecar}
    output = assert_seen_to_change(sidecar, named, now, tmp_path)
    sidecar.unlink()
    with pytest.raises(pw.OutputError, match=rf"files had \d+ entries, has \d+: .*{re.escape(sidecar.name)}"):
        pw.apply(pw.open_stack(named), "ols", output)


@pytest.mark.parametrize(("end", "stops"), [(".tif.msk", True), (".tif.aux.xml", False)])
def test_a_mask_that_appears_stops_the_job(end: str, stops: bool, tmp_path: Path, stack: pw.RasterStack) -> None:
    """Other sidecars, such as statistics of a viewer, are read with the headers only."""
    sidecar = stack.paths[1].with_name(stack.paths[1].stem + end)

    def progress(*_: Any) -> None:
        sidecar.write_text("<PAMDataset></PAMDataset>")

    if not stops:
        assert pw.apply(stack, "ols", tmp_path / "trend.tif", progress=progress, executor="inline").paths[0].exists()
        return
    with pytest.raises(pw.InputError, match=rf"{re.escape(sidecar.name)}: appeared since"):
        pw.apply(stack, "ols", tmp_path / "trend.tif", progress=progress, executor="inline")


def test_files_that_are_no_sidecars_do_not_count(tmp_path: Path, stack: pw.RasterStack) -> None:
    path = stack.paths[1]
    for name in (f"{path.stem}.prj", f"{path.stem}_old.tif.msk", f"{path.stem}.hdr", f"{path.name}.txt"):
        path.with_name(name).write_text("notes")
    assert set(pw.open_stack(stack.paths).stamps) == set(stack.paths)


def test_what_numbers_mean_is_part_of_the_job(stack: pw.RasterStack) -> None:
    """A header may change while size and time stay, as where files are made by a program that sets the time."""

    def key(stack: pw.RasterStack) -> Any:
        bound = pw.methods.ols().bind(stack.axis, None, {})
        described = describe(stack, {}, pw.methods.ols(), bound.bands, OutputSpec(), folder=None)
        return identify(described, pw.methods.ols(), (stack,))

    layer = stack.layers[2]
    scaled = replace(layer, images=(replace(layer.images[0], bands=((replace(layer.pieces[0], scale=0.1),),)),))
    assert key(stack) == key(stack)
    assert key(stack) != key(replace(stack, layers=(*stack.layers[:2], scaled, *stack.layers[3:])))


def test_a_restart_drops_a_journal_at_once(
    stack: pw.RasterStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed later, it would leave one that says "complete" beside the first bytes of another map."""
    output, left = tmp_path / "trend.tif", {}

    def stop(*_: Any, **__: Any) -> None:
        # What a killed process leaves: nobody tidies up.
        left.update({path: path.read_bytes() for path in tmp_path.glob(".*")})
        raise Stop

    for function, options in (("maps.files.publish", {}), ("maps.journal.Journal.begin", {"restart": True})):
        with monkeypatch.context() as patched:
            patched.setattr(f"pixelwise.{function}", stop)
            with pytest.raises(Stop):
                pw.apply(stack, "ols", output, **options)
        for path, data in left.items():
            path.write_bytes(data)
    assert bands(pw.apply(stack, "ols", output).paths[0]) == bands(pw.apply(stack, "ols", tmp_path / "x.tif").paths[0])


def test_overwrite_never_drops_a_journal(stack: pw.RasterStack, tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    pw.apply(stack, "ols", output)
    before = output.read_bytes()
    with stopping(2) as progress:
        pw.apply(stack, "ols", output, overwrite=True, bands=["slope"], progress=progress)
    assert output.read_bytes() == before
    with pytest.raises(pw.OutputError, match="already exists"):
        pw.apply(stack, "ols", output, bands=["slope"])
    with pytest.raises(pw.OutputError, match="unfinished job"):
        pw.apply(stack, "ols", output, overwrite=True)
    pw.apply(stack, "ols", output, overwrite=True, bands=["slope"])
    assert pw.open_map(output).names == ("slope", "status")


def test_one_file_per_band_goes_on(stack: pw.RasterStack, tmp_path: Path) -> None:
    with stopping(2) as progress:
        pw.apply(stack, "ols", tmp_path / "{band}.tif", bands=["slope", "n"], progress=progress)
    assert not list(tmp_path.glob("[!.]*.tif"))
    pw.apply(stack, "ols", tmp_path / "{band}.tif", bands=["slope", "n"])
    whole = pw.apply(stack, "ols", bands=["slope", "n"])
    for name in ("slope", "n", "status"):
        assert pw.open_map(tmp_path / f"{name}.tif")[name].tobytes() == whole[name].tobytes()
    assert not list(tmp_path.glob(".*"))


JOB = """
import sys, time
import pixelwise as pw
from pixelwise.jobs import limits
limits.LIMITS = limits.Limits(window_bytes=4096, journal_seconds=0.0)
stack = pw.open_stack(sys.argv[1])
pw.apply(stack, "ols", sys.argv[2], jobs=2, progress=lambda done, total: (print(done, flush=True), time.sleep(0.05)))
"""


def test_a_killed_process_loses_nothing_that_was_done(stack: pw.RasterStack, tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    command = [sys.executable, "-c", JOB, str(stack.paths[0].parent), str(output)]
    seen = 0
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            # Never less than before: each run goes on.
            assert int(line) > seen
            seen = int(line)
            process.send_signal(signal.SIGKILL)
        assert not output.exists()
        assert journal_of(output).exists()
        assert (tmp_path / ".trend.partial.tif").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert bands(output) == bands(pw.apply(stack, "ols", tmp_path / "whole.tif").paths[0])
    assert not list(tmp_path.glob(".*"))


WORKERS = """
import sys
import pixelwise as pw
stack = pw.open_stack(sys.argv[1])
def pids(values):
    import os, time
    open(os.path.join(sys_argv_2, str(os.getpid())), "w").close()
    time.sleep(0.01)
    return 0.0
sys_argv_2 = sys.argv[2]
pw.apply(stack, pw.per_pixel(pids, jit=False), sys.argv[2] + "/map.tif", executor="processes", jobs=2)
"""


def test_a_killed_parent_leaves_no_worker(stack: pw.RasterStack, tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    command = [sys.executable, "-c", WORKERS, str(stack.paths[0].parent), str(folder)]
    with subprocess.Popen(command) as process:
        found: set[int] = set()
        while not found - {process.pid}:
            assert process.poll() is None
            time.sleep(0.05)
            found = {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}
        process.send_signal(signal.SIGKILL)
    workers = {int(path.name) for path in folder.iterdir() if path.name.isdecimal()} - {process.pid}
    end = time.monotonic() + 30
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlives its parent"
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"  # nobody may be there to collect it


# --- functions -----------------------------------------------------------------------------------------------


def load(tmp_path: Path, text: str, name: str = "spread") -> Any:
    from pixelwise.methods.functions.loading import load_function

    path = tmp_path / "mine.py"
    path.write_text(text)
    return load_function(f"{path}:{name}")


PLAIN = (
    "import numpy as np\nK = 2\ndef helper(v):\n    return v.max() * K\ndef spread(v, q=0.5):\n    return helper(v)\n"
)


def test_a_changed_function_does_not_go_on(stack: pw.RasterStack, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with stopping(2) as progress:
        pw.apply(stack, load(tmp_path, PLAIN), output, bands=["x"], executor="inline", progress=progress)
    with pytest.raises(pw.OutputError, match="parameters what it uses K of helper is different"):
        pw.apply(stack, load(tmp_path, PLAIN.replace("K = 2", "K = 3")), output, bands=["x"], executor="inline")
    with pytest.raises(pw.OutputError, match=r"parameters parameters q was 0\.5, is 0\.6"):
        pw.apply(stack, load(tmp_path, PLAIN.replace("q=0.5", "q=0.6")), output, bands=["x"], executor="inline")
    pw.apply(stack, load(tmp_path, PLAIN), output, bands=["x"], executor="inline")
    whole = pw.apply(stack, load(tmp_path, PLAIN), bands=["x"])
    assert pw.open_map(output)["x"].tobytes() == whole["x"].tobytes()


KEEPING = """
class C:
    def __init__(self, k):
        self.k = k
KEPT, c = {}, C(2)
def spread(v):
    return KEPT.setdefault(v.tobytes(), C(v.max() * c.k)).k
"""


def test_a_function_that_keeps_results_is_resumed_in_the_same_session(stack: pw.RasterStack, tmp_path: Path) -> None:
    output, function, options = tmp_path / "out.tif", load(tmp_path, KEEPING), {"bands": ["x"], "executor": "inline"}
    for _ in range(2):
        with stopping(2) as progress:
            pw.apply(stack, function, output, progress=progress, **options)
    assert function.__globals__["KEPT"]
    function.__globals__["c"].k = 3
    with pytest.raises(pw.OutputError, match=r"parameters what it uses (KEPT|c) of spread is different"):
        pw.apply(stack, function, output, **options)
    function.__globals__["c"].k = 2
    pw.apply(stack, function, output, **options)
    whole = pw.apply(stack, load(tmp_path, KEEPING), bands=["x"])
    assert pw.open_map(output)["x"].tobytes() == whole["x"].tobytes()


DOUBTFUL = "import numpy as np\ndef spread(v):\n    return eval('v.max()') * 2\n"


def test_a_job_that_cannot_be_compared_says_so_and_keeps_nothing(
    stack: pw.RasterStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out.tif"
    with stopping(2) as progress:
        pw.apply(stack, load(tmp_path, DOUBTFUL), output, bands=["x"], executor="inline", progress=progress)
    words = (
        "out.tif: if this job is stopped, it cannot be resumed: spread uses eval; whether that is the same in another "
        "run is unknown (--trust-function, trust_function=True, assumes that it is)"
    )
    assert caplog.text.count(words) == 1
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("job", ["short", "known", "trusted", "in memory"])
def test_other_jobs_do_not_say_so(
    stack: pw.RasterStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, job: str
) -> None:
    if job == "short":
        set_limits(monkeypatch, journal_seconds=1e9)
    function = load(tmp_path, PLAIN if job == "known" else DOUBTFUL)
    output = None if job == "in memory" else tmp_path / "out.tif"
    made = pw.apply(stack, function, output, bands=["x"], trust_function=job == "trusted")
    assert "resumed" not in caplog.text
    assert "warnings" not in made.provenance


def test_a_function_taken_on_trust_is_resumed(
    stack: pw.RasterStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output, options = tmp_path / "out.tif", {"bands": ["x"], "executor": "inline"}
    with stopping(2) as progress:
        pw.apply(stack, load(tmp_path, DOUBTFUL), output, progress=progress, trust_function=True, **options)
    words = r"left \.out\.tif\.journal, but this one cannot resume it: spread uses eval; whether.*--trust-function"
    with pytest.raises(pw.OutputError, match=rf"{words}.*; --restart discards it$"):
        pw.apply(stack, load(tmp_path, DOUBTFUL), output, **options)
    # What can be compared is compared all the same.
    changed = load(tmp_path, DOUBTFUL.replace("* 2", "* 3"))
    with pytest.raises(pw.OutputError, match="parameters source was"):
        pw.apply(stack, changed, output, trust_function=True, **options)
    caplog.clear()
    caplog.set_level("INFO")
    pw.apply(stack, load(tmp_path, DOUBTFUL), output, trust_function=True, **options)
    assert "resuming: " in caplog.text
    [warning] = pw.open_map(output).provenance["warnings"]
    assert warning.startswith("resumed on trust: spread uses eval; ")
    assert warning in caplog.text


@pytest.mark.long
def test_the_command_takes_a_function_on_trust(
    stack: pw.RasterStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.py").write_text(DOUBTFUL)
    folder, output = str(stack.paths[0].parent), tmp_path / "out.tif"
    for command in (
        ["apply", f"{tmp_path}/mine.py:spread", folder, "--bands", "x", "--executor", "inline", "-o", str(output)],
        ["composite", folder, "--composite", f"{tmp_path}/mine.py:spread", "-o", str(output)],
    ):
        for flag, resumable in ([], False), (["--trust-function"], True):
            caplog.clear()
            done = CliRunner().invoke(main, [*command, "--overwrite", *flag])
            assert done.exit_code == 0, done.output
            assert ("it cannot be resumed: spread uses eval" in caplog.text + done.output) != resumable


def test_a_plan_says_whether_a_job_can_be_resumed(
    stack: pw.RasterStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(DOUBTFUL + PLAIN.replace("spread", "other"))

    def said(name: str) -> bool:
        command = ["plan", str(stack.paths[0].parent), "--method", f"{tmp_path}/mine.py:{name}"]
        return f"if the job is interrupted, it cannot be resumed: {name} uses eval" in " ".join(
            CliRunner().invoke(main, command).output.split()
        )

    assert not said("spread")  # 117 000 values are done in no time
    monkeypatch.setattr("pixelwise.methods.functions.pixel.SMALL_JOB", 1000)
    assert said("spread")
    assert not said("other")


KILLED = """
import sys, time
import pixelwise as pw
from pixelwise.jobs import limits
limits.LIMITS = limits.Limits(window_bytes=4096, journal_seconds=0.0)
def progress(done, total):
    print(done, flush=True)
    time.sleep(0.05)
stack = pw.open_stack(sys.argv[1])
try:
    pw.apply(stack, "mine.py:f", "out.tif", bands=["x"], executor=sys.argv[2], jobs=2, progress=progress)
except pw.OutputError as error:
    print(error)
"""
BENEATH = {
    "a helper of a method": (
        "threads",
        {"mine.py": "from beside import M\ndef f(v):\n    return M().run(v)\n"},
        "beside.py",
        "h = lambda v: v.max() - 0\nclass B:\n    def run(self, v):\n        return h(v)\nclass M(B):\n    pass\n",
        "parameters what it uses code of <lambda> is different",
    ),
    "a package beside": (
        "processes",
        {"mine.py": "def f(v):\n    import theirs\n    return theirs.h(v)\n", "site-packages/theirs.py": "h = max\n"},
        "site-packages/theirs-1.0.dist-info/METADATA",
        "Name: theirs\nVersion: 1.0\n\n",
        r'parameters packages theirs was "1\.0", is "1\.1"',
    ),
}


@pytest.mark.parametrize(("executor", "files", "name", "text", "words"), BENEATH.values(), ids=BENEATH)
@pytest.mark.long
def test_a_killed_job_is_resumed_only_with_the_same_function(
    stack: pw.RasterStack, tmp_path: Path, executor: str, files: dict[str, str], name: str, text: str, words: str
) -> None:
    for path, content in {**files, name: text}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    path_list = os.pathsep.join([str(tmp_path / "site-packages"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path_list, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", KILLED, str(stack.paths[0].parent), executor]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline().strip().isdecimal()
        process.send_signal(signal.SIGKILL)

    def again() -> list[str]:
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return run.stdout.splitlines()

    (tmp_path / name).write_text(text.replace("- 0", "- 1").replace("1.0", "1.1"))
    [line] = again()
    assert re.search(rf"^out\.tif: a different unfinished job left .*: {words}; --restart discards it$", line)
    (tmp_path / name).write_text(text)
    blocks = again()
    assert blocks[-1] == str(150 * 130)
    assert int(blocks[0]) > 3 * 1024, "it began anew"
