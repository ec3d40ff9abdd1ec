"""Files of which a part cannot be read: tried again, named, or counted as missing where that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.errors import RasterioIOError

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.maps.tag import decode_provenance
from pixelwise.rasters import handles
from pixelwise.rasters import windows as reading_module
from pixelwise.rasters.tags import TILE_COUNTS, TILE_OFFSETS, read_tags
from pixelwise.verify.compare import verify
from support.halo import BoxMean
from support.limits import set_limits
from support.rasters import MakeStack, random_series, write_raster

VALUES = random_series((6, 150, 130), seed=3)
#: The tile of rows 64..95, columns 32..63 of the layer of 2002.
BAD = np.s_[2, 64:96, 32:64]
TILED = {"tiled": True, "blockxsize": 32, "blockysize": 32}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again without waiting."""
    monkeypatch.setattr(reading_module, "RETRY_SECONDS", (0.0, 0.0))


def damage(path: Path, tile: int) -> None:
    """Overwrite a tile with what no decoder takes."""
    with path.open("r+b") as file:
        tags = read_tags(file, (TILE_OFFSETS, TILE_COUNTS))
        file.seek(int(tags[TILE_OFFSETS][tile]))
        file.write(b"\x00" * int(tags[TILE_COUNTS][tile]))


#: How damaged files are compressed: zstd, unless a test tries all.
EVERY = pytest.mark.parametrize("folder", ["deflate", "lzw", "zstd"], indirect=True)


@pytest.fixture
def folder(make_stack: MakeStack, request: pytest.FixtureRequest) -> Path:
    folder = make_stack(VALUES, compress=getattr(request, "param", "zstd"), **TILED)
    damage(folder / "ndvi_2002.tif", 2 * 5 + 1)
    return folder


@pytest.fixture
def expected(make_stack: MakeStack) -> pw.Map:
    """The map of what is whole."""
    values = VALUES.copy()
    values[BAD] = np.nan
    return pw.apply(pw.open_stack(make_stack(values, folder="whole")), "ols")


def assert_lost(found: pw.Map, expected: pw.Map) -> None:
    for name in expected.names[:-1]:
        assert found[name].tobytes() == expected[name].tobytes(), name
    status = expected.status.copy()
    status[BAD[1:]][status[BAD[1:]] == 0] = 8
    assert (status == 8).sum() > 500
    np.testing.assert_array_equal(found.status, status)


@EVERY
def test_stops_and_names_file_band_and_window(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(pw.InputError, match=r"ndvi_2002\.tif: band 1 cannot be read at rows \d+\.\.\d+, columns 0\.\."):
        pw.apply(pw.open_stack(folder), "ols", tmp_path / "trend.tif")
    assert not list(tmp_path.glob("*trend*"))


@EVERY
@pytest.mark.parametrize(
    ("executor", "window_bytes"),
    [
        *((executor, size) for executor in ("threads", "inline") for size in (64, 4096, 1 << 20)),
        # One plan is enough where processes must be started.
        pytest.param("processes", 4096, marks=pytest.mark.long),
    ],
)
def test_the_block_of_the_file_is_missing_whatever_the_plan(
    folder: Path, expected: pw.Map, executor: str, window_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, window_bytes=window_bytes)
    stack = pw.open_stack(folder, on_read_error="missing")
    assert_lost(pw.apply(stack, "ols", executor=executor, jobs=2), expected)


def test_a_team_says_what_it_lost(folder: Path, expected: pw.Map, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, block_bytes=1)
    stack = pw.open_stack(folder, on_read_error="missing")
    found = pw.apply(stack, "ols", jobs=2)
    assert_lost(found, expected)
    assert found.provenance["lost"]["pixels"] == 32 * 32


def test_it_is_told_and_kept_in_the_tags(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pw.apply(pw.open_stack(folder, on_read_error="missing"), "ols", tmp_path / "trend.tif", jobs=2)
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "read" in r.getMessage()]
    assert len(told) == 2
    assert "ndvi_2002.tif: band 1 cannot be read at rows 64..95, columns 32..63 (" in told[0]
    assert told[1].startswith("1024 pixels, counted over all dates, could not be read in 1 file(s) and count")
    with rasterio.open(tmp_path / "trend.tif") as dataset:
        provenance = decode_provenance(dataset.tags()["PIXELWISE"])
    assert provenance["lost"] == {"pixels": 1024, "files": 1, "worst": [["stack/ndvi_2002.tif", 1, 1024]]}
    assert provenance["input"]["spec"] == {"on_read_error": "missing"}


def test_a_job_that_goes_on_keeps_what_was_lost_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=4096)
    stack = pw.open_stack(folder, on_read_error="missing")

    def stop_late(done: int, total: int) -> None:
        if done > total * 0.7:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pw.apply(stack, "ols", tmp_path / "trend.tif", jobs=1, progress=stop_late)
    found = pw.apply(stack, "ols", tmp_path / "trend.tif", jobs=1)
    assert found.provenance["lost"]["pixels"] == 1024
    with pytest.raises(ZeroDivisionError):
        pw.apply(stack, "ols", tmp_path / "other.tif", jobs=1, progress=stop_late)
    # Whether holes are allowed is part of the job.
    with pytest.raises(pw.OutputError, match=r"a different unfinished job left.* input"):
        pw.apply(pw.open_stack(folder), "ols", tmp_path / "other.tif", jobs=1)


def test_a_moment_of_a_disk_is_waited_for(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_stack(VALUES, compress="zstd", **TILED)
    expected = pw.apply(pw.open_stack(folder), "ols")
    pauses: list[float] = []
    monkeypatch.setattr(reading_module, "RETRY_SECONDS", (0.2, 1.0))
    monkeypatch.setattr(reading_module.time, "sleep", pauses.append)
    opened = handles._open
    failures = 2

    class Moody:
        """A dataset that fails twice."""

        def __init__(self, dataset: Any) -> None:
            self._dataset = dataset

        def __getattr__(self, name: str) -> Any:
            return getattr(self._dataset, name)

        def read(self, *args: Any, **options: Any) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise RasterioIOError("the network is away")
            return self._dataset.read(*args, **options)

    stack = pw.open_stack(folder)
    monkeypatch.setattr(handles, "_open", lambda piece, gdal=False: Moody(opened(piece, gdal=gdal)))
    found = pw.apply(stack, "ols", executor="inline")
    assert found["slope"].tobytes() == expected["slope"].tobytes()
    assert pauses == [0.2, 1.0]
    assert not failures


def test_nobody_waits_twice_for_a_broken_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(folder / "ndvi_2002.tif", 6)
    pauses: list[float] = []
    monkeypatch.setattr(reading_module, "RETRY_SECONDS", (0.2, 1.0))
    monkeypatch.setattr(reading_module.time, "sleep", pauses.append)
    set_limits(monkeypatch, window_bytes=64)
    stack = pw.open_stack(folder, on_read_error="missing")
    found = pw.apply(stack, "ols", executor="inline")
    assert found.provenance["lost"]["pixels"] == 2 * 1024
    # Once by the look at a sample before the job, if that meets it, and once by the job.
    assert pauses in ([0.2, 1.0], [0.2, 1.0] * 2)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_bands_of_one_file(tmp_path: Path, interleave: str) -> None:
    path = tmp_path / "ndvi.tif"
    names = [str(year) for year in range(2000, 2006)]
    write_raster(path, VALUES, compress="deflate", interleave=interleave, descriptions=names, **TILED)
    damage(path, 11 + (2 * 25 if interleave == "band" else 0))
    found = pw.apply(pw.open_stack(path, on_read_error="missing"), "ols")
    values = VALUES.copy()
    values[BAD if interleave == "band" else np.s_[:, 64:96, 32:64]] = np.nan
    write_raster(tmp_path / "whole.tif", values, descriptions=names)
    expected = pw.apply(pw.open_stack(tmp_path / "whole.tif"), "ols")
    if interleave == "band":
        assert_lost(found, expected)
    else:
        assert found["slope"].tobytes() == expected["slope"].tobytes()
        assert (found.status[64:96, 32:64] == 1).all()  # nothing is left there
    lost = found.provenance["lost"]
    assert lost["pixels"] == 1024 * (1 if interleave == "band" else 6)


def test_a_mask_of_bands_that_are_converted_is_that_of_the_band(tmp_path: Path) -> None:
    path, names = tmp_path / "ndvi.tif", [str(year) for year in range(2000, 2006)]
    stored = np.nan_to_num(VALUES * 100, nan=-99).astype(np.int16)
    write_raster(path, stored, compress="deflate", interleave="band", nodata=-99, descriptions=names, **TILED)
    whole = pw.open_stack(path).read(pw.Block(0, 0, 150, 130))
    damage(path, 11 + 2 * 25)
    found = pw.open_stack(path, on_read_error="missing").read(pw.Block(0, 0, 150, 130))
    whole[BAD] = np.nan
    np.testing.assert_array_equal(found, whole)


def test_a_truncated_file_of_strips(make_stack: MakeStack, expected: pw.Map) -> None:
    folder = make_stack(VALUES, compress="lzw", tiled=False, blockysize=10)
    path = folder / "ndvi_2003.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = pw.apply(pw.open_stack(folder, on_read_error="missing"), "ols")
    rows = np.flatnonzero((found.status == 8).any(axis=1))
    assert 40 < len(rows) <= 60
    values = VALUES.copy()
    values[3, rows[0] :] = np.nan
    wanted = pw.apply(pw.open_stack(make_stack(values, folder="cut")), "ols")
    assert found["slope"].tobytes() == wanted["slope"].tobytes()


def test_a_file_that_cannot_be_opened_is_not_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No handles left, or rights taken away: nothing is wrong with the data."""
    stack = pw.open_stack(folder, on_read_error="missing")
    opened = handles._open

    def refuse(piece: Any, *, gdal: bool = False) -> Any:
        if piece.path.name == "ndvi_2004.tif":
            raise RasterioIOError(f"{piece.path}: Too many open files")
        return opened(piece, gdal=gdal)

    monkeypatch.setattr(handles, "_open", refuse)
    with pytest.raises(pw.InputError, match=r"ndvi_2004\.tif: cannot be opened \(Too many open files\)"):
        pw.apply(stack, "ols", executor="inline")


def test_masks_of_what_is_whole_count(make_stack: MakeStack, tmp_path: Path) -> None:
    mask = np.where(np.random.default_rng(0).random((150, 130)) < 0.3, 0, 255).astype(np.uint8)
    folder = make_stack(np.nan_to_num(VALUES), mask=mask, compress="deflate", **TILED)
    whole = pw.apply(pw.open_stack(folder), "ols")
    damage(folder / "ndvi_2002.tif", 11)
    found = pw.apply(pw.open_stack(folder, on_read_error="missing"), "ols")
    touched = np.zeros(mask.shape, bool)
    touched[BAD[1:]] = True
    # GDAL may keep the mask in tiles of its own: only where data is lost does anything change.
    same = (found["n"] == whole["n"]) & (found.status == whole.status)
    assert same[~touched].all()
    assert (found["n"] == whole["n"] - (mask > 0))[touched].all()


def test_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    refused = CliRunner().invoke(main, ["apply", "ols", "stack", "-o", "trend.tif"])
    assert refused.exit_code == 1
    assert "error: stack/ndvi_2002.tif: band 1 cannot be read at rows" in refused.stderr
    done = CliRunner().invoke(main, ["apply", "ols", "stack", "-o", "trend.tif", "--on-read-error", "missing"])
    assert done.exit_code == 0
    assert "counts as missing" in done.stderr
    assert "dates lost" in done.stderr


def test_an_unknown_treatment(folder: Path) -> None:
    with pytest.raises(pw.ParameterError, match="on_read_error='skip' is not one of stop, missing"):
        pw.open_stack(folder, on_read_error="skip")  # type: ignore[arg-type]


def test_a_halo_reaches_into_what_is_lost(folder: Path) -> None:
    found = pw.apply(pw.open_stack(folder, on_read_error="missing"), BoxMean())
    lost = np.zeros((150, 130), bool)
    lost[63:97, 31:65] = True
    assert ((found.status == 8) <= lost).all()
    assert (found.status == 8)[63, 31:65].any()


def test_verify_loses_the_same(folder: Path, tmp_path: Path) -> None:
    map_ = pw.apply(pw.open_stack(folder, on_read_error="missing"), "ols", tmp_path / "trend.tif")
    assert (map_.status == 8).any()
    assert not verify(tmp_path / "trend.tif", pixels=2000).differing
    with rasterio.open(tmp_path / "trend.tif", "r+") as dataset:
        status = dataset.read(dataset.count)
        dataset.write(np.where(status == 8, 0, status), dataset.count)
    found = verify(tmp_path / "trend.tif", pixels=2000)
    assert found.differing > 50
    assert {difference.recomputed for difference in found.differences} == {8.0}


@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_a_damaged_stream_is_no_data(make_stack: MakeStack, predictor: int) -> None:
    """GDAL 3.10 reads numbers from the tile of a crashed writer, zeros in its second half, if it has a predictor."""
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": predictor}
    values = random_series((4, 256, 512), seed=1)
    folder = make_stack(values, **layout)
    path = folder / "ndvi_2001.tif"
    with path.open("r+b") as file:
        tags = read_tags(file, (TILE_OFFSETS, TILE_COUNTS))
        offset, count = int(tags[TILE_OFFSETS][1]), int(tags[TILE_COUNTS][1])
        file.seek(offset + count // 2)
        file.write(b"\0" * (count - count // 2))
    with pytest.raises(pw.InputError, match=r"ndvi_2001\.tif: band 1 cannot be read at .*damaged DEFLATE stream"):
        pw.apply(pw.open_stack(folder), "ols")
    found = pw.apply(pw.open_stack(folder, on_read_error="missing"), "ols")
    assert found.provenance["lost"]["pixels"] == 256 * 256
    values[1, :, 256:] = np.nan
    wanted = pw.apply(pw.open_stack(make_stack(values, folder="whole", **layout)), "ols")
    assert found["slope"].tobytes() == wanted["slope"].tobytes()


VRT = """<VRTDataset rasterXSize="130" rasterYSize="150"><SRS>EPSG:32617</SRS>
<GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform><VRTRasterBand dataType="Float32" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""


def test_behind_a_vrt_the_loss_is_the_same_whatever_the_plan(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vrt").mkdir()
    for path in folder.iterdir():
        (tmp_path / "vrt" / f"{path.stem}.vrt").write_text(VRT.format(path=path))
    stack = pw.open_stack(tmp_path / "vrt", on_read_error="missing")
    found = []
    for window_bytes in (64, 4096, 1 << 20):
        set_limits(monkeypatch, window_bytes=window_bytes)
        found.append(pw.apply(stack, "ols", tmp_path / f"{window_bytes}.tif", executor="inline"))
    # Also of a window that does not touch what is broken.
    whole = stack.read(stack.grid.block)
    np.testing.assert_array_equal(stack.read(pw.Block(0, 0, 16, 16)), whole[:, :16, :16])
    assert np.isnan(whole[2, :16, :16]).all()
    lost = found[0].provenance["lost"]["pixels"]
    assert 1024 <= lost <= 128 * 128
    for other in found[1:]:
        assert other["slope"].tobytes() == found[0]["slope"].tobytes()
        assert other.status.tobytes() == found[0].status.tobytes()
        assert other.provenance["lost"]["pixels"] == lost
    assert not verify(tmp_path / "64.tif", stack.paths).differing


def test_a_halo_counts_what_is_lost_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for window_bytes in (64, 1 << 20):
        set_limits(monkeypatch, window_bytes=window_bytes)
        found = pw.apply(pw.open_stack(folder, on_read_error="missing"), BoxMean(), jobs=2)
        assert found.provenance["lost"]["pixels"] == 1024


def test_a_raw_file_that_was_cut_short(tmp_path: Path) -> None:
    """GDAL would read zeros, which count as observations."""
    for year, layer in zip(range(2000, 2004), VALUES, strict=False):
        write_raster(tmp_path / f"ndvi_{year}.img", layer, driver="ENVI")
    stack = pw.open_stack(tmp_path)
    path = tmp_path / "ndvi_2002.img"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(pw.InputError, match=r"ndvi_2002\.img: not a raster that can be read"):
        pw.open_stack(tmp_path)
    with pytest.raises(pw.InputError, match=r"ndvi_2002\.img: cannot be opened"):
        stack.read(stack.grid.block)
