"""Damaged blocks of files: the same ones are lost under every plan, and `verify` loses them too.

The oracle decodes each block of a file alone: DEFLATE by Python's zlib, all else by plain rasterio.
"""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

import pixelwise as pw
from pixelwise.jobs import plan as plan_module
from pixelwise.rasters import streams as streams_module
from pixelwise.rasters import tiff
from pixelwise.rasters import windows as reading_module
from pixelwise.rasters.tags import STRIP_COUNTS, STRIP_OFFSETS, TILE_COUNTS, TILE_OFFSETS, find_tags, read_tags
from pixelwise.verify.compare import verify
from support.limits import set_limits
from support.rasters import random_series, write_raster
from support.tiffs import write_tiff

TABLES = ((TILE_OFFSETS, TILE_COUNTS), (STRIP_OFFSETS, STRIP_COUNTS))
HEIGHT, WIDTH = 150, 130
VALUES = random_series((3, HEIGHT, WIDTH), seed=11, gaps=0)
#: Blocks that windows cut: strips of most of the file, of rows that are no multiple of 16, tiles.
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"blockysize": 100},
    "low strips": {"blockysize": 37},
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 80},
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again without waiting."""
    monkeypatch.setattr(reading_module, "RETRY_SECONDS", ())


def tables_of(path: Path) -> tuple[Any, Any]:
    """Return where the blocks of a file are, and how long."""
    with path.open("rb") as file:
        found = read_tags(file, [tag for pair in TABLES for tag in pair])
    return next((found[offsets], found[counts]) for offsets, counts in TABLES if offsets in found)


def damage(path: Path, how: str, block: int, random: Any) -> None:
    """Damage one block of a file, in its second half."""
    offsets, counts = tables_of(path)
    begin, count = int(offsets[block]), int(counts[block])
    data = bytearray(path.read_bytes())
    half = begin + count // 2 + int(random.integers(count // 4))
    if how == "zeros":
        data[half : begin + count] = bytes(begin + count - half)
    elif how == "noise":
        data[half : begin + count] = random.bytes(begin + count - half)
    elif how == "a bit":
        data[half] ^= 1 << int(random.integers(8))
    elif how == "short":
        with path.open("rb") as file:
            found = find_tags(file, [pair[1] for pair in TABLES])
        field = next(iter(found.values()))
        kind = {2: "<H", 4: "<I", 8: "<Q"}[field.dtype.itemsize]
        struct.pack_into(kind, data, field.position + block * field.dtype.itemsize, half - begin)
    else:
        assert how == "file ends"
        data = data[:half]
    path.write_bytes(data)


def lost_of(path: Path) -> Any:
    """Return (band, y, x) of what cannot be decoded, block by block."""
    with rasterio.open(path) as dataset:
        lost = np.zeros((dataset.count, dataset.height, dataset.width), bool)
        deflate = dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION") == "DEFLATE"
        apart = dataset.interleaving.value != "PIXEL" or dataset.count == 1
        offsets, counts = tables_of(path)
        data = path.read_bytes()
        for band in dataset.indexes:
            height, width = dataset.block_shapes[band - 1]
            across, down = -(-dataset.width // width), -(-dataset.height // height)
            for number in range(across * down):
                row, col = number // across * height, number % across * width
                window = Window(col, row, min(width, dataset.width - col), min(height, dataset.height - row))
                if deflate:
                    index = number + (band - 1) * across * down * apart
                    begin, count = int(offsets[index]), int(counts[index])
                    try:
                        zlib.decompress(data[begin : begin + count])
                        fine = begin + count <= len(data)
                    except zlib.error:
                        fine = False
                else:
                    try:
                        dataset.read(band, window=window)
                        fine = True
                    except RasterioError:
                        fine = False
                if not fine:
                    lost[(band - 1, *window.toslices())] = True
    return lost


#: Rows and columns of blocks, and how they are computed; a team in the last.
PLANS: tuple[tuple[tuple[int, int], dict[str, Any]], ...] = (
    ((HEIGHT, WIDTH), {"jobs": 1}),
    ((16, WIDTH), {"jobs": 2}),
    ((48, 64), {"jobs": 3, "executor": "threads"}),
    ((32, 32), {"jobs": 1, "executor": "inline"}),
    ((64, WIDTH), {"jobs": 4}),
)


def plans(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Yield options of `apply`, while blocks are cut as no memory would allow them to be larger."""
    for shape, options in PLANS:
        monkeypatch.setattr(plan_module, "block_shape", lambda *_, shape=shape, **__: shape)
        set_limits(monkeypatch, block_bytes=1 if options["jobs"] == 4 else 48 << 20)
        yield options


def assert_lost(source: Any, lost: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> None:
    """Compare what is lost of a stack of three layers, under every plan, with (time, y, x)."""
    stack = pw.open_stack(source, on_read_error="missing", **spec)
    for number, options in enumerate(plans(monkeypatch)):
        found = pw.apply(stack, "ols", tmp_path / f"{number}.tif", bands=["n"], **options)
        np.testing.assert_array_equal(found["n"], 3 - lost.sum(axis=0), err_msg=str(options))
        assert found.provenance.get("lost", {"pixels": 0})["pixels"] == lost.sum(), options
    assert not verify(tmp_path / "0.tif", source, pixels=1000).differing


CODECS: tuple[dict[str, Any], ...] = (
    {"compress": "lzw"},
    {"compress": "lzw", "predictor": 3},
    {"compress": "deflate"},
    {"compress": "deflate", "predictor": 2},
    {"compress": "deflate", "predictor": 3},
    {"compress": "zstd", "predictor": 2},
    {"compress": "lzma"},
    {"compress": "packbits"},
    {"compress": "lerc"},
    {},
)


@pytest.mark.parametrize(
    ("codec", "layout"),
    [(codec, layout) for codec in (CODECS[0], CODECS[3], CODECS[5]) for layout in LAYOUTS]
    + [(codec, "strips") for codec in (*CODECS[1:3], CODECS[4], *CODECS[6:])],
    ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part.values())) or "plain",
)
def test_the_same_blocks_are_lost_under_every_plan(
    codec: dict[str, Any], layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng([len(str(codec)), len(layout)])
    for year, values in zip((2000, 2001, 2002), VALUES, strict=True):
        write_raster(tmp_path / "in" / f"a_{year}.tif", values, **codec, **LAYOUTS[layout])
    hows = ("zeros", "file ends") if codec else ("file ends", "file ends")
    for year, how in zip((2000, 2002), hows, strict=True):
        damage(tmp_path / "in" / f"a_{year}.tif", how, 1 if how == "file ends" else 0, random)
    lost = np.concatenate([lost_of(path) for path in sorted((tmp_path / "in").iterdir())])
    assert 0 < lost.sum() < lost.size
    assert_lost(tmp_path / "in", lost, tmp_path, monkeypatch)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("codec", [CODECS[0], CODECS[3]], ids=["lzw", "deflate"])
def test_bands_of_one_file(
    codec: dict[str, Any], interleave: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    stored = (VALUES * 1000).astype(np.int16)
    names = ["2000", "2001", "2002"]
    write_raster(path, stored, **codec, **LAYOUTS["strips"], interleave=interleave, descriptions=names)
    damage(path, "zeros", 0 if interleave == "pixel" else 2, np.random.default_rng(1))
    lost = lost_of(path)
    assert lost.sum() == 100 * WIDTH * (3 if interleave == "pixel" else 1)
    assert_lost(path, lost, tmp_path, monkeypatch)


def test_processes_lose_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for year, values in zip((2000, 2001, 2002), VALUES, strict=True):
        path = write_raster(tmp_path / "in" / f"a_{year}.tif", values, compress="lzw", **LAYOUTS["strips"])
    damage(path, "zeros", 0, np.random.default_rng(2))
    monkeypatch.setattr(plan_module, "block_shape", lambda *_, **__: (16, WIDTH))
    stack = pw.open_stack(tmp_path / "in", on_read_error="missing")
    found = pw.apply(stack, "ols", bands=["n"], executor="processes", jobs=2)
    np.testing.assert_array_equal(found["n"], 3 - lost_of(path)[0])


@pytest.mark.parametrize("codec", [CODECS[0], CODECS[3]], ids=["lzw", "deflate"])
def test_a_job_stops_whichever_part_of_a_block_it_wants(codec: dict[str, Any], tmp_path: Path) -> None:
    for year, values in zip((2000, 2001, 2002), VALUES, strict=True):
        path = write_raster(tmp_path / f"a_{year}.tif", values, **codec, **LAYOUTS["strips"])
    damage(path, "zeros", 0, np.random.default_rng(2))
    stack = pw.open_stack(tmp_path)
    for row in (0, 16, 84):
        with pytest.raises(pw.InputError, match=rf"a_2002\.tif: band 1 cannot be read at rows {row}\.\."):
            stack.read(pw.Block(row, 0, 16, WIDTH))
    stack.read(pw.Block(112, 0, 16, WIDTH))


@pytest.mark.parametrize("codec", [CODECS[0], CODECS[2]], ids=["lzw", "deflate"])
@pytest.mark.parametrize("kind", ["mask", "alpha", "alpha apart"])
def test_a_damaged_mask_or_what_it_masks(
    codec: dict[str, Any], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a mask in blocks of its own; of an alpha band among the others, and in blocks of its own."""
    random = np.random.default_rng(5)
    useful = random.random((HEIGHT, WIDTH)) < 0.7
    stored = random.integers(1, 200, (HEIGHT, WIDTH)).astype(np.uint8)
    profile = {**codec, **LAYOUTS["low strips"]}
    for year in (2000, 2001, 2002):
        path = tmp_path / "in" / f"a_{year}.tif"
        if kind == "mask":
            write_raster(path, stored, mask=np.where(useful, 255, 0).astype(np.uint8), **profile)
        else:
            interleave = "band" if kind.endswith("apart") else "pixel"
            bands = np.stack([stored, np.where(useful, 255, 0)]).astype(np.uint8)
            write_raster(path, bands, photometric="MINISBLACK", ALPHA="YES", interleave=interleave, **profile)
    damage(path, "zeros", 6 if kind == "alpha apart" else 1, random)
    lost = np.zeros((HEIGHT, WIDTH), bool)
    lost[37:74] = True
    stack = pw.open_stack(tmp_path / "in", on_read_error="missing")
    for number, options in enumerate(plans(monkeypatch)):
        found = pw.apply(stack, "ols", tmp_path / f"{number}.tif", bands=["n"], **options)
        np.testing.assert_array_equal(found["n"], useful * (3.0 - lost), err_msg=str(options))
    assert not verify(tmp_path / "0.tif", pixels=1000).differing


def test_behind_vrts_and_warps_no_plan_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for year, values in zip((2000, 2001, 2002), VALUES, strict=True):
        path = write_raster(tmp_path / "in" / f"a_{year}.tif", values, compress="lzw", **LAYOUTS["strips"])
        (tmp_path / f"a_{year}.vrt").write_text(VRT.format(path=path))
    transform = rasterio.Affine(40, 0, 500_007, 0, -40, 3_399_981)
    like = write_raster(tmp_path / "like.tif", np.zeros((100, 90), np.uint8), transform=transform)
    damage(path, "zeros", 0, np.random.default_rng(2))
    for source, spec in (
        (sorted(tmp_path.glob("*.vrt")), {}),
        (tmp_path / "in", {"align": like, "resampling": "bilinear"}),
    ):
        stack = pw.open_stack(source, on_read_error="missing", **spec)
        found = []
        for shape, options in PLANS[:4]:
            cut = min(shape[0], stack.grid.height), min(shape[1], stack.grid.width)
            monkeypatch.setattr(plan_module, "block_shape", lambda *_, cut=cut, **__: cut)
            found.append(pw.apply(stack, "ols", bands=["n"], **options))
        assert found[0].provenance["lost"]["pixels"] > 0
        for other in found[1:]:
            np.testing.assert_array_equal(other["n"], found[0]["n"])
            assert other.provenance["lost"]["pixels"] == found[0].provenance["lost"]["pixels"]


VRT = """<VRTDataset rasterXSize="130" rasterYSize="150"><SRS>EPSG:32617</SRS>
<GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform><VRTRasterBand dataType="Float32" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""


# --------------------------------------------------------------------------------------------- DEFLATE streams


def replace_streams(path: Path, streams: dict[int, bytes]) -> None:
    """Put other streams behind a file's end for some of its blocks."""
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        found = find_tags(file, [tag for pair in TABLES for tag in pair])
    for number, stream in streams.items():
        for tag, value in zip(sorted(found), (len(data), len(stream)), strict=True):
            field = found[tag]
            kind = {2: "<H", 4: "<I", 8: "<Q"}[field.dtype.itemsize]
            struct.pack_into(kind, data, field.position + number * field.dtype.itemsize, value)
        data += stream
    path.write_bytes(data)


def bytes_of(path: Path, number: int) -> bytes:
    offsets, counts = tables_of(path)
    return zlib.decompress(path.read_bytes()[offsets[number] : offsets[number] + counts[number]])


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("level", [0, 6])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_a_last_strip_that_is_filled_up(tmp_path: Path, predictor: int, level: int) -> None:
    """As some writers do; and streams that go on behind a block."""
    layout = {"compress": "deflate", "predictor": predictor, **LAYOUTS["strips"]}
    for year, values in zip((2000, 2001, 2002), VALUES, strict=True):
        path = write_raster(tmp_path / f"a_{year}.tif", values, **layout)
    longer = [bytes_of(path, number) + np.random.default_rng(3).bytes(more) for number, more in ((0, 4000), (1, 26000))]
    replace_streams(path, {number: zlib.compress(held, level) for number, held in enumerate(longer)})
    stack = pw.open_stack(tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(stack.read(stack.grid.block)[2], VALUES[2])
    np.testing.assert_array_equal(stack.read(pw.Block(100, 0, 50, WIDTH))[2], VALUES[2, 100:])
    pw.apply(stack, "ols", tmp_path / "map.tif")
    assert not verify(tmp_path / "map.tif", pixels=1000).differing


def test_gdal_is_given_no_strip_that_is_filled_up(tmp_path: Path) -> None:
    """To warp it, or behind a VRT; the remedy of the message works."""
    for year, values in zip((2000, 2001), VALUES[:2], strict=True):
        path = write_raster(tmp_path / "in" / f"a_{year}.tif", values, compress="deflate", **LAYOUTS["strips"])
        vrt = tmp_path / "vrt" / f"a_{year}.vrt"
        vrt.parent.mkdir(exist_ok=True)
        vrt.write_text(VRT.format(path=path))
    like = write_raster(tmp_path / "like.tif", VALUES[0, :90], transform=rasterio.Affine(40, 0, 5e5, 0, -40, 34e5))
    block = pw.Block(0, 0, 90, 90)
    warped = pw.open_stack(tmp_path / "in", align=like).read(block)
    pw.open_stack(tmp_path / "vrt").read(block)
    replace_streams(path, {1: zlib.compress(bytes_of(path, 1) + bytes(100))})
    for source, spec in ((tmp_path / "in", {"align": like}), (tmp_path / "vrt", {})):
        with pytest.raises(pw.InputError, match=r"a_2001\.tif: its last strip holds more data than the raster"):
            pw.open_stack(source, **spec).read(block)
    pw.write_layers(pw.open_stack(tmp_path / "in"), tmp_path / "again.tif")
    np.testing.assert_array_equal(pw.open_stack(tmp_path / "again.tif", align=like).read(block), warped)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_strip_that_is_filled_up_is_found(tmp_path: Path, interleave: str) -> None:
    path = write_raster(tmp_path / "a.tif", VALUES, compress="deflate", interleave=interleave, **LAYOUTS["strips"])
    last = 1 if interleave == "pixel" else 5
    assert not streams_module.has_filled_strip(streams_module.opener_of(path))
    replace_streams(path, {last: zlib.compress(bytes_of(path, last)[:-1])})
    assert not streams_module.has_filled_strip(streams_module.opener_of(path))
    replace_streams(path, {last: zlib.compress(bytes_of(path, last) + b"xy")})
    assert streams_module.has_filled_strip(streams_module.opener_of(path))
    for other in ({"blockysize": 50}, LAYOUTS["tiles"], {"compress": "lzw", **LAYOUTS["strips"]}):
        write_raster(path, VALUES, **{"compress": "deflate", "interleave": interleave, **other})
        assert not streams_module.has_filled_strip(streams_module.opener_of(path))
    assert not streams_module.has_filled_strip(streams_module.opener_of(tmp_path / "absent.tif"))


@pytest.mark.parametrize("compression", [5, 8])
@pytest.mark.parametrize("edge", [322, 323])
def test_strips_with_the_edge_of_a_tile_are_left_to_gdal(tmp_path: Path, compression: int, edge: int) -> None:
    """libtiff takes it for the height of blocks, where each block here has all rows: another map, found by fuzzing."""
    tags = {256: [4], 257: [10], 258: [32], 259: [compression], 262: [1], 277: [1], 278: [10], 339: [3], edge: [1]}
    write_tiff(tmp_path / "x.tif", "<", [zlib.compress(np.arange(40, dtype="<f4").tobytes())], tags)
    assert tiff.open_tiff(tmp_path / "x.tif", 10, 4, "float32") is None


@pytest.mark.parametrize("table", [273, 279])
def test_tables_of_places_that_are_too_short(tmp_path: Path, table: int) -> None:
    """What a table of offsets or of counts lacks is zero, as libtiff has it; an IndexError was found by fuzzing."""
    rows = np.arange(40, dtype="<f4").reshape(10, 4)
    streams = [zlib.compress(row.tobytes()) for row in rows]
    tags = {256: [4], 257: [10], 258: [32], 259: [8], 262: [1], 277: [1], 278: [1], 339: [3]}
    write_tiff(tmp_path / "x_2000.tif", "<", streams, tags)
    with rasterio.open(tmp_path / "x_2000.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), rows)
    places = [8 + sum(len(stream) + len(stream) % 2 for stream in streams[:index]) for index in range(7)]
    short = {273: places, 279: [len(stream) for stream in streams[:7]]}[table]
    write_tiff(tmp_path / "x_2001.tif", "<", streams, {**tags, table: short})
    stack = pw.open_stack(tmp_path)
    np.testing.assert_array_equal(stack.read(pw.Block(0, 0, 7, 4))[1], rows[:7])
    with pytest.raises(pw.InputError, match=r"x_2001\.tif: band 1 cannot be read at rows 7\.\.9"):
        stack.read(pw.Block(7, 0, 3, 4))


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (lambda held: zlib.compress(held[:-1]), r"it has 51999 bytes, its block 52000"),
        (lambda held: zlib.compress(held)[:-1], "it ends early"),
        (lambda held: zlib.compress(held)[:-4] + b"abcd", "incorrect data check"),
        (lambda held: zlib.compress(held + held)[:-4] + b"abcd", "incorrect data check"),
        (lambda held: zlib.compress(held + held + b"x"), "it has more than 2 times a block's bytes"),
        (lambda held: zlib.compress(held)[:30], "30 bytes cannot hold a block of 52000"),
        (lambda held: held, "incorrect header check"),
        (lambda held: b"", ""),
    ],
)
def test_streams_that_are_not_whole(tmp_path: Path, stream: Any, words: str) -> None:
    for year, values in zip((2000, 2001, 2002), VALUES, strict=True):
        path = write_raster(tmp_path / f"a_{year}.tif", values, compress="deflate", **LAYOUTS["strips"])
    replace_streams(path, {0: stream(bytes_of(path, 0))})
    stack = pw.open_stack(tmp_path)
    if not words:  # absent: zeros, as GDAL has it
        assert (stack.read(pw.Block(0, 0, 100, WIDTH))[2] == 0).all()
        return
    with pytest.raises(pw.InputError, match=rf"a_2002\.tif: band 1 cannot be read at rows 0\.\.99.*{words}"):
        stack.read(pw.Block(0, 0, 100, WIDTH))
    pw.apply(pw.open_stack(tmp_path, on_read_error="missing"), "ols", tmp_path / "map.tif")
    assert not verify(tmp_path / "map.tif", pixels=1000).differing


@pytest.mark.usefixtures("inflater")
def test_a_stream_is_inflated_no_further_than_its_block(tmp_path: Path) -> None:
    """100 MB of zeros are 0.1 MB as a stream, no more than a block of 78 000 bytes may have."""
    for year, values in zip((2000, 2001), VALUES[:2], strict=True):
        path = write_raster(tmp_path / f"a_{year}.tif", values, compress="deflate", blockysize=HEIGHT)
    press = zlib.compressobj()
    replace_streams(path, {0: b"".join(press.compress(bytes(1 << 20)) for _ in range(100)) + press.flush()})
    stack = pw.open_stack(tmp_path, on_read_error="missing")
    stack.take([0]).read(pw.Block(0, 0, 16, WIDTH))
    tracemalloc.start()
    try:
        assert np.isnan(stack.read(pw.Block(0, 0, 16, WIDTH))[1]).all()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("nodata", [None, -9999])
def test_absent_tiles_beside_damaged_ones(
    interleave: str, nodata: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absent ones hold nodata, or zeros: that must not send the damaged one to GDAL, which gives numbers."""
    path = tmp_path / "a.tif"
    values = VALUES.copy()
    values[:, :80, :64] = 0 if nodata is None else nodata
    names = ["2000", "2001", "2002"]
    write_raster(
        path, values, nodata=nodata, interleave=interleave, descriptions=names, SPARSE_OK="TRUE",
        compress="deflate", predictor=2, **LAYOUTS["tiles"],
    )  # fmt: skip
    assert (tables_of(path)[1] == 0).sum() == (1 if interleave == "pixel" else 3)
    damage(path, "zeros", 5 if interleave == "pixel" else 11, np.random.default_rng(1))
    expected = values.copy()
    expected[np.s_[:] if interleave == "pixel" else np.s_[1], 80:, 128:] = np.nan
    if nodata is not None:
        expected[:, :80, :64] = np.nan
    stack = pw.open_stack(path, on_read_error="missing")
    np.testing.assert_array_equal(stack.read(stack.grid.block), expected)
    for number, options in enumerate(plans(monkeypatch)):
        found = pw.apply(stack, "ols", tmp_path / f"{number}.tif", bands=["n"], **options)
        np.testing.assert_array_equal(found["n"], (~np.isnan(expected)).sum(axis=0), err_msg=str(options))
    assert not verify(tmp_path / "0.tif", pixels=1000).differing


# ------------------------------------------------------------------------- DEFLATE in both orders of bytes, in masks


def differences(values: Any, order: str, predictor: int) -> bytes:
    """Return (row, column, sample) as bytes, after a predictor."""
    kind = values.dtype.newbyteorder(order)
    if predictor == 1:
        return bytes(values.astype(kind).tobytes())
    if predictor == 2:
        whole = values.view(f"u{values.itemsize}")
        first = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1]))
        return bytes(first.astype(f"{order}u{values.itemsize}").tobytes())
    # Technical note 3: bytes of a row, highest first, whatever the file's order; then differences.
    octets = values.astype(values.dtype.newbyteorder(">")).view(np.uint8)
    octets = octets.reshape(len(values), -1, values.itemsize).transpose(0, 2, 1).reshape(len(values), -1)
    samples = values.shape[2]
    apart = octets.reshape(len(values), -1, samples)
    return bytes(np.diff(apart, axis=1, prepend=np.zeros_like(apart[:, :1])).tobytes())


def blocks_of(values: Any, layout: str) -> tuple[list[Any], dict[int, list[Any]]]:
    """Cut (row, column, sample); the last strip is filled up, as some writers do, tiles as all must."""
    height, width, _ = values.shape
    high, wide = (64, width) if layout == "strips" else (64, 48)
    down, across = -(-height // high), -(-width // wide)
    filled = np.full((down * high, across * wide, values.shape[2]), 7, values.dtype)
    filled[:height, :width] = values
    blocks = [
        np.ascontiguousarray(filled[row : row + high, col : col + wide])
        for row in range(0, down * high, high)
        for col in range(0, across * wide, wide)
    ]
    return blocks, {278: [high]} if layout == "strips" else {322: [wide], 323: [high]}


def stack_of_own_files(
    folder: Path, order: str, predictor: int, dtype: str, layout: str, samples: int, longer: bytes = b""
) -> Any:
    """Write three files; return (time, y, x) of their first bands."""
    random = np.random.default_rng([predictor, samples, len(dtype)])
    found = []
    for year in (2000, 2001, 2002):
        values = (random.random((HEIGHT, WIDTH, samples)) * 100).astype(dtype)
        blocks, tags = blocks_of(values, layout)
        streams = [zlib.compress(differences(block, order, predictor) + longer) for block in blocks]
        tags |= {256: [WIDTH], 257: [HEIGHT], 258: [values.itemsize * 8] * samples, 259: [8], 262: [1], 277: [samples]}
        kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
        write_tiff(folder / f"a_{year}.tif", order, streams, {**tags, 317: [predictor], 339: [kind] * samples})
        found.append(values[..., 0])
    return np.stack(found)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize(
    ("predictor", "dtype", "layout", "samples"),
    [
        (1, "float32", "strips", 1),
        (1, "int16", "tiles", 2),
        (1, "uint8", "strips", 1),
        (2, "uint16", "strips", 1),
        (2, "int32", "tiles", 3),
        (3, "float32", "strips", 1),
        (3, "float64", "tiles", 2),
    ],
)
def test_both_orders_of_bytes(
    tmp_path: Path, order: str, predictor: int, dtype: str, layout: str, samples: int
) -> None:
    """Last strips that are filled up, and tiles that hold more than they should, are read right."""
    for longer in (b"", b"more than the block"):
        values = stack_of_own_files(tmp_path / "in", order, predictor, dtype, layout, samples, longer)
        if layout == "tiles" and not longer:
            with rasterio.open(tmp_path / "in" / "a_2002.tif") as dataset:
                np.testing.assert_array_equal(dataset.read(1), values[2])
        stack = pw.open_stack(tmp_path / "in", band=1)
        for _ in range(2):
            np.testing.assert_array_equal(stack.read(stack.grid.block), values)
        np.testing.assert_array_equal(stack.read(pw.Block(120, 40, 30, 50)), values[:, 120:, 40:90])
    pw.apply(stack, "ols", tmp_path / "map.tif")
    assert not verify(tmp_path / "map.tif", pixels=1000).differing


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_behind_vrts_and_warps_in_both_orders(tmp_path: Path, order: str) -> None:
    stack_of_own_files(tmp_path / "in", order, 1, "float32", "strips", 1)
    for year in (2000, 2001, 2002):
        (tmp_path / f"a_{year}.vrt").write_text(VRT.format(path=tmp_path / "in" / f"a_{year}.tif"))
    like = write_raster(tmp_path / "like.tif", VALUES[0, :90], transform=rasterio.Affine(40, 0, 5e5, 0, -40, 34e5))
    for source, spec in ((tmp_path / "in", {"align": like}), (sorted(tmp_path.glob("a_*.vrt")), {})):
        with pytest.raises(pw.InputError, match=r"a_2000\.tif: its last strip holds more data than the raster"):
            pw.open_stack(source, **spec).read(pw.Block(0, 0, 90, 90))


def masked_files(folder: Path, order: str, compression: int, of_mask: Any) -> tuple[Any, Any]:
    """Write three files with masks of one bit in a directory of their own, `of_mask` changes its streams' bytes."""
    random = np.random.default_rng(4)
    every, useful = [], random.random((HEIGHT, WIDTH)) < 0.7
    for year in (2000, 2001, 2002):
        values = (random.random((HEIGHT, WIDTH, 1)) * 100).astype("int16")
        tags = {256: [WIDTH], 257: [HEIGHT], 277: [1], 278: [50], 262: [1]}
        press = zlib.compress if compression == 8 else bytes
        own = [press(differences(part, order, 1)) for part in np.split(values, 3)]
        bits = [of_mask(np.packbits(part, axis=1).tobytes(), n) for n, part in enumerate(np.split(useful, 3))]
        write_tiff(
            folder / f"a_{year}.tif", order, own, {**tags, 258: [16], 259: [compression], 339: [2]},
            [zlib.compress(part) for part in bits], {**tags, 254: [4], 258: [1], 259: [8], 262: [4]},
        )  # fmt: skip
        every.append(np.where(useful, values[..., 0], np.nan))
    return np.stack(every), useful


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("compression", [1, 8], ids=["plain", "deflate"])
def test_streams_of_masks(tmp_path: Path, order: str, compression: int) -> None:
    values, useful = masked_files(tmp_path / "in", order, compression, lambda bits, _: bits)
    stack = pw.open_stack(tmp_path / "in")
    np.testing.assert_array_equal(stack.read(stack.grid.block), values)
    pw.apply(stack, "ols", tmp_path / "map.tif")
    assert not verify(tmp_path / "map.tif", pixels=1000).differing
    for change, words in (
        (lambda bits, n: bits + bytes(100 * (n == 2)), "a DEFLATE stream of its mask holds more than its block"),
        (lambda bits, n: bits[: -1 if n == 2 else None], "damaged DEFLATE stream of its mask: it has 849 bytes"),
    ):
        masked_files(tmp_path / "in", order, compression, change)
        stack = pw.open_stack(tmp_path / "in")
        np.testing.assert_array_equal(stack.read(pw.Block(0, 0, 100, WIDTH)), values[:, :100])
        with pytest.raises(pw.InputError, match=rf"a_2000\.tif: band 1 cannot be read at rows 100\.\.149.*{words}"):
            stack.read(pw.Block(100, 0, 50, WIDTH))
        found = pw.apply(
            pw.open_stack(tmp_path / "in", on_read_error="missing"), "ols", tmp_path / "lost.tif", bands=["n"],
            overwrite=True,
        )  # fmt: skip
        np.testing.assert_array_equal(found["n"][:100], useful[:100] * 3)
        assert not np.nansum(found["n"][100:])
        assert not verify(tmp_path / "lost.tif", pixels=1000).differing


def test_a_mask_beside_whose_stream_is_longer(tmp_path: Path) -> None:
    useful = (np.random.default_rng(6).random((HEIGHT, WIDTH)) < 0.5).astype("uint8") * 255
    for year in (2000, 2001):
        path = write_raster(tmp_path / "in" / f"a_{year}.tif", VALUES[0])
        mask = write_raster(tmp_path / "mask.tif", useful, compress="deflate")
        with rasterio.open(mask, "r+") as dataset:
            dataset.update_tags(INTERNAL_MASK_FLAGS_1="2")
        mask.rename(f"{path}.msk")
    stack = pw.open_stack(tmp_path / "in")
    np.testing.assert_array_equal(stack.read(stack.grid.block)[1], np.where(useful, VALUES[0], np.nan))
    last = len(tables_of(Path(f"{path}.msk"))[0]) - 1
    replace_streams(Path(f"{path}.msk"), {last: zlib.compress(bytes_of(Path(f"{path}.msk"), last) + b"more")})
    with pytest.raises(pw.InputError, match=r"a_2001\.tif: band 1 .*\(a DEFLATE stream of its mask holds more"):
        pw.open_stack(tmp_path / "in").read(stack.grid.block)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [1, 4])
def test_few_bits_whose_stream_is_longer(tmp_path: Path, order: str, bits: int) -> None:
    """GDAL reads these; numbers of 8 bits and more are read here."""
    random = np.random.default_rng(7)
    for year, more in ((2000, b""), (2001, b"more")):
        values = random.integers(0, 2, (HEIGHT, WIDTH)).astype("uint8")
        packed = np.packbits(values, axis=1) if bits == 1 else values[:, ::2] << 4 | values[:, 1::2]
        tags = {256: [WIDTH], 257: [HEIGHT], 277: [1], 278: [HEIGHT], 262: [1], 258: [bits], 259: [8]}
        write_tiff(tmp_path / f"a_{year}.tif", order, [zlib.compress(packed.tobytes() + more)], tags)
        if not more:
            expected = values
    stack = pw.open_stack(tmp_path)
    np.testing.assert_array_equal(stack.take([0]).read(stack.grid.block)[0], expected)
    with pytest.raises(pw.InputError, match=r"a_2001\.tif: band 1 .*\(a DEFLATE stream holds more than its block"):
        stack.read(stack.grid.block)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_alpha_whose_stream_is_longer(tmp_path: Path, order: str) -> None:
    random = np.random.default_rng(8)
    expected = []
    for year in (2000, 2001, 2002):
        values = random.integers(0, 3, (HEIGHT, WIDTH, 2)).astype("uint16")
        tags = {256: [WIDTH], 257: [HEIGHT], 277: [2], 278: [100], 262: [1], 258: [16, 16], 259: [8], 338: [2]}
        streams = [zlib.compress(differences(part, order, 1) + bytes(300)) for part in np.split(values, [100])]
        write_tiff(tmp_path / "in" / f"a_{year}.tif", order, streams, tags)
        expected.append(np.where(values[..., 1] == 0, np.nan, values[..., 0]))
    stack = pw.open_stack(tmp_path / "in")
    for _ in range(2):
        np.testing.assert_array_equal(stack.read(stack.grid.block), expected)
    for missing in ("stop", "missing"):
        stack = pw.open_stack(tmp_path / "in", on_read_error=missing)
        pw.apply(stack, "ols", tmp_path / "map.tif", overwrite=True)
        assert not verify(tmp_path / "map.tif", pixels=1000).differing
