"""Maps as GeoTIFF: tiles put together behind a head, whole sets of files, and what an earlier run left."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.bands import Band
from pixelwise.errors import OutputError
from pixelwise.grid import Block, Grid
from pixelwise.maps.files import FileSink
from pixelwise.maps.tiles import TiledFile, TileEncoder, checksum
from support.limits import set_limits
from support.stopping import Stop, hidden, stopped_after, visible

UTM = CRS.from_epsg(32617)


def grid_of(height: int, width: int) -> Grid:
    return Grid(UTM, Affine(30, 0, 500000, 0, -30, 3400000), height, width)


def write_file(path: Path, tiled: TiledFile, values: Any, tags: dict[str, str], first: int | None = None) -> None:
    """Write (band, y, x) values as one block, its tiles from byte `first` on."""
    encode = TileEncoder(tiled.tile, tiled.compress, tiled.dtype)
    tiles = encode(Block(0, 0, *values.shape[1:]), values[:-1], values[-1])
    nothing = np.zeros(tiled.tiles, np.int64)
    begin = len(tiled.head(tags, nothing, nothing)) if first is None else first
    ends = begin + np.cumsum(tiles.counts).reshape(tiles.counts.shape)
    with path.open("wb") as file:
        file.write(tiled.head(tags, ends - tiles.counts, tiles.counts))
        file.seek(begin)
        file.write(tiles.data)


@pytest.mark.parametrize("compress", ["zstd", "deflate", "lzw", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (33, 47), (300, 270)])
def test_gdal_reads_what_was_put_together(tmp_path: Path, compress: Any, dtype: str, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(100, 50, (3, *shape)).astype(dtype)
    bands = tuple(Band(name, f"about {name}", "m/year", integer=name == "c") for name in "abc")
    tiled = TiledFile(grid_of(*shape), bands, dtype, np.nan if "float" in dtype else None, (32, 16), compress)
    write_file(tmp_path / "x.tif", tiled, values, {"PIXELWISE": "yes"})
    with rasterio.open(tmp_path / "x.tif") as found:
        np.testing.assert_array_equal(found.read(), values)
        assert (found.crs, found.transform) == (UTM, grid_of(*shape).transform)
        assert found.descriptions == ("a", "b", "c")
        assert found.units == ("m/year",) * 3
        assert found.tags()["PIXELWISE"] == "yes"
        assert found.tags(3)["INTEGER"] == "YES"
        assert found.block_shapes == [(32, 16)] * 3
        assert found.profile["interleave"] == "band"
        assert found.profile.get("compress", "none") == compress
        assert (found.nodata is None) == ("float" not in dtype)


def test_tiles_behind_four_gibibytes(tmp_path: Path) -> None:
    """A raster of 90 GB uncompressed is BigTIFF; of its tiles, two are written, far away in a file with a hole."""
    tiled = TiledFile(grid_of(60000, 60000), (Band("a"), Band("status")), "float32", np.nan, (256, 256), "zstd")
    values = np.random.default_rng(0).normal(size=(2, 256, 256)).astype(np.float32)
    encode = TileEncoder((256, 256), "zstd", "float32")
    tiles = encode(Block(25600, 51200, 256, 256), values[:1], values[1])
    offsets, counts = np.zeros((2, *tiled.tiles), np.int64)
    where = np.s_[:, 100:101, 200:201]
    counts[where] = tiles.counts
    offsets[where] = (5 << 30) + np.cumsum(tiles.counts).reshape(tiles.counts.shape) - tiles.counts
    with (tmp_path / "big.tif").open("wb") as file:
        file.write(tiled.head({}, offsets, counts))
        file.seek(5 << 30)
        file.write(tiles.data)
    with rasterio.open(tmp_path / "big.tif") as found:
        window = rasterio.windows.Window(200 * 256, 100 * 256, 256, 256)
        np.testing.assert_array_equal(found.read(window=window), values)


def test_padded_tiles_count_towards_bigtiff(tmp_path: Path) -> None:
    """One row of 256: the raster has 1.1 GB, its tiles have 18 times as much."""
    tiled = TiledFile(grid_of(1, 30_000_000), (Band("a"),) * 9, "float32", np.nan, (16, 256), "none")
    nothing = np.zeros(tiled.tiles, np.int64)
    offsets = nothing.copy()
    offsets[-1, -1, -1] = 5 << 30
    assert tiled.head({}, offsets, nothing)[:4] == b"II\x2b\0"


@pytest.mark.parametrize("order", ["BIG", "INVERTED"])
def test_the_environment_of_gdal_changes_nothing(stack: pw.RasterStack, out: Path, order: str) -> None:
    with rasterio.Env(GDAL_TIFF_ENDIANNESS=order, GDAL_NUM_THREADS="2"):
        assert_same(pw.apply(stack, "ols", out / "trend.tif"), pw.apply(stack, "ols"))


# --- what an earlier run left --------------------------------------------------------------------------------


def stop_after(stack: pw.RasterStack, output: Path, count: int, **options: Any) -> None:
    with pytest.raises(Stop):
        pw.apply(stack, "ols", output, progress=stopped_after(count), jobs=1, **options)


def assert_same(map_: pw.Map, wanted: pw.Map) -> None:
    for name in wanted.names:
        assert map_[name].tobytes() == wanted[name].tobytes(), name


def test_damaged_tiles_are_computed_again(stack: pw.RasterStack, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = pw.apply(stack, "ols")
    partial = out / ".trend.partial.tif"
    random = np.random.default_rng(1)
    for kind in ("byte", "cut", "gone", "empty"):
        caplog.clear()
        stop_after(stack, out / "trend.tif", 6)
        data = bytearray(partial.read_bytes())
        if kind == "byte":
            data[random.integers(70_000, len(data))] ^= 1
        partial.write_bytes({"cut": data[:-1], "empty": b""}.get(kind, bytes(data)))
        if kind == "gone":
            partial.unlink()
        assert_same(pw.apply(stack, "ols", out / "trend.tif"), wanted)
        expected = "6 damaged" if kind in ("gone", "empty") else "1 damaged"
        assert f"{expected} block(s) of the unfinished map" in caplog.text
        (out / "trend.tif").unlink()
        assert not hidden(out)


def test_a_head_that_is_damaged_or_half_written_does_not_matter(stack: pw.RasterStack, out: Path) -> None:
    stop_after(stack, out / "trend.tif", 6)
    with (out / ".trend.partial.tif").open("r+b") as file:
        file.write(b"\xff" * 5000)
    assert_same(pw.apply(stack, "ols", out / "trend.tif"), pw.apply(stack, "ols"))


@pytest.mark.parametrize("length", [1, 24, 40, 47, 48, 49])
def test_a_kill_within_the_first_bytes_leaves_nothing_in_the_way(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Of the second file, whose mark is 49 bytes; seen by ``make torture``."""
    wanted = pw.apply(stack, "ols", bands=["slope", "pvalue"])
    monkeypatch.chdir(out)
    mark = b'half-written by pixelwise for "trend_{band}.tif"\n'
    assert len(mark) == 49
    (out / ".trend_pvalue.partial.tif").write_bytes(mark[:length])
    assert_same(pw.apply(stack, "ols", "trend_{band}.tif", bands=["slope", "pvalue"]), wanted)
    assert not hidden(out)


def test_what_only_resembles_our_mark_stays(stack: pw.RasterStack, out: Path) -> None:
    for content in (b"half-written by pixel art", b'half-written by pixelwise for "' + b"x" * 30_000):
        (out / ".trend.partial.tif").write_bytes(content)
        with pytest.raises(OutputError, match=r"\.trend\.partial\.tif beside it is not a half-written pixelwise map"):
            pw.apply(stack, "ols", out / "trend.tif")
        assert (out / ".trend.partial.tif").read_bytes() == content


def test_the_output_keeps_its_tiles(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan of smaller blocks than the tiles of what was begun takes larger ones, or says what it needs."""
    wanted = pw.apply(stack, "ols")
    set_limits(monkeypatch, window_bytes=4 * 150 * 130 // 2)
    stop_after(stack, out / "trend.tif", 1)
    set_limits(monkeypatch, window_bytes=64)
    assert_same(pw.apply(stack, "ols", out / "trend.tif"), wanted)
    with rasterio.open(out / "trend.tif") as found:
        assert found.block_shapes[0][0] > 16


def test_another_compression_is_another_job(stack: pw.RasterStack, out: Path) -> None:
    stop_after(stack, out / "trend.tif", 2, compress="lzw")
    with pytest.raises(OutputError, match='compress was "lzw", is "deflate"'):
        pw.apply(stack, "ols", out / "trend.tif", compress="deflate")


def test_an_error_before_the_first_block_drops_nothing(stack: pw.RasterStack, out: Path) -> None:
    stop_after(stack, out / "trend.tif", 3)
    before = (out / ".trend.partial.tif").read_bytes()
    with pytest.raises(pw.ParameterError, match=r"memory 977 KiB is too little.*has tiles of \d+ x \d+; --restart"):
        pw.apply(stack, "ols", out / "trend.tif", memory="1MB")
    assert (out / ".trend.partial.tif").read_bytes() == before
    assert_same(pw.apply(stack, "ols", out / "trend.tif"), pw.apply(stack, "ols"))


def test_two_outputs_that_share_a_file(stack: pw.RasterStack, out: Path) -> None:
    """`trend_{band}.tif` and `trend_slope.tif` have other journals, but not two writers at once."""
    messages = []

    def progress(done: int, total: int) -> None:
        if not messages:
            with pytest.raises(OutputError) as raised:
                pw.apply(stack, "ols", out / "trend_slope.tif")
            messages.append(str(raised.value))

    pw.apply(stack, "ols", out / "trend_{band}.tif", progress=progress)
    assert "another run is writing it (it holds .trend_slope.partial.tif)" in messages[0]
    assert not hidden(out)


# --- all or none ---------------------------------------------------------------------------------------------

SELECTED = ["slope", "pvalue", "n"]


def failing_replace(monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException) -> None:
    """Let the rename number `count` of half-written files fail; what a killed process does not do fails after it."""
    calls: list[Path] = []
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if isinstance(error, Stop) and len(calls) >= count:
            raise OSError(5, "killed")
        if ".partial.tif" in self.name and not target.name.startswith("."):
            calls.append(self)
            if len(calls) == count:
                raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_file_per_band_is_all_or_none(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, before: bool, links: bool, count: int
) -> None:
    output = out / "trend_{band}.tif"
    if before:
        pw.apply(stack, "ols", output, bands=SELECTED, dtype="float64")
    if not links:
        monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(95, "Not supported")))
    old = visible(out)
    with monkeypatch.context() as patched:
        failing_replace(patched, count, OSError(5, "Input/output error"))
        with pytest.raises(OutputError, match=r"cannot be renamed to its final name \(Input/output error\)"):
            pw.apply(stack, "ols", output, bands=SELECTED, overwrite=before)
    assert visible(out) == old
    calls: list[int] = []
    done = pw.apply(stack, "ols", output, bands=SELECTED, overwrite=before, progress=lambda *x: calls.append(1))
    assert not calls, "nothing was left to compute"
    assert_same(done, pw.apply(stack, "ols", bands=SELECTED))
    assert not hidden(out)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("count", [2, 4])
def test_a_run_killed_between_two_names_ends_with_the_same_set(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, before: bool, count: int
) -> None:
    output = out / "trend_{band}.tif"
    if before:
        pw.apply(stack, "ols", output, bands=SELECTED, dtype="float64")
    with monkeypatch.context() as patched:
        # What a killed process leaves: nothing is put back.
        failing_replace(patched, count, Stop())
        with pytest.raises(Stop):
            pw.apply(stack, "ols", output, bands=SELECTED, overwrite=before)
    names = [path.name for path in out.glob("[!.]*")]
    assert len(names) == (4 if before else count - 1)
    if before:
        with pytest.raises(pw.InputError, match=r"trend_\w+\.tif: is from a different job than trend_\w+\.tif"):
            pw.open_map(output)
    done = pw.apply(stack, "ols", output, bands=SELECTED, overwrite=before)
    assert_same(done, pw.apply(stack, "ols", bands=SELECTED))
    assert not hidden(out)


def test_a_complete_file_that_changed_is_not_given_its_name(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        failing_replace(patched, 1, Stop())
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.tif")
    partial = out / ".trend.partial.tif"
    data = bytearray(partial.read_bytes())
    data[60_000] ^= 1
    partial.write_bytes(data)
    with pytest.raises(OutputError, match="was complete, but is gone or changed; --restart computes it again"):
        pw.apply(stack, "ols", out / "trend.tif")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("short", [False, True])
def test_stopped_between_two_names_all_is_put_back(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, count: int, short: bool
) -> None:
    output = out / "trend_{band}.tif"
    pw.apply(stack, "ols", output, bands=SELECTED, dtype="float64")
    old = visible(out)
    if short:
        set_limits(monkeypatch, journal_seconds=1e9)
    with monkeypatch.context() as patched:
        failing_replace(patched, count, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            pw.apply(stack, "ols", output, bands=SELECTED, overwrite=True)
    assert visible(out) == old
    calls: list[int] = []
    done = pw.apply(stack, "ols", output, bands=SELECTED, overwrite=True, progress=lambda *_: calls.append(1))
    assert not calls, "nothing was left to compute"
    assert_same(done, pw.apply(stack, "ols", bands=SELECTED))
    assert not hidden(out)


def test_a_name_that_is_taken_meanwhile_is_not_replaced(stack: pw.RasterStack, out: Path) -> None:
    path = out / "trend.tif"

    def progress(done: int, total: int) -> None:
        path.write_text("somebody else's")

    with pytest.raises(OutputError, match=r"trend\.tif: now exists; --overwrite replaces it with the map"):
        pw.apply(stack, "ols", path, progress=progress)
    with pytest.raises(OutputError, match="now exists"):
        pw.apply(stack, "ols", path)
    assert path.read_text() == "somebody else's"
    path.unlink()
    assert_same(pw.apply(stack, "ols", path), pw.apply(stack, "ols"))


def test_another_map_under_the_name_is_not_taken_for_this_one(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.maps.files.open_map", lambda path: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.tif")
    pw.apply(stack.select(end=2003), "ols", out / "other.tif")
    (out / "other.tif").replace(out / "trend.tif")
    with pytest.raises(OutputError, match="was complete, but is gone or changed; --restart computes it again"):
        pw.apply(stack, "ols", out / "trend.tif")


def test_a_long_name_is_given(stack: pw.RasterStack, out: Path) -> None:
    path = out / f"{'x' * 221}.tif"
    pw.apply(stack, "ols", path)
    assert [path.name for path in out.iterdir()] == [path.name]


@pytest.mark.parametrize("length", [235, 240, 247, 251])
def test_a_name_too_long_is_told_before_anything_is_computed(stack: pw.RasterStack, out: Path, length: int) -> None:
    calls: list[int] = []
    with pytest.raises(OutputError, match="choose a shorter one"):
        pw.apply(stack, "ols", out / f"{'x' * (length - 4)}.tif", progress=lambda *_: calls.append(1))
    assert not calls
    assert not list(out.iterdir())


def test_a_folder_that_knows_no_sync(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", refuse)
    pw.apply(stack, "ols", out / "trend.tif")
    assert [path.name for path in out.iterdir()] == ["trend.tif"]


def test_a_run_killed_after_the_name_was_given_ends_there(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.maps.files.open_map", lambda path: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.tif")
    written = (out / "trend.tif").read_bytes()
    assert hidden(out) == [".trend.tif.journal"]
    pw.apply(stack, "ols", out / "trend.tif")
    assert (out / "trend.tif").read_bytes() == written
    assert not hidden(out)


def test_files_that_are_complete_but_gone(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        failing_replace(patched, 1, Stop())
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.tif")
    (out / ".trend.partial.tif").unlink()
    with pytest.raises(OutputError, match=r"trend\.tif: was complete, but is gone or changed; --restart"):
        pw.apply(stack, "ols", out / "trend.tif")
    pw.apply(stack, "ols", out / "trend.tif", restart=True)


def test_a_sink_alone_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"its name must end in \.tif"):
        FileSink(tmp_path / "trend.png")


def test_checksums_are_the_same_whatever_computes_them() -> None:
    """Journals of earlier versions may have those of zlib."""
    data = np.random.default_rng(0).bytes(10_001)
    assert checksum()(data) == zlib.crc32(data)
