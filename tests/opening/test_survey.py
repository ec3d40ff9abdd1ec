"""From what a user names to a stack: files, dates, bands, pieces, grids, and the values that are read."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

import pixelwise as pw
from pixelwise.opening.survey import survey
from pixelwise.rasters import handles
from pixelwise.rasters.handles import ALL_OPEN_FILES, HANDLES, reading
from pixelwise.rasters.headers import read_header
from pixelwise.stacks.raster import Layout, layout_of
from support.images import IMAGE, ORIGIN, YEARS, at, dates_of, values_of
from support.rasters import MakeStack, problem_of, write_raster

# -------------------------------------------------------------------------------------------- how it is shown


def test_a_stack_in_one_line(make_stack: MakeStack):
    folder = make_stack(YEARS.astype("int16"), nodata=-9999)
    assert (
        str(pw.open_stack(folder))
        == "3 layers, 2000..2002, 7 x 6 pixels (width x height), EPSG:32617, int16, nodata -9999"
    )
    days = make_stack(YEARS, ["2001-03-05", "2001-04-05", "2001-05-05"], folder="days")
    text = "3 layers, 2001-03-05..2001-05-05, 7 x 6 pixels (width x height), EPSG:32617, float32, nodata none"
    assert str(pw.open_stack(days)) == text
    assert repr(pw.open_stack(days)) == f"<RasterStack: {text}>"
    assert str(pw.open_stack(folder, nodata=(1, 2))).endswith("int16, nodata 1, 2")
    plain = make_stack(YEARS.astype("uint8"), folder="plain")
    assert str(pw.open_stack(plain)).endswith("uint8, nodata none")


# -------------------------------------------------------------------------------------------------- values


def pair(folder: Path, first: Any, **profile: Any) -> Path:
    """Write a one-row image of 2001 and the same of 2002."""
    image = np.asarray(first)[None]
    for year in (2001, 2002):
        write_raster(folder / f"x_{year}.tif", image, **profile)
    return folder


def row(folder: Path, **options: Any) -> Any:
    return values_of(folder, **options)[0, 0]


def test_nodata_of_the_file(tmp_path: Path):
    folder = pair(tmp_path, np.array([-9999, 0, 5], dtype="int16"), nodata=-9999)
    np.testing.assert_array_equal(row(folder), [np.nan, 0, 5])


def test_the_option_wins_over_the_nodata_of_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = pair(tmp_path, np.array([-9999, 0, 5], dtype="int16"), nodata=-9999)
    with caplog.at_level("INFO", logger="pixelwise"):
        np.testing.assert_array_equal(row(folder, nodata=5), [-9999, 0, np.nan])
    assert caplog.messages == ["nodata 5 is used instead of what the files say"]
    np.testing.assert_array_equal(row(folder, nodata=[0, 5]), [-9999, np.nan, np.nan])
    np.testing.assert_array_equal(row(folder, nodata=np.float32(5)), [-9999, 0, np.nan])


def test_a_nodata_that_float32_rounds(tmp_path: Path):
    folder = pair(tmp_path, np.array([0.1, -3.4028234663852886e38, 1], dtype="float32"), nodata=0.1)
    np.testing.assert_array_equal(row(folder), np.array([np.nan, -3.4028234663852886e38, 1], dtype="float32"))
    np.testing.assert_array_equal(row(folder, nodata=-3.4028234663852886e38), np.float32([0.1, np.nan, 1]))
    # As GDAL has it, where the sum of both overflows.
    np.testing.assert_array_equal(row(folder, nodata=-3.4e38), np.float32([0.1, np.nan, 1]))
    np.testing.assert_array_equal(row(folder, nodata=-3.4e37), np.float32([0.1, -3.4028234663852886e38, 1]))


@pytest.mark.parametrize("nodata", [-9999, 256, 0.5, np.nan, np.inf])
def test_a_nodata_that_the_type_cannot_hold(tmp_path: Path, nodata: float):
    stored = np.array([0, 1, 241, 255], dtype="uint8")  # 241 is -9999 modulo 256
    np.testing.assert_array_equal(row(pair(tmp_path, stored), nodata=nodata), stored)


def test_nodata_is_compared_before_scaling(tmp_path: Path):
    stored = np.array([-3000, 6000, 2], dtype="int16")
    folder = pair(tmp_path, stored, nodata=-3000, scales=[0.5], offsets=[1.0])
    np.testing.assert_array_equal(row(folder), [np.nan, 3001, 2])
    np.testing.assert_array_equal(row(folder, nodata=2), [-1499, 3001, np.nan])
    np.testing.assert_array_equal(row(folder, nodata=3001), [-1499, 3001, 2])


def test_scaling_is_done_in_float64(tmp_path: Path):
    stored = np.array([7919, -3, 12345], dtype="int16")
    folder = pair(tmp_path, stored, scales=[0.0001], offsets=[0.1])
    values = row(folder)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, stored * 0.0001 + 0.1)
    assert (values != (stored.astype("float32") * np.float32(0.0001) + np.float32(0.1))).any()


def test_the_options_win_over_scale_and_offset_of_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = pair(tmp_path, np.array([1, 2], dtype="int16"), scales=[0.0001], offsets=[0.1])
    with caplog.at_level("INFO", logger="pixelwise"):
        np.testing.assert_array_equal(row(folder, scale=2), [2.1, 4.1])
    assert caplog.messages == ["scale 2 is used instead of what the files say"]
    np.testing.assert_array_equal(row(folder, scale=2, offset=0), [2, 4])
    plain = row(folder, scale=1, offset=0)
    np.testing.assert_array_equal(plain, [1, 2])
    assert plain.dtype == np.float32


def test_the_valid_range_is_of_scaled_values_and_closed(tmp_path: Path):
    folder = pair(tmp_path, np.array([-20, -10, 0, 10, 11], dtype="int16"), scales=[0.1], nodata=0)
    np.testing.assert_array_equal(row(folder, valid_range=(-1, 1)), [np.nan, -1, np.nan, 1, np.nan])


def test_infinite_values_are_missing(tmp_path: Path):
    folder = pair(tmp_path, np.array([np.inf, -np.inf, np.nan, 1], dtype="float32"))
    np.testing.assert_array_equal(row(folder), [np.nan, np.nan, np.nan, 1])
    wide = pair(tmp_path / "wide", np.array([1e300, 1], dtype="float64"))
    np.testing.assert_array_equal(row(wide, scale=1e10), [np.nan, 1e10])


def test_pixels_outside_the_internal_mask_are_missing(tmp_path: Path):
    mask = np.array([[0, 255, 255]], dtype="uint8")
    folder = pair(tmp_path, np.array([1, 2, 3], dtype="uint8"), mask=mask)
    np.testing.assert_array_equal(row(folder), [np.nan, 2, 3])


def test_transparent_pixels_are_missing_and_alpha_is_no_band(tmp_path: Path):
    image = np.array([[[1, 2, 3]], [[0, 255, 1]]], dtype="uint8")
    for year in (2001, 2002):
        write_raster(tmp_path / f"x_{year}.tif", image, alpha="yes")
    np.testing.assert_array_equal(row(tmp_path), [np.nan, 2, 3])


@pytest.mark.parametrize(
    ("dtype", "options", "expected"),
    [
        *((dtype, {}, "float32") for dtype in ("int8", "uint8", "int16", "uint16", "float32")),
        *((dtype, {}, "float64") for dtype in ("int32", "uint32", "int64", "float64")),
        ("int16", {"scale": 0.0001}, "float64"),
        ("int16", {"offset": 1}, "float64"),
        ("float32", {"scale": 0.1}, "float64"),
    ],
)
def test_float32_only_where_nothing_is_lost(tmp_path: Path, dtype: str, options: dict[str, Any], expected: str):
    stack = pw.open_stack(pair(tmp_path, np.array([1, 2], dtype=dtype)), **options)
    assert stack.dtype == stack.read(stack.grid.block).dtype == np.dtype(expected)
    assert stack.layout.itemsize == np.dtype(expected).itemsize
    assert stack.layout.stored_bytes_per_pixel == len(stack) * np.dtype(dtype).itemsize


def test_one_wide_layer_makes_the_stack_wide(make_stack: MakeStack):
    folder = make_stack(YEARS)
    write_raster(folder / "ndvi_2003.tif", IMAGE.astype("float64") + 1e-9)
    stack = pw.open_stack(folder)
    values = stack.read(stack.grid.block)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values[3], IMAGE.astype("float64") + 1e-9)


def test_large_integers_keep_their_digits(tmp_path: Path):
    stored = np.array([2**24 + 1, 2**31 - 1], dtype="int32")
    np.testing.assert_array_equal(row(pair(tmp_path, stored)), stored)


# ------------------------------------------------------------------------------------------------ selecting


def by_option(folder: Path, **options: Any) -> pw.RasterStack:
    return pw.open_stack(folder, **options)


def by_select(folder: Path, **options: Any) -> pw.RasterStack:
    return pw.open_stack(folder).select(**options)


either_way = pytest.mark.parametrize("choose", [by_option, by_select])
Choose = Callable[..., pw.RasterStack]

DAYS = ["1999-12-31", "2000-06-01", "2000-06-30", "2000-07-01", "2001-06-15"]


@pytest.fixture
def days(make_stack: MakeStack) -> Path:
    return make_stack([IMAGE + i for i in range(5)], DAYS, folder="days")


@either_way
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"start": "2000"}, [1, 2, 3, 4]),
        ({"start": 2000, "end": "2000-06"}, [1, 2]),
        ({"end": "2000-06-30"}, [0, 1, 2]),
        ({"start": dt.date(2000, 6, 30)}, [2, 3, 4]),
        ({"months": [6]}, [1, 2, 4]),
        ({"months": (6, 12), "end": 2000}, [0, 1, 2]),
    ],
)
def test_a_range_of_dates(days: Path, choose: Choose, options: dict[str, Any], kept: list[int]):
    stack = choose(days, **options)
    assert dates_of(stack) == [DAYS[i] for i in kept]
    np.testing.assert_array_equal(stack.read(stack.grid.block), [IMAGE + i for i in kept])


@either_way
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "June"}, "start: cannot read 'June' as a date"),
        ({"end": "200006"}, "end: cannot read '200006' as a date .*write 2001-03 for a month"),
        ({"months": [0, 13]}, r"months 0,13 are not all among 1 to 12"),
        ({"bounds": (0, 1)}, r"bounds \(0, 1\) are not four numbers: expected left, bottom, right, top"),
        ({"bounds": (0, 0, np.inf, 1)}, r"bounds \(0, 0, inf, 1\) are not finite"),
        ({"bounds": "here"}, "bounds 'here' is not a number"),
    ],
)
def test_a_choice_that_is_impossible(days: Path, choose: Choose, options: dict[str, Any], message: str):
    with pytest.raises(pw.ParameterError, match=message):
        choose(days, **options)


def test_a_choice_that_leaves_too_little(days: Path):
    with pytest.raises(
        pw.InputError, match=r"1 of 5 layers are left with end 1999, months 12: a series needs at least"
    ):
        pw.open_stack(days).select(end=1999, months=[12])


@either_way
def test_months_of_layers_that_know_their_year_only(three: Path, choose: Choose):
    with pytest.raises(pw.InputError, match=r"months \[6\] cannot be selected: .*ndvi_2000.tif has only a year"):
        choose(three, months=[6])


@either_way
@pytest.mark.parametrize(
    ("bounds", "rows", "cols"),
    [
        ((500030, 3399880, 500090, 3399970), (1, 4), (1, 3)),  # on pixel edges
        ((500031, 3399881, 500061, 3399969), (1, 4), (1, 3)),  # touches the same pixels
        ((500045, 3399955, 500046, 3399956), (1, 2), (1, 2)),  # within one pixel
        ((0, 0, 500001, 9e6), (0, 6), (0, 1)),  # beyond the image
    ],
)
def test_bounds(
    three: Path,
    choose: Choose,
    bounds: tuple[float, float, float, float],
    rows: tuple[int, int],
    cols: tuple[int, int],
):
    stack = choose(three, bounds=bounds)
    assert stack.grid.transform == at(rows[0], cols[0])
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[:, slice(*rows), slice(*cols)])


@either_way
@pytest.mark.parametrize(
    "transform",
    [
        Affine(30, 0, 500000, 0, 30, 3400000),  # south-up
        Affine.translation(500000, 3400000) @ Affine.rotation(30) @ Affine.scale(30, -30),
    ],
    ids=["south-up", "rotated"],
)
def test_bounds_on_grids_that_do_not_face_north(make_stack: MakeStack, choose: Choose, transform: Affine):
    folder = make_stack(YEARS, transform=transform)
    x, y = transform @ (3.5, 2.5)
    stack = choose(folder, bounds=(x - 1, y - 1, x + 1, y + 1))
    assert stack.grid == pw.Grid(stack.grid.crs, transform @ Affine.translation(3, 2), 1, 1)
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[:, 2:3, 3:4])


def test_bounds_outside(three: Path):
    assert problem_of(three, bounds=(0, 0, 1, 1)) == (
        "bounds (0, 0, 1, 1) lie outside the rasters, which cover (500000.0, 3399820.0, 500210.0, 3400000.0)"
    )
    assert "bounds (1, 1, 0, 0) are empty: expected left, bottom, right, top" in problem_of(three, bounds=(1, 1, 0, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodata": "-9999"}, "nodata '-9999' is not a number"),
        ({"scale": 0}, "scale 0 makes every value the same"),
        ({"scale": np.nan}, "scale nan is not finite"),
        ({"offset": np.inf}, "offset inf is not finite"),
        ({"valid_range": (1, 0)}, r"valid_range \(1, 0\) is empty: expected LOW,HIGH"),
        ({"period": "centre"}, "period='centre' is not one of start, middle, end"),
        (
            {"same_date": "maximum"},
            "same_date='maximum' is not one of keep, first, mosaic, mean, max; did you",
        ),
    ],
)
def test_options_that_are_impossible(three: Path, options: dict[str, Any], message: str):
    with pytest.raises(pw.ParameterError, match=message):
        pw.open_stack(three, **options)


def test_numbers_of_numpy_reach_the_map_as_plain_ones(three: Path, tmp_path: Path):
    left, bottom, right, top = np.array([500000, 3399850, 500100, 3400000])
    stack = pw.open_stack(three, bounds=(left, bottom, right, top), nodata=np.int16(7), band=np.int32(1))
    spec = pw.apply(stack, "ols", tmp_path / "map.tif").provenance["input"]["spec"]
    assert spec == {"bounds": [500000, 3399850, 500100, 3400000], "nodata": [7], "band": 1}


# ------------------------------------------------------------------------------------------------- reading


def truncate(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_a_truncated_file_is_named_on_reading(make_stack: MakeStack):
    folder = make_stack(noise(3, 64, 64), compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    path = truncate(folder / "ndvi_2001.tif")
    stack = pw.open_stack(folder)
    assert stack.read(pw.Block(0, 0, 16, 16)).shape == (3, 16, 16)
    with pytest.raises(pw.InputError) as caught:
        stack.read(pw.Block(48, 32, 16, 32))
    message = str(caught.value)
    assert message.startswith(f"{path}: band 1 cannot be read at rows 48..63, columns 32..63 (")
    assert message.endswith("is the file truncated?")
    with pytest.raises(pw.InputError, match=r"ndvi_2001\.tif: band 1 cannot be read at rows"):
        pw.apply(stack, "ols")


def test_a_truncated_file_of_many_bands_is_named_on_reading(tmp_path: Path):
    path = truncate(write_raster(tmp_path / "stack.tif", noise(3, 64, 64), compress="deflate"))
    table = tmp_path / "dates.txt"
    table.write_text("2001\n2002\n2003\n")
    stack = pw.open_stack(path, times=table)
    with pytest.raises(pw.InputError, match=r"stack\.tif: bands 1, 2, 3 cannot be read at rows 0\.\.63.*truncated\?"):
        stack.read(stack.grid.block)


def test_a_file_that_vanished_is_named_on_reading(three: Path):
    stack = pw.open_stack(three)
    (three / "ndvi_2001.tif").unlink()
    with pytest.raises(pw.InputError, match=r"ndvi_2001\.tif: cannot be opened \(No such file or directory\)$"):
        stack.read(stack.grid.block)


def test_a_file_that_was_replaced_is_read_anew(three: Path):
    before = values_of(three)
    (three / "ndvi_2000.tif").unlink()
    write_raster(three / "ndvi_2000.tif", IMAGE + 1000)
    np.testing.assert_array_equal(values_of(three)[0], before[0] + 1000)


def test_what_gdal_keeps_of_a_file_grows_with_its_blocks(tmp_path: Path):
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    raw = read_header(write_raster(tmp_path / "raw.tif", image, **tiles))
    large = read_header(write_raster(tmp_path / "large.tif", image, tiled=True, blockxsize=64, blockysize=64))
    zstd = read_header(write_raster(tmp_path / "zstd.tif", image, compress="zstd", **tiles))
    bands = read_header(write_raster(tmp_path / "bands.tif", np.stack([image] * 4), interleave="pixel", **tiles))
    block = 16 * 16 * 4
    assert raw.open_file_bytes == (64 << 10) + 1.5 * block
    assert large.open_file_bytes == (64 << 10) + 1.5 * 16 * block
    assert zstd.open_file_bytes == raw.open_file_bytes + block
    assert bands.open_file_bytes == (64 << 10) + 2.5 * 4 * block


def test_what_was_used_last_is_closed_first_because_it_is_needed_last(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
):
    stack = pw.open_stack(make_stack(np.stack([IMAGE] * 6)))
    opened: list[str] = []
    really_open = handles._open
    monkeypatch.setattr(
        handles, "_open", lambda piece, **how: opened.append(piece.path.name) or really_open(piece, **how)
    )
    share = stack.readers(1, handles=4)[0]
    out = np.empty((6, *IMAGE.shape), np.float32)
    for _ in range(5):
        share.read_into(stack.grid.block, (out,))
        assert len(share.handles) == 4
    # Each further block opens two, sometimes three; closing the least recently used would open all six.
    assert len(opened) <= 6 + 4 * 3
    share.close()
    assert not share.handles
    np.testing.assert_array_equal(out, [IMAGE] * 6)


def test_files_of_a_mosaics_other_parts_are_closed_first(
    make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for shard in range(6):
        for year in (2000, 2001):
            name = f"ndvi_{year}-{shard * 2:010d}-0000000000.tif"
            place = ORIGIN @ Affine.translation(0, shard * 2)
            write_raster(tmp_path / name, IMAGE[:2] + shard, transform=place)
    stack = pw.open_stack(tmp_path)
    share = stack.readers(1, handles=4)[0]
    out = np.empty((2, 2, 7), np.float32)
    for shard in range(6):
        for _ in range(2):
            share.read_into(pw.Block(shard * 2, 0, 2, 7), (out,))
        # Whatever came before, the files of this part are open.
        assert {f"ndvi_{year}-{shard * 2:010d}-0000000000.tif" for year in (2000, 2001)} <= {
            path.name for path, _ in share.handles
        }
        np.testing.assert_array_equal(out, [IMAGE[:2] + shard] * 2)


def test_few_files_are_open_at_once(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch):
    stack = pw.open_stack(make_stack(np.stack([IMAGE] * 20)))
    # All threads share the limit, whoever made them.
    monkeypatch.setattr("pixelwise.rasters.handles.file_limit", lambda: 9 * len(ALL_OPEN_FILES))
    with reading((stack,)):
        values = stack.read(stack.grid.block)
        assert len(HANDLES.open_files) == 9
    assert not HANDLES.open_files
    np.testing.assert_array_equal(values, [IMAGE] * 20)


def vrt_of(path: Path, source: str, tag: str = "SourceFilename", root: str = "<VRTDataset") -> Path:
    """Write a VRT of one float32 band whose source element is spelt as wanted."""
    path.write_text(
        f"""{root} rasterXSize="7" rasterYSize="6"><SRS>EPSG:32617</SRS>
        <GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform>
        <VRTRasterBand dataType="Float32" band="1"><SimpleSource>
        <{tag} relativeToVRT="0">{source}</{tag}><SourceBand>1</SourceBand>
        </SimpleSource></VRTRasterBand></VRTDataset>"""
    )
    return path


@pytest.mark.parametrize(
    ("tag", "root"),
    [
        ("SourceFilename", "<VRTDataset"),
        ("sourcefilename", "<VRTDataset"),
        ("SOURCEFILENAME", '<VRTDataset xmlns="urn:x"'),
    ],
)
def test_no_spelling_of_a_vrt_reaches_the_network(three: Path, tag: str, root: str):
    path = vrt_of(three / "ndvi_2005.vrt", "/vsicurl/http://127.0.0.1:1/a.tif", tag, root)
    assert problem_of(three) == f"{path}: its source '/vsicurl/http://127.0.0.1:1/a.tif' is not a local file"


def test_what_a_vrt_names_elsewhere_is_refused(three: Path):
    path = vrt_of(three / "ndvi_2005.vrt", str(three / "ndvi_2000.tif"))
    text = path.read_text()
    path.write_text(
        text.replace("</VRTDataset>", "<OverviewList>/vsicurl/http://127.0.0.1:1/o</OverviewList></VRTDataset>")
    )
    assert "its element overviewlist names '/vsicurl/" in problem_of(three)
    path.write_text(text.replace("<VRTDataset", '<VRTDataset subClass="VRTProcessedDataset"', 1))
    assert "a VRT of class 'VRTProcessedDataset' is not read" in problem_of(three)
    path.write_text(text.replace("<VRTDataset", '<VRTDataset SUBCLASS="VRTProcessedDataset"', 1))
    assert "a VRT of class 'VRTProcessedDataset' is not read" in problem_of(three)
    path.write_text(text)
    assert len(pw.open_stack([*sorted(three.glob("*.tif")), path])) == 4


def test_the_mask_of_a_single_band_is_honoured(three: Path):
    mask = write_raster(three / "masks" / "mask.tif", (np.arange(42).reshape(6, 7) % 2 * 255).astype(np.uint8))
    path = vrt_of(three / "ndvi_2005.vrt", str(three / "ndvi_2000.tif"))
    band = f"""<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename>{mask}</SourceFilename>
        <SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand></VRTDataset>"""
    path.write_text(path.read_text().replace("</VRTRasterBand></VRTDataset>", band))
    values = values_of([three / "ndvi_2000.tif", path])
    assert np.isnan(values[1].ravel()[::2]).all()
    assert not np.isnan(values[1].ravel()[1::2]).any()


def test_the_valid_range_includes_its_limits_as_stored(make_stack: MakeStack):
    values = np.full((2, 2, 2), -0.2, np.float32)
    assert np.isnan(values_of(make_stack(values), valid_range=(-0.19, 1))).all()
    np.testing.assert_array_equal(values_of(make_stack(values), valid_range=(-0.2, 1)), values)


def test_a_mean_of_equal_dates_has_the_same_bits_in_any_block(tmp_path: Path):
    random = np.random.default_rng(0)
    for date in ("2001-01-01", "2002-01-01"):
        for member in range(10):
            stored = random.integers(0, 10000, (5, 5)).astype(np.int16)
            write_raster(tmp_path / f"{member}_{date}.tif", stored, scales=(0.0001,))
    stack = pw.open_stack(tmp_path, same_date="mean")
    whole = stack.read(stack.grid.block)
    for block in stack.grid.blocks(1, 1):
        assert stack.read(block).tobytes() == whole[:, *block.slices].tobytes()


def test_a_block_outside_the_grid_is_a_mistake_of_the_program(three: Path):
    stack = pw.open_stack(three)
    with pytest.raises(ValueError, match=r"Block\(row=5, col=0, height=2, width=7\) lies outside"):
        stack.read(pw.Block(5, 0, 2, 7))


# --------------------------------------------------------------------------------------- surveys and stacks


def test_a_survey_lists_what_it_found_beside_the_problems(three: Path):
    (three / "ndvi_2003.tif").write_bytes(b"")
    undated = write_raster(three / "landsat_2004.tif", YEARS, descriptions=["Red", "Green", "NIR"])
    found = survey(three, pw.InputSpec())
    assert [layer.pieces[0].path.name for layer in found.layers] == [f"ndvi_{year}.tif" for year in (2000, 2001, 2002)]
    assert found.undated == (undated,)
    assert len(found.problems) == 2
    with pytest.raises(pw.InputError) as caught:
        found.stack()
    assert caught.value.problems == found.problems
    assert pickle.loads(pickle.dumps(caught.value)).problems == found.problems


class Multiplied:
    """Another stack times a number, with nothing but what the protocol asks for."""

    def __init__(self, stack: pw.Stack, factor: float) -> None:
        self._stack, self._factor = stack, factor

    @property
    def grid(self) -> pw.Grid:
        return self._stack.grid

    @property
    def axis(self) -> pw.TimeAxis:
        return self._stack.axis

    def read(self, block: pw.Block) -> Any:
        return self._stack.read(block) * np.float64(self._factor)


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_the_engine_knows_a_stack_by_grid_axis_and_read(three: Path, tmp_path: Path, executor: str):
    stack = Multiplied(pw.open_stack(three), 0.5)
    assert isinstance(stack, pw.Stack)
    assert layout_of(stack) == Layout()
    trend = pw.apply(stack, "ols", tmp_path / "map.tif", executor=executor)
    np.testing.assert_allclose(trend["slope"], np.full((6, 7), 50))
    assert trend.grid == stack.grid
    assert trend.provenance["input"]["kind"] == "Multiplied"
    assert (trend.provenance["input"]["first"], trend.provenance["input"]["layers"]) == ("2000-01-01", 3)


def test_a_stack_derived_from_a_derived_stack(three: Path):
    stack = Multiplied(Multiplied(pw.open_stack(three), 2), 3)
    np.testing.assert_allclose(pw.apply(stack, "ols", executor="inline")["slope"], np.full((6, 7), 600))


def test_only_the_file_without_a_date_is_named(tmp_path: Path) -> None:
    for name in (*(f"ndvi_{year}" for year in range(2001, 2007)), "mean"):
        write_raster(tmp_path / f"{name}.tif", YEARS[0])
    found = survey(tmp_path, pw.InputSpec())
    assert found.undated == (tmp_path / "mean.tif",)
