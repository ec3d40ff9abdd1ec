"""Blocks decoded without GDAL: the same bytes as rasterio gives, or left to it."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

import pixelwise as pw
from conftest import write_raster
from pixelwise import decode, tiff
from pixelwise.grid import Block
from pixelwise.stack import RasterStack

#: Differences are summed up modulo the size of the type, of which plain Python warns.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
JIT = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
#: Plain Python decodes a hundred times slower.
SIZE = 150 if JIT else 40

TILES = {"tiled": True, "blockxsize": 32, "blockysize": 16}
LAYOUTS = {
    "tiles": TILES,
    "strips": {"blockysize": 7},
    "one strip": {"blockysize": SIZE},
    "strips of a row": {"blockysize": 1},
    "tiles, bands apart": {**TILES, "interleave": "band"},
    "BigTIFF": {**TILES, "BIGTIFF": "YES"},
}
#: What is hard for a predictor or for LZW: steps, runs longer than a word, noise, extremes of the type.
DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64") if JIT else ("float32",)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "LEAST_DEFLATE", 0)


def image(dtype: str, bands: int = 3) -> Any:
    """Return (band, y, x) with smooth parts, runs, noise, and the ends of the type."""
    random = np.random.default_rng(7)
    rows, cols = np.mgrid[0:SIZE, 0:SIZE]
    smooth = np.stack([50 + 40 * np.sin(cols / (9 + band)) * np.cos(rows / 11) for band in range(bands)])
    smooth[:, 20:30] = 7
    smooth[:, :, 5:9] = random.uniform(0, 100, (bands, SIZE, 4))
    values = smooth.astype(dtype)
    limits = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    values[:, 12, 11:13] = limits.min, limits.max
    if dtype.startswith("float"):
        values[:, 3, 3:6] = np.nan, np.inf, -0.0
    return values


def opened(path: Path) -> tiff.TiffFile | None:
    """Open a file as a stack does."""
    with rasterio.open(path) as dataset:
        return tiff.open_tiff(path, dataset.height, dataset.width, dataset.dtypes[0])


def both(path: Path, bands: tuple[int, ...], window: Block) -> tuple[bytes, bytes]:
    """Return a window as it is decoded here, and by rasterio."""
    with rasterio.open(path) as dataset:
        expected = dataset.read(list(bands), window=Window(window.col, window.row, window.width, window.height))
    found = opened(path)
    assert found is not None
    values = np.empty_like(expected)
    assert found.read(bands, window, values)
    found.close()
    return values.tobytes(), expected.tobytes()


@pytest.mark.parametrize("compress", ["lzw", "deflate"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "predictor"),
    [(dtype, predictor) for dtype in DTYPES for predictor in (1, 2, 3) if predictor < 3 or dtype.startswith("float")],
)
def test_the_same_bytes_as_rasterio(dtype: str, predictor: int, layout: str, compress: str, tmp_path: Path) -> None:
    values = image(dtype)
    path = write_raster(tmp_path / "a.tif", values, compress=compress, predictor=predictor, **LAYOUTS[layout])
    for bands, window in (
        ((1, 2, 3), Block(0, 0, SIZE, SIZE)),
        ((3, 1), Block(13, 17, 21, 19)),
        ((2,), Block(SIZE - 1, SIZE - 1, 1, 1)),
    ):
        values, expected = both(path, bands, window)
        assert values == expected


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return one file per way of interleaving."""
    folder = tmp_path_factory.mktemp("pieces")
    return {
        interleave: write_raster(
            folder / f"{interleave}.tif", image("int16"), compress="lzw", predictor=2, interleave=interleave, **TILES
        )
        for interleave in ("pixel", "band")
    }


@settings(max_examples=100 if JIT else 10)
@given(data=st.data())
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_any_window(pieces: dict[str, Path], interleave: str, data: st.DataObject) -> None:
    row, col = data.draw(st.integers(0, SIZE - 1)), data.draw(st.integers(0, SIZE - 1))
    height, width = data.draw(st.integers(1, SIZE - row)), data.draw(st.integers(1, SIZE - col))
    bands = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple))
    values, expected = both(pieces[interleave], bands, Block(row, col, height, width))
    assert values == expected


@pytest.mark.parametrize("values", ["zeros", "noise", "ramp", "two"])
def test_long_and_short_strings(values: str, tmp_path: Path) -> None:
    """A table that fills up several times, with strings from 1 to thousands of bytes."""
    edge = 400 if JIT else 64
    random = np.random.default_rng(1)
    array = {
        "zeros": np.zeros((edge, edge), np.uint8),
        "noise": random.integers(0, 256, (edge, edge), np.uint8),
        "ramp": np.repeat(np.arange(edge, dtype=np.uint16), edge).reshape(edge, edge).astype(np.uint8),
        "two": random.integers(0, 2, (edge, edge), np.uint8),
    }[values]
    path = write_raster(tmp_path / "a.tif", array, compress="lzw", blockysize=edge)
    mine, expected = both(path, (1,), Block(0, 0, edge, edge))
    assert mine == expected


@pytest.mark.parametrize(
    "profile",
    [
        {"compress": None},
        {"compress": "lzw", "ENDIANNESS": "BIG"},
        {"compress": "zstd"},
        {"compress": "packbits"},
        {"compress": "lzw", "NBITS": 7},
    ],
    ids=str,
)
def test_what_is_left_to_gdal(profile: dict[str, Any], tmp_path: Path) -> None:
    values = np.clip(image("uint8"), 0, 127)
    path = write_raster(tmp_path / "a_2000.tif", values, **profile)
    assert opened(path) is None


def test_deflate_is_left_to_gdal_without_its_package_and_in_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raster(tmp_path / "a.tif", image("int16"), compress="deflate", **TILES)
    assert opened(path) is not None
    monkeypatch.setattr(tiff, "LEAST_DEFLATE", 32 * 16 * 2 * 3 + 1)
    assert opened(path) is None
    monkeypatch.undo()
    monkeypatch.setattr(tiff, "LEAST_DEFLATE", 0)
    monkeypatch.setattr(tiff, "inflater", lambda: None)
    assert opened(path) is None


def test_another_file_than_gdal_saw_is_left_to_it(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", **TILES)
    assert tiff.open_tiff(path, SIZE, SIZE + 1, "int16") is None
    assert tiff.open_tiff(path, SIZE, SIZE, "uint16") is None
    assert tiff.open_tiff(tmp_path / "absent.tif", SIZE, SIZE, "int16") is None
    (tmp_path / "empty.tif").touch()
    assert tiff.open_tiff(tmp_path / "empty.tif", SIZE, SIZE, "int16") is None


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"MM"),
        (4, b"\xff\xff\xff\x7f"),  # the directory lies behind the end
        (8, b"\xff\xff"),  # 65535 tags
        (8, b"\x01\x00"),  # most tags are missing
    ],
)
def test_a_damaged_directory_is_left_to_gdal(tmp_path: Path, at: int, value: bytes) -> None:
    path = write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", **TILES)
    data = bytearray(path.read_bytes())
    assert data[4:8] == b"\x08\0\0\0", "the directory was written first"
    assert tiff.open_tiff(path, SIZE, SIZE, "int16") is not None
    data[at : at + len(value)] = value
    path.write_bytes(data)
    assert tiff.open_tiff(path, SIZE, SIZE, "int16") is None


@pytest.mark.parametrize("tag", [tiff.TILE_OFFSETS, tiff.TILE_COUNTS])
@pytest.mark.parametrize("value", [1, 1 << 30])
def test_damaged_tables_are_left_to_gdal(tmp_path: Path, tag: int, value: int) -> None:
    """Of one block, of more than the file can hold, and with blocks beyond its end."""
    path = write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", **TILES)
    data = bytearray(path.read_bytes())
    (entries,) = struct.unpack_from("<H", data, 8)
    at = next(10 + 12 * k for k in range(entries) if struct.unpack_from("<H", data, 10 + 12 * k)[0] == tag)
    (table,) = struct.unpack_from("<I", data, at + 8)
    for place in (at + 4, table):
        damaged = bytearray(data)
        struct.pack_into("<I", damaged, place, value)
        path.write_bytes(damaged)
        found = tiff.open_tiff(path, SIZE, SIZE, "int16")
        assert found is None or not found.read((1,), Block(0, 0, SIZE, SIZE), np.empty((1, SIZE, SIZE), np.int16))


def test_absent_tiles_are_read_by_gdal(tmp_path: Path) -> None:
    values = image("float32", 1)[0]
    values[:64] = -9999
    for year in (2000, 2001):
        path = write_raster(tmp_path / f"a_{year}.tif", values, compress="lzw", nodata=-9999, SPARSE_OK="TRUE", **TILES)
    found = opened(path)
    assert found is not None
    assert not found.read((1,), Block(0, 0, 40, 40), np.empty((1, 40, 40), np.float32))
    stack = pw.open_stack(tmp_path)
    expected = np.where((values == -9999) | np.isinf(values), np.nan, values)
    np.testing.assert_array_equal(stack.read(Block(0, 0, SIZE, SIZE))[0], expected)


@pytest.mark.parametrize("compress", ["lzw", "deflate"])
def test_a_damaged_block_is_named(tmp_path: Path, compress: str) -> None:
    for year in (2000, 2001):
        path = write_raster(tmp_path / f"a_{year}.tif", image("int16", 1)[0], compress=compress, **TILES)
    found = opened(path)
    assert found is not None
    begin, size = int(found.offsets[1]), int(found.counts[1])
    found.close()
    data = bytearray(path.read_bytes())
    data[begin : begin + size] = b"\xff" * size
    path.write_bytes(data)
    stack = pw.open_stack(tmp_path)
    stack.read(Block(0, 0, 16, 32))
    with pytest.raises(pw.InputError, match=r"a_2001\.tif: band 1 cannot be read at rows 0\.\.15, columns 32\.\.39"):
        stack.read(Block(0, 32, 16, 8))


def test_an_error_of_the_disk_is_told_by_gdal(tmp_path: Path) -> None:
    found = opened(write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", **TILES))
    assert found is not None
    found.file.close()
    unreadable = (tmp_path / "b").open("wb", buffering=0)
    assert not replace(found, file=unreadable).read((1,), Block(0, 0, 16, 16), np.empty((1, 16, 16), np.int16))


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    for year in (2000, 2001):
        path = write_raster(tmp_path / f"a_{year}.tif", image("int16", 1)[0], compress="lzw", **TILES)
    stack = pw.open_stack(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(pw.InputError, match=r"a_2001\.tif"):
        stack.read(Block(0, 0, SIZE, SIZE))


def place_lzw(data: Any, block: Any, decoded: Any, out: Any, predictor: int = 1) -> int:
    """Decode one block of one band."""
    line = np.zeros(out.shape[2], out.dtype)
    octets = line.view(np.uint8).copy()
    shape, picked = (out.shape[2], 1, predictor), np.zeros(1, np.int64)
    blocks, stored = np.array([block]), decoded.view(out.dtype)
    return decode.place_lzw(data, blocks, shape, picked, decode.lzw_strings(), decoded, stored, line, octets, out)


def test_damaged_codes_touch_no_other_memory(tmp_path: Path) -> None:
    """Some bytes changed, or all behind the first; in plain Python an index outside raises by itself."""
    random = np.random.default_rng(3)
    path = write_raster(tmp_path / "a.tif", image("int16", 1)[0], compress="lzw", **TILES)
    found = opened(path)
    assert found is not None
    begin, count = int(found.offsets[3]), int(found.counts[3])
    found.close()
    whole = np.frombuffer(path.read_bytes()[begin : begin + count] + bytes(decode.SLACK), np.uint8)
    guard, size = 4096, 32 * 16 * 2
    memory = np.full(guard + decode.LITERALS + size + decode.SLACK + guard, 0xA5, np.uint8)
    decoded = memory[guard:-guard]
    decoded[: decode.LITERALS] = np.arange(decode.LITERALS)
    out = np.zeros((1, 16, 32), np.uint16)
    done = []
    for trial in range(2000 if JIT else 100):
        data = whole.copy()
        places = random.integers(1, count, random.integers(1, 4)) if trial % 2 else slice(2, None)
        data[places] = random.integers(0, 256, data[places].size)
        length = count if trial % 4 == 1 else random.integers(2, count)
        done.append(place_lzw(data, (0, length, -3, 5, 16), decoded, out, predictor=2))
    assert set(done) == {0, 1}
    assert (memory[:guard] == 0xA5).all()
    assert (memory[-guard:] == 0xA5).all()
    np.testing.assert_array_equal(decoded[: decode.LITERALS], np.arange(decode.LITERALS))


def packed(literals: Any) -> Any:
    """Pack literals behind a clear code, as an encoder does that never clears its table again."""
    bits, entries, width = f"{decode.CLEAR:09b}", 257, 9
    for literal in literals:
        bits += f"{literal:0{width}b}"
        entries += 1
        width = min(width + (entries == 2**width - 1), 12)
    bits += "0" * (-len(bits) % 8 + 8 * decode.SLACK)
    return np.array([int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], np.uint8)


@pytest.mark.parametrize(("count", "done"), [(3000, 1), (5000, 0)])
def test_a_table_that_is_never_cleared(count: int, done: int) -> None:
    """There is no code of 13 bits: GDAL may say what to make of it."""
    values = np.arange(count) % 200
    data = packed(values)
    decoded = np.arange(decode.LITERALS + count + decode.SLACK).astype(np.uint8)
    out = np.zeros((1, 1, count), np.uint8)
    assert place_lzw(data, (0, data.size - decode.SLACK, 0, 0, 1), decoded, out) == done
    if done:
        np.testing.assert_array_equal(out[0, 0], values)


def test_the_old_bit_order_is_left_to_gdal() -> None:
    """Files of before 1992 begin with 0x00 0x01: their codes start at the lowest bit."""
    data = np.zeros(64, np.uint8)
    data[1] = 1
    decoded = np.zeros(decode.LITERALS + 16 + decode.SLACK, np.uint8)
    out = np.zeros((1, 4, 4), np.uint8)
    assert place_lzw(data, (0, 56, 0, 0, 4), decoded, out) == 0


def test_stacks_decode_without_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that most users take: nothing is read by rasterio."""
    for year in (2000, 2001):
        write_raster(tmp_path / f"a_{year}.tif", image("float32", 1)[0], compress="lzw", **TILES)
    stack = pw.open_stack(tmp_path)
    monkeypatch.setattr("rasterio.open", None)
    values = stack.read(Block(0, 0, SIZE, SIZE))
    expected = image("float32", 1)[0]
    np.testing.assert_array_equal(values[1], np.where(np.isinf(expected), np.nan, expected))


def test_shared_lzw_files_decode_without_gdal(shared: Any) -> None:
    files = sorted(shared("skmap_landsat_seasonal").rglob("*.tif"))[: None if JIT else 1]
    assert files
    for path in files:
        with rasterio.open(path) as dataset:
            height, width, bands = dataset.height, dataset.width, dataset.indexes
        values, expected = both(path, bands, Block(0, 0, height, width))
        assert values == expected


def test_a_stack_of_files_of_both_kinds(tmp_path: Path) -> None:
    values = image("float32", 1)[0]
    for year, profile in ((2000, {"compress": "lzw"}), (2001, {"compress": "zstd"}), (2002, {})):
        write_raster(tmp_path / f"a_{year}.tif", values, **profile)
    stack = pw.open_stack(tmp_path)
    assert isinstance(stack, RasterStack)
    layers = stack.read(Block(0, 0, SIZE, SIZE))
    assert layers[0].tobytes() == layers[1].tobytes() == layers[2].tobytes()
