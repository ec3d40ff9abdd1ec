"""Maps as Zarr stores: written by workers, resumed, published by two renames, and read by others."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - the accessor `rio`
import xarray as xr
import zarr
from affine import Affine
from click.testing import CliRunner
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.maps import shards
from pixelwise.maps.shards import Chunking, ShardEncoder, StoredArray, crc32c
from pixelwise.opening.scene_counts import _read_made
from pixelwise.verify import verify
from support.stopping import Stop, hidden, stopped_after
from support.tampered import encode

UTM = CRS.from_epsg(32617)


def content(folder: Path) -> dict[str, bytes]:
    """Return all files in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_checksum_of_an_index() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


@pytest.mark.parametrize("size", [1, 15, 16, 150, 256, 257, 3000, 10007])
@pytest.mark.parametrize("shard", [16, 48, 208, 272, 592, 4096])
@pytest.mark.parametrize("layers", [1, 30, 1000])
def test_shards_are_whole_chunks(size: int, shard: int, layers: int) -> None:
    for sharded in (True, False):
        cut = Chunking.of((size, size), (shard, shard), layers, sharded=sharded)
        (piece, _), (chunk, _) = cut.piece, cut.chunk
        assert chunk % 16 == piece % chunk == 0
        assert chunk <= 1024
        if shard < size:
            assert shard % piece == 0, "blocks must consist of whole files"
        elif sharded:
            assert piece >= size, "a block that is the whole raster is one file"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("compress", ["zstd", "deflate", "none"])
@pytest.mark.parametrize("shape", [(1, 1), (33, 47), (300, 270)])
def test_zarr_reads_what_was_put_together(
    tmp_path: Path, shape: tuple[int, int], compress: str, zarr_format: int
) -> None:
    """In blocks of one shard, and of several, as of a job that goes on with larger blocks."""
    values = np.random.default_rng(0).normal(100, 50, (4, *shape))
    codecs = {"zstd": zarr.codecs.ZstdCodec(level=1), "deflate": zarr.codecs.GzipCodec(level=1), "none": None}
    if zarr_format == 2:
        import numcodecs

        codecs = {"zstd": numcodecs.Zstd(level=1), "deflate": numcodecs.GZip(level=1), "none": None}
    for block_shape, folder in (((64, 96), "shards"), ((128, 192), "more")):
        root = tmp_path / folder
        arrays = []
        for name, dtype, layers in (("a", "float32", None), ("b", "float64", 2), ("status", "uint8", None)):
            cut = Chunking.of(shape, (64, 96), 2, sharded=zarr_format == 3)
            fill = 255 if dtype == "uint8" else np.nan
            arrays.append(StoredArray(name, dtype, fill, shape, layers, cut))
            head = () if layers is None else (layers,)
            zarr.create_array(
                root / name, shape=(*head, *shape), chunks=(*head, *cut.chunk), dtype=dtype, fill_value=fill,
                shards=(*head, *cut.piece) if zarr_format == 3 else None, compressors=codecs[compress],
                zarr_format=zarr_format,
            )  # fmt: skip
        encode = ShardEncoder(str(root), "a", "x.zarr", tuple(arrays), compress, zarr_format)
        for row in range(0, shape[0], block_shape[0]):
            for col in range(0, shape[1], block_shape[1]):
                block = Block(row, col, min(block_shape[0], shape[0] - row), min(block_shape[1], shape[1] - col))
                pixels = values[:, *block.slices]
                encode(block, pixels[:3], np.abs(pixels[3]))
        np.testing.assert_array_equal(zarr.open_array(root / "a")[:], values[0].astype("f4"))
        np.testing.assert_array_equal(zarr.open_array(root / "b")[:], values[1:3])
        np.testing.assert_array_equal(zarr.open_array(root / "status")[:], np.abs(values[3]).astype("u1"))
    assert content(tmp_path / "shards") == content(tmp_path / "more")


def test_a_shard_is_as_zarr_python_writes_it(tmp_path: Path) -> None:
    """Byte by byte where there is one order of chunks."""
    values = np.random.default_rng(0).normal(size=(1, 64, 256)).astype("f4")
    array = StoredArray("a", "float32", np.nan, (64, 256), None, Chunking((64, 256), (64, 64)))
    own = ShardEncoder(str(tmp_path), "a", "x.zarr", (array,), "zstd").encode(array, values)
    theirs = zarr.create_array(
        tmp_path / "a", shape=(64, 256), chunks=(64, 64), shards=(64, 256), dtype="f4", fill_value=np.nan,
        compressors=zarr.codecs.ZstdCodec(level=1),
    )  # fmt: skip
    theirs[:] = values[0]
    assert (tmp_path / "a/c/0/0").read_bytes() == own


@pytest.fixture
def whole(stack: pw.RasterStack, tmp_path: Path) -> pw.Map:
    """Return the map as GeoTIFF."""
    return pw.apply(stack, "ols", tmp_path / "whole.tif")


def same(found: pw.Map, wanted: pw.Map) -> None:
    assert found.bands == wanted.bands
    assert found.grid == wanted.grid
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype
        np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.parametrize("options", [{}, {"zarr_format": 2}, {"compress": "deflate"}, {"dtype": "float64"}])
def test_a_store_is_the_map(
    stack: pw.RasterStack, whole: pw.Map, out: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    made = pw.apply(stack, "ols", out / "trend.zarr", **options)
    assert hidden(out) == []
    if "dtype" in options:
        whole = pw.apply(stack, "ols", dtype="float64")
    same(made, whole)
    same(pw.open_map(out / "trend.zarr"), whole)
    assert made.provenance["method"] == "ols"
    assert made.timings.total > 0
    assert verify(out / "trend.zarr", tmp_path / "stack", pixels=200).differing == 0


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rioxarray
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_opens_a_store(stack: pw.RasterStack, whole: pw.Map, out: Path, zarr_format: int) -> None:
    pw.apply(stack, "ols", out / "trend.zarr", zarr_format=zarr_format, bands=["slope", "n"])
    with xr.open_zarr(out / "trend.zarr", consolidated=True) as found:
        assert set(found.data_vars) == {"slope", "n", "status"}
        assert (found.n.dtype, found.status.dtype, found.slope.dtype) == ("int32", "uint8", "float32")
        assert found.rio.crs == UTM
        assert found.rio.transform() == whole.grid.transform
        np.testing.assert_array_equal(found.x[:2], [500015, 500045])
        np.testing.assert_array_equal(found.y[:2], [3399985, 3399955])
        np.testing.assert_array_equal(found.slope.values, whole["slope"])
        assert found.slope.attrs["units"] == "year-1"
        assert "flag_meanings" in found.status.attrs
        assert json.loads(found.attrs["PIXELWISE"])["method"] == "ols"
        assert found.attrs["spatial:transform"] == list(whole.grid.transform)[:6]
    if zarr_format == 3:
        group = zarr.open_group(out / "trend.zarr", mode="r", use_consolidated=True)
        assert group["slope"].shards is not None


def test_gdal_reads_version_2(stack: pw.RasterStack, whole: pw.Map, out: Path) -> None:
    """GDAL 3.10 knows no shards: `--zarr-format 2` is for it."""
    pw.apply(stack, "ols", out / "trend.zarr", zarr_format=2)
    for name in ("slope", "n", "status"):
        with rasterio.open(f'ZARR:"{out}/trend.zarr":/{name}') as found:
            np.testing.assert_array_equal(found.read(1), whole[name])
            assert (found.crs, found.transform) == (UTM, whole.grid.transform)


def test_processes_and_a_relative_name(
    stack: pw.RasterStack, whole: pw.Map, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(out)
    same(pw.apply(stack, "ols", "trend.zarr", executor="processes", jobs=2), whole)


def test_a_worker_that_does_not_see_the_folder(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another machine: it must not write to its own disk."""
    elsewhere = str(out / "elsewhere")
    monkeypatch.setattr("pixelwise.maps.zarr_store.os.path.abspath", lambda path: elsewhere)
    with pytest.raises(OutputError, match=r"a worker does not see .*elsewhere; choose an output on a disk that all"):
        pw.apply(stack, "ols", out / "trend.zarr", executor="inline")
    assert not any(out.iterdir())


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_stopped_job_goes_on(
    stack: pw.RasterStack, whole: pw.Map, out: Path, executor: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", executor="inline", jobs=1, progress=stopped_after(5))
    assert hidden(out) == [".trend.partial.zarr", ".trend.zarr.journal"]
    assert not (out / "trend.zarr").exists()
    done: list[int] = []
    with caplog.at_level(logging.INFO):
        made = pw.apply(
            stack, "ols", out / "trend.zarr", executor=executor, progress=lambda d, _: done.append(d), memory="2GB"
        )
    assert "resuming:" in caplog.text
    assert done[0] > 5 * 32 * 32
    same(made, whole)
    assert hidden(out) == []


@pytest.mark.parametrize("harm", ["changed", "cut", "gone", "linked"])
def test_a_damaged_file_is_written_again(
    stack: pw.RasterStack, whole: pw.Map, out: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", executor="inline", progress=stopped_after(5))
    path = sorted((out / ".trend.partial.zarr/slope").rglob("c/*/*"))[2]
    data = path.read_bytes()
    path.unlink()
    if harm == "linked":
        (out / "same").write_bytes(data)
        path.symlink_to(out / "same")
    elif harm != "gone":
        path.write_bytes(data[:-1] if harm == "cut" else bytes([data[0] ^ 1]) + data[1:])
    same(pw.apply(stack, "ols", out / "trend.zarr"), whole)
    if harm == "linked":  # the link is replaced, and what it leads to is left alone
        assert (out / "same").read_bytes() == data
    assert "1 damaged block(s) of the unfinished map are computed again" in caplog.text


def test_a_worker_of_a_run_that_was_stopped_changes_nothing(
    stack: pw.RasterStack, whole: pw.Map, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask ends no task that runs: it writes its block when another run has begun, under the same name."""
    late: list[Any] = []
    call = ShardEncoder.__call__

    def remember(self: ShardEncoder, block: Any, layers: Any, last: Any) -> Any:
        late.append((self, block, layers + 1, last))
        return call(self, block, layers, last)

    with monkeypatch.context() as patch:
        patch.setattr(ShardEncoder, "__call__", remember)
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.zarr", executor="inline", progress=stopped_after(5))

    def write_late(done: int, total: int) -> None:
        for encoder, *block in late:
            call(encoder, *block)

    same(pw.apply(stack, "ols", out / "trend.zarr", restart=True, progress=write_late), whole)
    assert not [path for path in (out / "trend.zarr").rglob("*") if len(path.suffix) > 30]


def test_the_shards_of_the_first_run_stay(stack: pw.RasterStack, whole: pw.Map, out: Path) -> None:
    """Another plan's blocks are whole shards of what was begun: two writers of one shard would lose pixels."""
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", executor="inline", jobs=1, progress=stopped_after(2))
    first = (out / ".trend.zarr.journal").read_bytes().split(b"\n")[0]
    shard = json.loads(first.partition(b" ")[2])["layout"]["shard"]
    same(pw.apply(stack, "ols", out / "trend.zarr", jobs=4), whole)
    found = zarr.open_group(out / "trend.zarr", mode="r")["slope"]
    assert found.shards == tuple(min(-(-size // 16) * 16, edge) for size, edge in zip((150, 130), shard, strict=True))


def test_what_is_asked_for_in_another_form_is_another_job(stack: pw.RasterStack, out: Path) -> None:
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", executor="inline", progress=stopped_after(2))
    with pytest.raises(OutputError, match="zarr_format was 3, is 2; --restart discards it"):
        pw.apply(stack, "ols", out / "trend.zarr", zarr_format=2)
    pw.apply(stack, "ols", out / "trend.zarr", zarr_format=2, restart=True)
    assert not list((out / "trend.zarr").rglob("zarr.json"))


def test_a_store_is_replaced_when_the_new_one_is_complete(stack: pw.RasterStack, whole: pw.Map, out: Path) -> None:
    pw.apply(stack, "ols", out / "trend.zarr", min_valid=1.0)
    before = content(out / "trend.zarr")
    with pytest.raises(OutputError, match="already exists; --overwrite"):
        pw.apply(stack, "ols", out / "trend.zarr")
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", overwrite=True, executor="inline", progress=stopped_after(3))
    assert content(out / "trend.zarr") == before
    same(pw.apply(stack, "ols", out / "trend.zarr", overwrite=True), whole)
    assert hidden(out) == []


def test_a_kill_between_two_renames_loses_nothing(
    stack: pw.RasterStack, whole: pw.Map, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pw.apply(stack, "ols", out / "trend.zarr", min_valid=1.0)
    before = content(out / "trend.zarr")
    with monkeypatch.context() as patched:
        # A killed process undoes nothing.
        patched.setattr("pixelwise.maps.files.publish", lambda *_, **__: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.zarr", overwrite=True)
    (out / "trend.zarr").rename(out / ".trend.partial.replaced.zarr")
    cleaned = CliRunner().invoke(main, ["clean", str(out)])
    assert "kept, since it is the old trend.zarr, which an interrupted job was replacing" in cleaned.stderr
    assert content(out / ".trend.partial.replaced.zarr") == before
    # The journal is a leftover like any other, and a complete map remains.
    assert hidden(out) == [".trend.partial.replaced.zarr", ".trend.partial.zarr"]


def test_a_job_killed_before_its_names_is_ended(
    stack: pw.RasterStack, whole: pw.Map, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pw.apply(stack, "ols", out / "trend.zarr", min_valid=1.0)
    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.maps.files.publish", lambda *_, **__: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.zarr", overwrite=True)
    (out / "trend.zarr").rename(out / ".trend.partial.replaced.zarr")
    with caplog.at_level(logging.INFO):
        same(pw.apply(stack, "ols", out / "trend.zarr", overwrite=True), whole)
    assert "the map was already complete and only gets its final name" in caplog.text
    assert hidden(out) == []


@pytest.mark.parametrize("journal", [True, False])
def test_a_restart_keeps_the_old_store_of_a_killed_swap(
    journal: bool,
    stack: pw.RasterStack,
    whole: pw.Map,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A kill between the two renames leaves the old map under its hidden name alone."""
    pw.apply(stack, "ols", out / "trend.zarr", min_valid=1.0)
    before = content(out / "trend.zarr")
    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.maps.files.publish", lambda *_, **__: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            pw.apply(stack, "ols", out / "trend.zarr", overwrite=True)
    (out / "trend.zarr").rename(out / ".trend.partial.replaced.zarr")
    kept = (out / ".trend.zarr.journal").read_bytes()
    if not journal:
        (out / ".trend.zarr.journal").unlink()
    with pytest.raises(OutputError, match=r"trend\.zarr: already exists; --overwrite replaces it"):
        pw.apply(stack, "ols", out / "trend.zarr", min_valid=0.5, restart=True)
    assert "trend.zarr was restored: a job that was replacing it was killed" in caplog.text
    assert content(out / "trend.zarr") == before
    if not journal:
        assert not (out / ".trend.zarr.journal").exists()
        return
    # The refusal discarded nothing: the job that was killed can still be ended.
    assert (out / ".trend.zarr.journal").read_bytes() == kept
    same(pw.apply(stack, "ols", out / "trend.zarr", overwrite=True), whole)
    assert hidden(out) == []


def test_a_failed_rename_puts_the_old_store_back(
    stack: pw.RasterStack, whole: pw.Map, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pw.apply(stack, "ols", out / "trend.zarr", min_valid=1.0)
    before, replace = content(out / "trend.zarr"), Path.replace

    def refused(self: Path, target: Path) -> Path:
        if self.name == ".trend.partial.zarr":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refused)
        with pytest.raises(OutputError, match="cannot be renamed to its final name"):
            pw.apply(stack, "ols", out / "trend.zarr", overwrite=True)
    assert content(out / "trend.zarr") == before
    assert hidden(out) == [".trend.partial.zarr", ".trend.zarr.journal"]
    same(pw.apply(stack, "ols", out / "trend.zarr", overwrite=True), whole)


def prepare(kind: str, out: Path, stack: pw.RasterStack) -> None:
    target = out / "trend.zarr"
    if kind == "a file":
        target.write_bytes(b"notes")
    elif kind == "a link":
        (out / "there").mkdir()
        target.symlink_to("there")
    elif kind == "a folder":
        target.mkdir()
        (target / "notes").write_bytes(b"notes")
    elif kind == "a foreign store":
        zarr.create_group(target).create_array("a", data=np.zeros(3))
    elif kind == "a half-written store":
        zarr.create_group(target).create_array("slope", shape=(5, 5), dtype="f4")
        (target / "zarr.json").unlink()
    elif kind == "a foreign hidden folder":
        (out / ".trend.partial.zarr").mkdir()
        (out / ".trend.partial.zarr/notes").write_bytes(b"notes")
    elif kind == "a hidden file":
        (out / ".trend.partial.zarr").write_bytes(b"notes")
    elif kind == "a hidden link":
        (out / "there").mkdir()
        (out / ".trend.partial.zarr").symlink_to("there")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a file", "trend.zarr: is a file, but a Zarr store is a folder; choose another output"),
        ("a link", "trend.zarr: is a link, but a Zarr store is a folder; choose another output"),
        ("a folder", "trend.zarr: is not a pixelwise map, and only maps are replaced; choose another name"),
        ("a foreign store", "trend.zarr: is not a pixelwise map, and only maps are replaced"),
        ("a half-written store", "trend.zarr: is not a pixelwise map, and only maps are replaced"),
        (
            "a foreign hidden folder",
            r"\.trend\.partial\.zarr beside it is not a half-written pixelwise map",
        ),
        ("a hidden file", r"\.trend\.partial\.zarr beside it is a file; remove it, or choose another output"),
        ("a hidden link", r"\.trend\.partial\.zarr beside it is a link; remove it, or choose another output"),
    ],
)
def test_what_is_not_ours_stays(kind: str, words: str, stack: pw.RasterStack, out: Path) -> None:
    prepare(kind, out, stack)
    before = content(out)
    with pytest.raises(OutputError, match=words):
        pw.apply(stack, "ols", out / "trend.zarr", overwrite=True)
    assert content(out) == before
    assert ".trend.zarr.journal" not in hidden(out)


def test_names_and_forms_that_cannot_be(stack: pw.RasterStack, out: Path) -> None:
    for options, error, words in (
        ({"output": out / "trend_{band}.zarr"}, OutputError, "one Zarr output holds all bands"),
        ({"output": out / ".trend.partial.zarr"}, OutputError, "is a name reserved for half-written maps"),
        ({"output": out / "t.zarr", "compress": "lzw"}, ParameterError, "Zarr has no LZW; expected zstd, deflate or"),
        ({"output": out / "t.zarr", "zarr_format": 4}, ParameterError, "zarr_format='4' is not one of 2, 3"),
        ({"output": out / "t.png"}, OutputError, "its name must end in .tif"),
    ):
        with pytest.raises(error, match=words):
            pw.apply(stack, "ols", **options)  # type: ignore[arg-type]
    assert not any(out.iterdir())


def test_an_output_is_apart_from_the_input(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    store = pw.write_layers(stack, out / "layers.zarr")
    layers = pw.open_stack(store)
    with pytest.raises(OutputError, match=r"layers.zarr: is one of the inputs; choose another output"):
        pw.apply(layers, "ols", store, overwrite=True)
    with pytest.raises(OutputError, match=r"trend.zarr: is inside .*layers.zarr, which is one of the inputs"):
        pw.apply(layers, "ols", store / "trend.zarr")
    with pytest.raises(OutputError, match=r"trend.tif: is inside .*layers.zarr, which is one of the inputs"):
        pw.apply(layers, "ols", store / "trend.tif")
    # Files in a store that would be replaced.
    shutil.copytree(tmp_path / "stack", store / "images")
    with pytest.raises(OutputError, match=r"layers.zarr: contains .*ndvi_2000.tif, which is one of the inputs"):
        pw.apply(pw.open_stack(store / "images"), "ols", store, overwrite=True)


def test_clean_removes_what_a_stopped_job_left(stack: pw.RasterStack, out: Path) -> None:
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", executor="inline", progress=stopped_after(3))
    (out / ".notes.partial.zarr").mkdir()
    (out / ".notes.partial.zarr/mine").touch()
    (out / ".empty.partial.zarr").mkdir()
    found = CliRunner().invoke(main, ["clean", str(out)])
    assert re.search(r"\.trend\.partial\.zarr \(\d\.\d MB\)", found.stdout)
    assert ".notes.partial.zarr: kept, since it is not a pixelwise file" in found.stderr
    assert ".empty.partial.zarr: kept, since nothing in it shows that pixelwise made it" in found.stderr
    assert hidden(out) == [".empty.partial.zarr", ".notes.partial.zarr"]


def test_clean_leaves_a_running_job_alone(stack: pw.RasterStack, out: Path) -> None:
    texts: list[str] = []

    def progress(done: int, total: int) -> None:
        if not texts:
            texts.append(CliRunner().invoke(main, ["clean", str(out)]).stderr)

    pw.apply(stack, "ols", out / "trend.zarr", executor="inline", progress=progress)
    assert texts[0].count("kept, since a running job uses it") == 2
    assert hidden(out) == []


def test_files_of_both_kinds_are_one_set(
    stack: pw.RasterStack, whole: pw.Map, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = {"residuals": out / "left.zarr", "fitted": out / "fitted.tif"}
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", write=write, executor="inline", progress=stopped_after(3))
    same(pw.apply(stack, "ols", out / "trend.zarr", write=write), whole)
    assert hidden(out) == []
    assert {path.name for path in out.iterdir()} == {"trend.zarr", "left.zarr", "fitted.tif"}
    left, fitted = pw.open_stack(out / "left.zarr"), pw.open_stack(out / "fitted.tif")
    np.testing.assert_array_equal(left.axis.years, stack.axis.years)
    everything = stack.grid.block
    total = left.read(everything) + fitted.read(everything)
    both = ~np.isnan(total)
    np.testing.assert_allclose(total[both], stack.read(everything)[both], atol=1e-6)


def test_layers_come_back_as_they_were(stack: pw.RasterStack, out: Path) -> None:
    for zarr_format in (2, 3):
        path = pw.write_layers(stack, out / f"layers{zarr_format}.zarr", zarr_format=zarr_format)  # type: ignore[arg-type]
        found = pw.open_stack(path)
        np.testing.assert_array_equal(found.read(stack.grid.block), stack.read(stack.grid.block))
        np.testing.assert_array_equal(found.axis.years, stack.axis.years)
        assert found.axis.precision == "year"
        assert found.grid == stack.grid
        with xr.open_zarr(path) as dataset:
            assert dataset["value"].dims == ("time", "y", "x")
            assert dataset.time.dt.year.values.tolist() == [2000, 2001, 2002, 2003, 2004]


def test_a_damaged_store_is_told(stack: pw.RasterStack, out: Path) -> None:
    made = pw.apply(stack, "ols", out / "trend.zarr")
    shard = next((out / "trend.zarr/slope").rglob("c/*/*"))
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"trend.zarr: cannot be read \(.*\); is a chunk damaged"):
        made["slope"]
    (out / "trend.zarr/zarr.json").unlink()
    with pytest.raises(InputError, match="is not a complete Zarr store"):
        pw.open_map(out / "trend.zarr")
    xr.Dataset({"a": (("y", "x"), np.zeros((3, 3)))}).to_zarr(out / "other.zarr", zarr_format=2, consolidated=True)
    with pytest.raises(InputError, match="has no bands as pixelwise writes them"):
        pw.open_map(out / "other.zarr")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs of Unix")
def test_a_store_of_a_stranger_keeps_nobody_waiting(stack: pw.RasterStack, out: Path) -> None:
    """And its description leads nowhere else."""
    made = pw.apply(stack, "ols", out / "trend.zarr", bands=["slope"])
    shard = next((out / "trend.zarr/slope").rglob("c/*/*"))
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(InputError, match=r"cannot be read \(slope/c/.* is a FIFO; expected a file\)"):
        made["slope"]
    root = out / "trend.zarr/zarr.json"
    said = json.loads(root.read_text())
    arrays = said["consolidated_metadata"]["metadata"]
    arrays["../other.zarr/slope"] = arrays.pop("slope")
    root.write_text(json.dumps(said))
    pw.apply(stack, "ols", out / "other.zarr", bands=["slope"])
    with pytest.raises(InputError, match="cannot be read"):
        pw.open_map(out / "trend.zarr")


def test_a_rotated_grid_and_no_crs(tmp_path: Path, out: Path) -> None:
    for number, grid in enumerate(
        (Grid(None, Affine(1, 0, 0, 0, -1, 0), 20, 30), Grid(UTM, Affine(1, 0.5, 0, 0.5, -1, 0), 20, 30))
    ):

        class Numbers:
            axis = pw.TimeAxis.from_times(np.arange(2000.0, 2006.0))

            def __init__(self, own: Grid) -> None:
                self.grid = own

            def read(self, block: Block) -> Any:
                return np.random.default_rng(0).normal(size=(6, block.height, block.width))

        made = pw.apply(Numbers(grid), "ols", out / f"{number}.zarr")
        assert made.grid == grid
        np.testing.assert_array_equal(made["slope"], pw.apply(Numbers(grid), "ols")["slope"])


@pytest.mark.parametrize("code", [28, 5])
def test_a_full_disk_keeps_what_is_whole(
    stack: pw.RasterStack,
    whole: pw.Map,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    calls, write = [], shards.write

    def full(file: Any, data: bytes) -> None:
        calls.append(file)
        if len(calls) > 60:
            file.write(data[: len(data) // 2])
            raise OSError(code, os.strerror(code))
        write(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "write", full)
        with pytest.raises(pw.ResourceError if code == 28 else OutputError, match=r"trend\.zarr: cannot be written"):
            pw.apply(stack, "ols", out / "trend.zarr", executor="inline", jobs=1)
    assert hidden(out) == [".trend.partial.zarr", ".trend.zarr.journal"]
    with caplog.at_level(logging.INFO):
        same(pw.apply(stack, "ols", out / "trend.zarr"), whole)
    assert "resuming:" in caplog.text


def test_a_journal_may_say_anything_of_shards(stack: pw.RasterStack, whole: pw.Map, out: Path) -> None:
    """Even with a checksum that fits."""
    with pytest.raises(Stop):
        pw.apply(stack, "ols", out / "trend.zarr", executor="inline", progress=stopped_after(3))
    journal = out / ".trend.zarr.journal"
    head, *lines = journal.read_bytes().split(b"\n")
    said = json.loads(head.partition(b" ")[2])
    for shard in ([17, 32], [32], None):
        layout = {**said["layout"], "shard": shard}
        if shard is None:
            del layout["shard"]
        journal.write_bytes(b"\n".join([encode({**said, "layout": layout}), *lines]))
        with contextlib.suppress(OutputError):
            same(pw.apply(stack, "ols", out / "trend.zarr", overwrite=True), whole)
    same(pw.apply(stack, "ols", out / "trend.zarr", overwrite=True, restart=True), whole)


def test_composites_say_the_same_from_every_format(make_stack: Any, out: Path) -> None:
    """How many scenes a maximum is of decides about a trend; a file of composites knows."""
    values = np.random.default_rng(0).normal(size=(30, 20, 20)).astype("f4")
    values[:10, 5:] = np.nan
    times = [f"{2000 + n // 5}-{1 + n % 5:02}-11" for n in range(30)]
    made = pw.open_stack(make_stack(values, times, "scenes")).composite("max")
    known = [_read_made(pw.write_layers(made, out / name)) for name in ("c.tif", "c.zarr", "c.nc")]
    assert known[0] is not None
    assert repr(known[0]) == repr(known[1]) == repr(known[2])


CALLS = (
    ("pixelwise.maps.shards", "write_file"),
    ("pixelwise.maps.zarr_store", "write_file"),
    ("pixelwise.maps.zarr_store", "sync"),
    ("pixelwise.maps.stores", "write"),
    ("pixelwise.maps.stores", "remove_tree"),
    ("pixelwise.maps.publish", "sync"),
    ("pixelwise.maps.journal", "append"),
    ("pathlib", "Path.replace"),
    ("pathlib", "Path.unlink"),
    ("pathlib", "Path.mkdir"),
)


@pytest.mark.parametrize(
    "call", [pytest.param(call, marks=[] if index == 1 else pytest.mark.long) for index, call in enumerate(CALLS)]
)
def test_any_call_may_fail(
    stack: pw.RasterStack, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: tuple[str, str]
) -> None:
    """Then the store is the old one or the whole new one, the error is one of ours, and the same call ends the job."""
    wanted = pw.apply(stack, "ols")
    old = pw.apply(stack, "ols", tmp_path / "old.zarr", min_valid=1.0)
    before = content(tmp_path / "old.zarr")
    owner: Any = importlib.import_module(call[0])
    *outer, name = call[1].split(".")
    for part in outer:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), [0]
    for at in (10**9, 1, "middle", "last"):
        number = {"middle": calls[0] // 2, "last": calls[0]}.get(str(at), at)
        shutil.copytree(tmp_path / "old.zarr", out / "trend.zarr")
        met = [0]

        def failing(*args: Any, number: Any = number, met: list[int] = met, **options: Any) -> Any:
            met[0] += 1
            if met[0] == number:
                raise OSError(28, os.strerror(28))
            return function(*args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, failing)
            with contextlib.suppress(pw.PixelwiseError) if number < 10**9 else contextlib.nullcontext():
                pw.apply(stack, "ols", out / "trend.zarr", overwrite=True, executor="inline")
        if at == 10**9:
            calls[0] = met[0]
        assert content(out / "trend.zarr") == before or pw.open_map(out / "trend.zarr").names == old.names
        same(pw.apply(stack, "ols", out / "trend.zarr", overwrite=True), wanted)
        assert hidden(out) == []
        shutil.rmtree(out / "trend.zarr")


def test_a_format_of_stores_is_for_stores(stack: pw.RasterStack, out: Path) -> None:
    with pytest.raises(
        pw.ParameterError, match=r"zarr_format 2: .*trend\.tif is not a Zarr store: leave zarr_format out"
    ):
        pw.apply(stack, "ols", out / "trend.tif", zarr_format=2)
    assert list(out.iterdir()) == []
