"""Blocks decoded without GDAL: the same bytes as rasterio gives, or left to it."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.env import GDALVersion
from rasterio.windows import Window

import pixelwise as pw
from pixelwise.grid import Block
from pixelwise.kernels import tiff as kernels
from pixelwise.rasters import buffers, tiff
from pixelwise.rasters.handles import OpenFiles
from pixelwise.rasters.pieces import Piece
from pixelwise.rasters.windows import read_window
from pixelwise.stacks.raster import RasterStack
from support.rasters import write_raster

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
DTYPES = (
    ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64", "uint64")
    if JIT
    else ("float32",)
)


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
    if predictor == 2 and np.dtype(dtype).itemsize == 8 and not GDALVersion.runtime().at_least("3.10"):
        pytest.skip("GDAL in rasterio's wheels before 1.4.4 cannot write this")
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


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_deflate_by_libdeflate_and_by_zlib(predictor: int, layout: str, tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", image("float32"), compress="deflate", predictor=predictor, **LAYOUTS[layout]
    )
    for bands, window in (((1, 2, 3), Block(0, 0, SIZE, SIZE)), ((3, 1), Block(13, 17, 21, 19))):
        values, expected = both(path, bands, window)
        assert values == expected


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


def entry_of(data: bytes | bytearray, tag: int) -> int:
    """Return where a tag's entry stands in a classic TIFF."""
    (begin,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, begin)
    places = (begin + 2 + 12 * k for k in range(entries))
    return next(place for place in places if struct.unpack_from("<H", data, place)[0] == tag)


@pytest.mark.parametrize("kind", [1, 9])
def test_a_predictor_of_an_unusual_type_is_honoured(tmp_path: Path, kind: int) -> None:
    """As BYTE or SLONG: GDAL takes it, so it must not be taken for absent."""
    path = write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", predictor=2, **TILES)
    data = bytearray(path.read_bytes())
    struct.pack_into("<HII", data, entry_of(data, tiff.PREDICTOR) + 2, kind, 1, 2)
    path.write_bytes(data)
    assert opened(path) is None


def test_a_tag_given_twice_is_left_to_gdal(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", predictor=2, **TILES)
    data = bytearray(path.read_bytes())
    # Another entry, that nobody needs, becomes a second predictor.
    struct.pack_into("<HHII", data, entry_of(data, 33550), tiff.PREDICTOR, 3, 1, 1)
    path.write_bytes(data)
    assert tiff.open_tiff(path, SIZE, SIZE, "int16") is None


@pytest.mark.parametrize(("photometric", "bands"), [(5, 4), (6, 3), (8, 3)], ids=["CMYK", "YCbCr", "CIELAB"])
def test_colours_that_gdal_converts_are_left_to_it(tmp_path: Path, photometric: int, bands: int) -> None:
    path = write_raster(tmp_path / "a.tif", image("uint8", bands), compress="lzw", interleave="pixel")
    assert tiff.open_tiff(path, SIZE, SIZE, "uint8") is not None
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, entry_of(data, tiff.PHOTOMETRIC) + 8, photometric)
    path.write_bytes(data)
    assert tiff.open_tiff(path, SIZE, SIZE, "uint8") is None


def test_an_offset_beyond_any_file(tmp_path: Path) -> None:
    """Of a tag that matters, and of one that does not."""
    path = write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", BIGTIFF="YES", **TILES)
    whole = path.read_bytes()
    (begin,) = struct.unpack_from("<Q", whole, 8)
    (entries,) = struct.unpack_from("<Q", whole, begin)
    places = {struct.unpack_from("<H", whole, at)[0]: at for at in range(begin + 8, begin + 8 + 20 * entries, 20)}
    for tag, readable in ((tiff.TILE_OFFSETS, False), (34735, True)):
        data = bytearray(whole)
        struct.pack_into("<Q", data, places[tag] + 12, 2**63 + 5)
        path.write_bytes(data)
        assert (tiff.open_tiff(path, SIZE, SIZE, "int16") is not None) == readable


def test_a_band_or_window_that_is_not_there(tmp_path: Path) -> None:
    """The file was exported again since its header was read."""
    for interleave in ("pixel", "band"):
        path = write_raster(tmp_path / "a.tif", image("int16"), compress="lzw", **{**TILES, "interleave": interleave})
        found = opened(path)
        assert found is not None
        out = np.empty((1, 16, 16), np.int16)
        for band, window in (
            (4, Block(0, 0, 16, 16)),
            (0, Block(0, 0, 16, 16)),
            (1, Block(SIZE - 15, 0, 16, 16)),
            (1, Block(0, -1, 16, 16)),
        ):
            assert not found.read((band,), window, out)


def test_bands_with_a_mask_after_one_without(tmp_path: Path) -> None:
    """One file, one open handle: what the first band needs must not decide for the second."""
    values = np.concatenate([image("uint8"), np.zeros((1, SIZE, SIZE), np.uint8)])
    path = write_raster(tmp_path / "a.tif", values, compress="lzw", photometric="RGB", ALPHA="YES")
    pieces = [
        Piece(path, "GTiff", band, Block(0, 0, SIZE, SIZE), "uint8", (), 1.0, 0.0, band > 1, georeferenced=True)
        for band in (1, 2, 1)
    ]
    table = OpenFiles()
    out = np.empty((1, 8, 8), np.uint8)
    masks = [read_window(piece, (piece.band,), Block(0, 0, 8, 8), out, table) for piece in pieces]
    assert masks[0] is None
    assert masks[1] is not None
    assert not masks[1].any()
    assert masks[2] is None
    table.close()


def test_a_file_that_gdal_must_read_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for year in (2000, 2001):
        values = np.zeros((SIZE, SIZE), np.float32)
        write_raster(tmp_path / f"a_{year}.tif", values, compress="lzw", SPARSE_OK="TRUE", **TILES)
    tried: list[str] = []

    def open_tiff(path: Path, *rest: Any) -> tiff.TiffFile | None:
        tried.append(path.name)
        return tiff.open_tiff(path, *rest)

    monkeypatch.setattr("pixelwise.rasters.handles.open_tiff", open_tiff)
    share = pw.open_stack(tmp_path).readers(1, handles=1)[0]
    assert share.handles is not None
    out = np.empty((2, 16, 32), np.float32)
    for row in (0, 16):
        share.read_into(Block(row, 0, 16, 32), [out])
        assert len(share.handles) == 1
    share.close()
    assert sorted(tried) == ["a_2000.tif", "a_2001.tif"]


@pytest.mark.parametrize("seed", range(3))
def test_blocks_in_any_order_with_holes_between(tmp_path: Path, seed: int) -> None:
    """As an updated file has them: tiles moved to its end, one shared by two."""
    random = np.random.default_rng(seed)
    path = write_raster(tmp_path / "a.tif", image("int16", 1)[0], compress="lzw", **TILES)
    found = opened(path)
    assert found is not None
    data, counts = path.read_bytes(), found.counts.copy()
    moved, offsets = bytearray(data), np.empty_like(found.offsets)
    for index in random.permutation(len(offsets)):
        moved += bytes(int(random.choice([0, 8, 1_000_000])))
        offsets[index] = len(moved)
        moved += data[found.offsets[index] : found.offsets[index] + counts[index]]
    found.close()
    offsets[1], counts[1] = offsets[0], counts[0]
    for tag, table in ((tiff.TILE_OFFSETS, offsets), (tiff.TILE_COUNTS, counts)):
        # Offsets no longer fit where they were short: both tables go to the end as LONG.
        struct.pack_into("<HII", moved, entry_of(data, tag) + 2, 4, len(table), len(moved))
        moved += table.astype("<u4").tobytes()
    path.write_bytes(moved)
    buffers.release_buffers()
    for window in (Block(0, 0, SIZE, SIZE), Block(10, 20, 15, 18)):
        mine, expected = both(path, (1,), window)
        assert mine == expected
    # Holes are not read.
    assert buffers.buffers().data(0).size <= 2 * counts.sum() + kernels.SLACK


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
    found.source.close()
    assert not found.read((1,), Block(0, 0, 16, 16), np.empty((1, 16, 16), np.int16))


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    for year in (2000, 2001):
        path = write_raster(tmp_path / f"a_{year}.tif", image("int16", 1)[0], compress="lzw", **TILES)
    stack = pw.open_stack(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(pw.InputError, match=r"a_2001\.tif"):
        stack.read(Block(0, 0, SIZE, SIZE))


GUARD = 4096


def guarded(size: int, dtype: Any = np.uint8) -> tuple[Any, Any]:
    """Return an array and the memory that it lies in."""
    memory = np.full(2 * GUARD + size * np.dtype(dtype).itemsize, 0xA5, np.uint8)
    return memory[GUARD:-GUARD].view(dtype), memory


def place_lzw(data: Any, block: Any, out: Any, *, predictor: int = 1, samples: int = 1) -> int:
    """Decode one block of LZW codes into (band, y, x); fail where memory around anything was touched."""
    count = block[1]
    width = out.shape[2]
    size = -(-(kernels.LITERALS + block[4] * width * samples * out.itemsize + kernels.SLACK) // 8) * 8
    codes, memory_of_codes = guarded(count + kernels.SLACK)
    codes[:count], codes[count:] = data[:count], 0
    decoded, memory_of_decoded = guarded(size)
    decoded[: kernels.LITERALS] = np.arange(kernels.LITERALS)
    strings, memory_of_strings = guarded(kernels.CODES, np.uint64)
    strings[:] = kernels.lzw_strings()
    line, memory_of_line = guarded(width * samples, out.dtype)
    octets, memory_of_octets = guarded(width * samples * out.itemsize)
    target, memory_of_target = guarded(out.size, out.dtype)
    target[:] = out.ravel()
    layout = kernels.Layout(width, samples, predictor)
    buffers = kernels.Buffers(strings, decoded, decoded.view(out.dtype), kernels.Row(line, octets))
    picked, window = np.arange(len(out)), target.reshape(out.shape)
    done = kernels.place_lzw(codes, np.array([block]), np.zeros(1, bool), layout, picked, buffers, window)
    out[:] = target.reshape(out.shape)
    memories = memory_of_codes, memory_of_decoded, memory_of_strings, memory_of_line, memory_of_octets, memory_of_target
    for memory in memories:
        assert (memory[:GUARD] == 0xA5).all()
        assert (memory[-GUARD:] == 0xA5).all()
    np.testing.assert_array_equal(decoded[: kernels.LITERALS], np.arange(kernels.LITERALS))
    return done


@pytest.mark.parametrize(("predictor", "bands"), [(1, 1), (2, 1), (3, 1), (2, 3), (3, 3)])
def test_damaged_codes_touch_no_other_memory(tmp_path: Path, predictor: int, bands: int) -> None:
    """Some bytes changed, or all behind the first; in plain Python an index outside raises by itself."""
    random = np.random.default_rng(3)
    values = image("float32", bands)
    profile = {**TILES, "interleave": "pixel", "predictor": predictor}
    path = write_raster(tmp_path / "a.tif", values, compress="lzw", **profile)
    found = opened(path)
    assert found is not None
    begin, count = int(found.offsets[3]), int(found.counts[3])
    found.close()
    whole = np.frombuffer(path.read_bytes()[begin : begin + count], np.uint8)
    out = np.zeros((bands, 16, 32), np.uint32)
    done = []
    for trial in range(1000 if JIT else 20):
        data = whole.copy()
        places = random.integers(1, count, random.integers(1, 4)) if trial % 2 else slice(2, None)
        data[places] = random.integers(0, 256, data[places].size)
        length = count if trial % 4 == 1 else int(random.integers(2, count))
        # Where the block begins: it may reach beyond the window on any side.
        row, col = random.integers(-15, 16, 2).tolist()
        done.append(place_lzw(data, (0, length, row, col, 16), out, predictor=predictor, samples=bands))
    assert set(done) == {0, 1}


def packed(codes: Any) -> Any:
    """Pack codes behind a clear code, as an encoder does that never clears its table again."""
    bits, entries, width = f"{kernels.CLEAR:09b}", 257, 9
    for code in codes:
        bits += f"{code:0{width}b}"
        entries += 1
        width = min(width + (entries == 2**width - 1), 12)
    bits += "0" * (-len(bits) % 8 + 8 * kernels.SLACK)
    return np.array([int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], np.uint8)


@pytest.mark.parametrize(("count", "done"), [(3000, 1), (5000, 0)])
def test_a_table_that_is_never_cleared(count: int, done: int) -> None:
    """There is no code of 13 bits: GDAL may say what to make of it."""
    values = np.arange(count) % 200
    data = packed(values)
    out = np.zeros((1, 1, count), np.uint8)
    assert place_lzw(data, (0, data.size - kernels.SLACK, 0, 0, 1), out) == done
    if done:
        np.testing.assert_array_equal(out[0, 0], values)


def test_the_end_of_a_block_is_decoded_until_it_is_known_to_be_whole(tmp_path: Path) -> None:
    """Once only where windows cut it: a strip of a hundred windows else takes twice as long."""
    path = write_raster(tmp_path / "a.tif", image("int16", 1)[0], compress="lzw", **LAYOUTS["one strip"])
    found = opened(path)
    assert found is not None
    top, out = Block(0, 0, 4, SIZE), np.empty((1, 4, SIZE), np.int16)
    assert found.read((1,), top, out)
    begin, count = int(found.offsets[0]), int(found.counts[0])
    data = bytearray(path.read_bytes())
    data[begin + count - 20 : begin + count] = b"\xff" * 20
    path.write_bytes(data)
    assert found.read((1,), top, out)
    found.close()
    found = opened(path)
    assert found is not None
    assert not found.read((1,), top, out)


def test_a_code_that_is_not_in_the_table_yet() -> None:
    """Enough good codes follow: without a look at the table's end the block would seem whole."""
    out = np.zeros((1, 1, 10), np.uint8)
    data = packed([65, 300, *[66] * 20])
    assert place_lzw(data, (0, data.size - kernels.SLACK, 0, 0, 1), out) == 0


def test_the_old_bit_order_is_left_to_gdal() -> None:
    """Files of before 1992 begin with 0x00 0x01: their codes start at the lowest bit."""
    data = np.zeros(64, np.uint8)
    data[1] = 1
    out = np.zeros((1, 4, 4), np.uint8)
    assert place_lzw(data, (0, 56, 0, 0, 4), out) == 0


def test_stacks_decode_without_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that most users take: nothing is read by rasterio."""
    for year in (2000, 2001):
        write_raster(tmp_path / f"a_{year}.tif", image("float32", 1)[0], compress="lzw", **TILES)
    stack = pw.open_stack(tmp_path)
    monkeypatch.setattr("pixelwise.rasters.handles.open_again", None)
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
