"""Scenes as archives deliver them: products, band maths, masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

import pixelwise as pw
from pixelwise import ParameterError
from pixelwise.rasters import handles
from pixelwise.stacks.masks import grow
from support.command_line import run
from support.limits import set_limits
from support.rasters import PROFILE, read_all, refusal_of, write_raster

Shared = Callable[[str], Path]
ORIGIN = PROFILE["transform"]
SIZE = (24, 30)


# ----------------------------------------------------------------------------------------------- Landsat

#: What each sensor calls its bands.
BANDS = {
    "LT05": {"red": "SR_B3", "nir": "SR_B4", "swir2": "SR_B7"},
    "LE07": {"red": "SR_B3", "nir": "SR_B4", "swir2": "SR_B7"},
    "LC08": {"red": "SR_B4", "nir": "SR_B5", "swir2": "SR_B7"},
}
SCENES = {
    "LT05_L2SP_014032_20040711_20200903_02_T1": "LT05",
    "LE07_L2SP_014032_20050706_20200914_02_T1": "LE07",
    "LC08_L2SP_014032_20150710_20200908_02_T1": "LC08",
    "LC08_L2SP_014032_20160712_20200906_02_T1": "LC08",
}


def reflectances(index: int) -> tuple[Any, Any]:
    """Return stored numbers of red and near infrared: 0.05 to 0.15 and 0.2 to 0.5."""
    random = np.random.default_rng(index)
    red, nir = random.uniform(0.05, 0.15, SIZE), random.uniform(0.2, 0.5, SIZE)
    return tuple(np.round((band + 0.2) / 0.0000275).astype(np.uint16) for band in (red, nir))  # type: ignore[return-value]


def value_of(stored: Any) -> Any:
    return stored * 0.0000275 + -0.2


@pytest.fixture
def landsat(tmp_path: Path) -> Path:
    """Write four scenes of three sensors as USGS delivers them, each in a folder of its own."""
    for index, (scene, sensor) in enumerate(SCENES.items()):
        red, nir = reflectances(index)
        red[0, 0] = 0  # fill
        nir[0, 1] = 50000  # beyond the valid range
        quality = np.full(SIZE, 21824, np.uint16)  # clear
        quality[2, 3:6] = 22280  # cloud of high confidence: bit 3
        quality[5, 5] = 23888  # cloud shadow: bit 4
        radiometry = np.zeros(SIZE, np.uint16)
        radiometry[7, 7] = 1 << 3
        folder = tmp_path / "landsat" / scene
        for token, values in (
            (BANDS[sensor]["red"], red), (BANDS[sensor]["nir"], nir), ("QA_PIXEL", quality), ("QA_RADSAT", radiometry),
        ):  # fmt: skip
            write_raster(folder / f"{scene}_{token}.TIF", values, nodata=1 if token == "QA_PIXEL" else None)
        write_raster(folder / f"{scene}_ST_B10.TIF", red)
        (folder / f"{scene}_MTL.txt").write_text("not a raster")
    return tmp_path / "landsat"


def expected_ndvi() -> Any:
    layers = []
    for index in range(len(SCENES)):
        red, nir = (value_of(stored) for stored in reflectances(index))
        layers.append((nir - red) / (nir + red))
        for place in ((0, 0), (0, 1), (2, slice(3, 6)), (5, 5), (7, 7)):
            layers[-1][place] = np.nan
    return np.array(layers)


def test_landsat_of_several_sensors(landsat: Path) -> None:
    stack = pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", value="ndvi")
    assert [str(day) for day in stack.axis.days] == ["2004-07-11", "2005-07-06", "2015-07-10", "2016-07-12"]
    assert [layer.sensors for layer in stack.layers] == [("LT05",), ("LE07",), ("LC08",), ("LC08",)]
    assert stack.dtype == np.float64
    np.testing.assert_array_equal(read_all(stack), expected_ndvi())
    # By blocks, by a team, as a crop.
    parts = np.empty_like(expected_ndvi())
    for block in stack.grid.blocks(7, 11):
        parts[(slice(None), *block.slices)] = stack.read(block)
    np.testing.assert_array_equal(parts, expected_ndvi())
    np.testing.assert_array_equal(read_all(stack.crop(pw.Block(1, 2, 9, 9))), expected_ndvi()[:, 1:10, 2:11])


def test_a_band_by_its_name(landsat: Path) -> None:
    stack = pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", band="nir", mask="none")
    for index, found in enumerate(read_all(stack)):
        nir = value_of(reflectances(index)[1])
        nir[0, 1] = np.nan
        np.testing.assert_array_equal(found, nir)
    ranged = pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", band="nir", valid_range=(0.3, 0.4))
    assert 0.3 <= np.nanmin(read_all(ranged)) <= np.nanmax(read_all(ranged)) <= 0.4


def test_the_trap_between_red_and_near_infrared(landsat: Path) -> None:
    """SR_B4 is near infrared in Landsat 5 and 7, and red in Landsat 8."""
    text = refusal_of(f"{landsat}/**/*_SR_B4.TIF")
    assert (
        "the files are from several sensors, in which the same band is a different colour: red in LC08 (LC08_L2SP"
        in text
    )
    assert "; nir in LT05 (LT05_L2SP_014032_20040711" in text
    assert "--product landsat-c2-l2 --band NAME" in text
    text = refusal_of(f"{landsat}/**/LC08*.TIF")
    assert "they are bands of one image: use --product landsat-c2-l2 --value FORMULA (or --band NAME)" in text
    # Who takes red of both knows what he does.
    files = [*landsat.glob("L[TE]*/*_SR_B3.TIF"), *landsat.glob("LC*/*_SR_B4.TIF")]
    assert len(pw.open_stack(files)) == 4
    with pytest.raises(
        ParameterError, match=r"band 4 of landsat-c2-l2 is not the same colour in all sensors: give its name \("
    ):
        pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", band=4)


def test_the_trap_in_bands_of_one_file(tmp_path: Path) -> None:
    for scene, sensor in (("LT05_014032_20040711", "LT05"), ("LC08_014032_20150710", "LC08")):
        tokens = sorted(BANDS[sensor].values())
        write_raster(tmp_path / f"{scene}.tif", np.stack([np.full((3, 4), 20000, np.uint16)] * 3), descriptions=tokens)
    assert "the same band is a different colour: red in LC08 (LC08_014032_20150710.tif); nir in LT05" in refusal_of(
        tmp_path, band="SR_B4"
    )
    assert "the same band is a different colour" in refusal_of(tmp_path, value="SR_B4 / SR_B7")
    # By number, the first two bands are red and near infrared in both.
    np.testing.assert_array_equal(read_all(pw.open_stack(tmp_path, value="b2 / b1")), np.ones((2, 3, 4)))
    stack = pw.open_stack(tmp_path, product="landsat-c2-l2", value="nir / red", mask="none")
    np.testing.assert_array_equal(read_all(stack), np.ones((2, 3, 4)))
    assert "QA_PIXEL, which marks clouds; add it" in refusal_of(tmp_path, product="landsat-c2-l2", value="nir / red")


def test_rules_of_masks_instead_of_the_products_own(landsat: Path) -> None:
    source, product = f"{landsat}/**/*.TIF", "landsat-c2-l2"
    only_shadow = read_all(pw.open_stack(source, product=product, band="red", mask_bits=[4]))
    assert np.isnan(only_shadow[:, 5, 5]).all()
    assert np.isfinite(only_shadow[:, 2, 4]).all()
    assert np.isnan(only_shadow[:, 7, 7]).all()  # QA_RADSAT stays
    field = read_all(pw.open_stack(source, product=product, band="red", mask_field="8-9=3"))
    assert np.isnan(field[:, 2, 4]).all()


def test_masks_of_ones_own_instead_of_the_products(landsat: Path, tmp_path: Path) -> None:
    rejected = np.random.default_rng(0).random((4, *SIZE)) < 0.2
    for scene, mask in zip(SCENES, rejected, strict=True):
        write_raster(tmp_path / "mine" / f"clouds_{scene[17:25]}.tif", mask.astype(np.uint8))
    stack = pw.open_stack(
        f"{landsat}/**/*.TIF", product="landsat-c2-l2", band="red", mask=str(tmp_path / "mine"), mask_drop=1
    )
    rejected[:, 0, 0] = True  # fill
    np.testing.assert_array_equal(np.isnan(read_all(stack)), rejected)
    assert [quality.band[:6] for quality in stack.derivation.qualities] == ["--mask"]
    with pytest.raises(ParameterError, match="mask_band is for files without a product"):
        pw.open_stack(landsat, product="landsat-c2-l2", band="red", mask_band=2, mask_drop=1)


@pytest.mark.parametrize("grow", [1, 3])
def test_growing(landsat: Path, grow: int) -> None:
    stack = pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", band="red", grow=grow)
    rejected = np.zeros(SIZE, bool)
    for row, col in ((2, 3), (2, 4), (2, 5), (5, 5), (7, 7)):
        rejected[max(row - grow, 0) : row + grow + 1, max(col - grow, 0) : col + grow + 1] = True
    rejected[0, 0] = True  # fill
    np.testing.assert_array_equal(np.isnan(read_all(stack)), np.broadcast_to(rejected, (4, *SIZE)))
    for block in stack.grid.blocks(5, 4):
        np.testing.assert_array_equal(np.isnan(stack.read(block))[0], rejected[block.slices])


def test_what_is_wrong_with_products(landsat: Path, tmp_path: Path) -> None:
    source = f"{landsat}/**/*.TIF"
    with pytest.raises(ParameterError, match="unknown product 'landsat'; did you mean 'landsat-c2-l2'"):
        pw.open_stack(source, product="landsat", value="ndvi")
    with pytest.raises(ParameterError, match=r"unknown band of .* 'redd'; did you mean 'red'"):
        pw.open_stack(source, product="landsat-c2-l2", band="redd")
    with pytest.raises(ParameterError, match=r"'nirr'.*did you mean 'nir'"):
        pw.open_stack(source, product="landsat-c2-l2", value="nirr / red")
    with pytest.raises(ParameterError, match="column 1"):
        pw.open_stack(source, product="landsat-c2-l2", value="__import__('os').system('true')")
    with pytest.raises(ParameterError, match=r"several bands: choose --band NAME or --value FORMULA \(.*red, nir"):
        pw.open_stack(source, product="landsat-c2-l2")
    with pytest.raises(ParameterError, match="are mutually exclusive: a formula names its bands"):
        pw.open_stack(source, product="landsat-c2-l2", band="red", value="ndvi")
    other = write_raster(tmp_path / "other" / "ndvi_2001.tif", np.zeros((3, 3)))
    assert f"none of 1 files is named like a file of landsat-c2-l2: {other}" in refusal_of(
        other, product="landsat-c2-l2", value="ndvi"
    )
    scene = next(iter(SCENES))
    (landsat / scene / f"{scene}_SR_B3.TIF").unlink()
    assert f"{scene}: has no file for red" in refusal_of(source, product="landsat-c2-l2", value="ndvi")
    (landsat / scene / f"{scene}_QA_PIXEL.TIF").unlink()
    assert f"{scene}: has no QA_PIXEL, which marks clouds" in refusal_of(source, product="landsat-c2-l2", band="nir")


def test_rows_of_one_date(tmp_path: Path) -> None:
    """Two rows of a path overlap; each has its own clouds, and a mosaic looks through them."""
    whole = np.random.default_rng(0).integers(10000, 30000, (2, 40, 30), dtype=np.uint16)
    cloudy = np.zeros((2, 2, 40, 30), bool)
    for year, values in zip((2015, 2016), whole, strict=True):
        for row, place in ((31, 0), (32, 15)):
            part = values[place : place + 25]
            cloudy[year - 2015, row - 31, place : place + 25] = np.random.default_rng(row).random(part.shape) < 0.3
            quality = np.where(cloudy[year - 2015, row - 31, place : place + 25], 22280, 21824).astype(np.uint16)
            scene = f"LC08_L2SP_0140{row}_{year}0710_20200908_02_T1"
            for token, band in (("SR_B4", part), ("QA_PIXEL", quality)):
                transform = ORIGIN @ Affine.translation(0, place)
                write_raster(tmp_path / f"{scene}_{token}.TIF", band, transform=transform)
            cloudy[year - 2015, row - 31, :place] = cloudy[year - 2015, row - 31, place + 25 :] = True
    options = {"product": "landsat-c2-l2", "band": "red", "extent": "union"}
    assert "overlap and have the same date (2015-07-10): choose with --same-date" in refusal_of(tmp_path, **options)
    stack = pw.open_stack(tmp_path, same_date="mosaic", **options)
    assert len(stack) == 2
    np.testing.assert_array_equal(read_all(stack), np.where(cloudy.all(axis=1), np.nan, value_of(whole)))
    first = pw.open_stack(tmp_path, same_date="first", **options)
    expected = np.where(cloudy[:, 0], np.nan, value_of(whole))
    expected[:, 25:] = np.where(cloudy[:, 1], np.nan, value_of(whole))[:, 25:]
    np.testing.assert_array_equal(read_all(first), expected)


def test_an_optional_mask_that_one_tile_has_not(tmp_path: Path) -> None:
    """Without QA_RADSAT a tile is not saturated; beside one that has it, it keeps its pixels."""
    stored = np.full((8, 10), 20000, np.uint16)
    for year in (2015, 2016):
        for row, col in ((31, 0), (32, 10)):
            scene, there = f"LC08_L2SP_0140{row}_{year}0710_20200908_02_T1", ORIGIN @ Affine.translation(col, 0)
            write_raster(tmp_path / f"{scene}_SR_B4.TIF", stored, transform=there)
            write_raster(tmp_path / f"{scene}_QA_PIXEL.TIF", np.full((8, 10), 21824, np.uint16), transform=there)
            if row == 31:
                saturated = np.zeros((8, 10), np.uint16)
                saturated[:, 3] = 8
                write_raster(tmp_path / f"{scene}_QA_RADSAT.TIF", saturated, transform=there)
    stack = pw.open_stack(tmp_path, product="landsat-c2-l2", band="red")
    expected = np.ones((2, 8, 20), bool)
    expected[:, :, 3] = False
    np.testing.assert_array_equal(np.isfinite(read_all(stack)), expected)
    # Where no image has it, nothing is said of it.
    for path in tmp_path.glob("*_QA_RADSAT.TIF"):
        path.unlink()
    stack = pw.open_stack(tmp_path, product="landsat-c2-l2", band="red")
    assert [quality.band for quality in stack.derivation.qualities] == ["QA_PIXEL"]
    assert np.isfinite(read_all(stack)).all()


def test_files_that_a_product_does_not_know_are_told(landsat: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = next(iter(SCENES))
    odd = write_raster(landsat / scene / f"{scene}_SR_B3-clip.TIF", np.zeros(SIZE, np.uint16))
    pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", band="red")
    assert f"1 files are not named like files of landsat-c2-l2 and are left out: {odd}" in caplog.text


def test_a_trend_of_scenes_has_its_making_in_the_tags(landsat: Path, tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    result = run("apply", "ols", f"{landsat}/**/*.TIF", "-o", output, "--product", "landsat-c2-l2", "--value", "ndvi",
                 "--grow", 1, "--quiet", "--executor", "processes", "--jobs", 2)  # fmt: skip
    assert result.exit_code == 0, result.output
    trend = pw.open_map(output)
    by_threads = pw.apply(
        pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", value="ndvi", grow=1), "ols", jobs=2
    )
    np.testing.assert_array_equal(trend["slope"], by_threads["slope"])
    made = trend.provenance["input"]["derivation"]
    assert made["product"].startswith("landsat-c2-l2 version 1 (")
    assert made["formula"] == "(nir - red) / (nir + red)"
    assert [mask[0] for mask in made["masks"]] == ["QA_PIXEL", "QA_RADSAT"]
    assert made["masks"][0][1].startswith("landsat-c2 version 1 (")
    assert made["masks"][0][2].startswith("drops bits 0, 1, 2, 3, 4")
    first = trend.provenance["input"]["layers_used"][0]
    assert first["sensors"] == ["LT05"]
    assert len(first["pieces"]) == len(first["masks"]) == 2
    assert len(trend.provenance["input"]["files"]) == 16
    assert run("verify", output).exit_code == 1
    assert "the effect of --product and --value is not recomputed" in run("verify", output).output


def test_masked_windows_are_not_read(landsat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all is cloudy, bands are not decoded."""
    opened = []

    really = handles._open
    monkeypatch.setattr(handles, "_open", lambda piece, **how: opened.append(piece.path.name) or really(piece, **how))
    scene = next(iter(SCENES))
    write_raster(landsat / scene / f"{scene}_QA_PIXEL.TIF", np.full(SIZE, 22280, np.uint16))
    stack = pw.open_stack(f"{landsat}/**/*.TIF", product="landsat-c2-l2", value="ndvi")
    assert np.isnan(read_all(stack)[0]).all()
    assert f"{scene}_QA_PIXEL.TIF" in opened
    assert f"{scene}_SR_B3.TIF" not in opened
    assert sum(name.endswith("_SR_B5.TIF") for name in opened) == 2


# -------------------------------------------------------------------------------------------- Sentinel-2


def sentinel(folder: Path, day: str, baseline: str, stored: dict[str, Any], scl: Any) -> Path:
    """Write one image in its SAFE folder: bands of 10 m, SCL of 20 m."""
    safe = folder / f"S2A_MSIL2A_{day}T100401_N{baseline}_R122_T33TWN_{day}T150401.SAFE"
    data = safe / "GRANULE" / f"L2A_T33TWN_A000001_{day}T100401" / "IMG_DATA"
    for token, values in stored.items():
        write_raster(data / "R10m" / f"T33TWN_{day}T100401_{token}_10m.tif", values)
    write_raster(data / "R20m" / f"T33TWN_{day}T100401_SCL_20m.tif", scl, transform=ORIGIN @ Affine.scale(2), nodata=0)
    write_raster(data / "R20m" / f"T33TWN_{day}T100401_B04_20m.tif", scl, transform=ORIGIN @ Affine.scale(2))
    write_raster(data / "R20m" / f"T33TWN_{day}T100401_B12_20m.tif", scl, transform=ORIGIN @ Affine.scale(2))
    return safe


@pytest.fixture
def sentinels(tmp_path: Path) -> tuple[Path, Any]:
    """Write the same reflectances before and after baseline 04.00, with clouds in pixels of 20 m."""
    random = np.random.default_rng(3)
    red, nir = random.integers(200, 1500, (2, 25, 31)), random.integers(2000, 5000, (2, 25, 31))
    scl = np.where(random.random((2, 13, 16)) < 0.3, 9, 4).astype(np.uint8)
    for index, (day, baseline, more) in enumerate((("20200105", "0213", 0), ("20230109", "0509", 1000))):
        stored = {"B04": (red[index] + more).astype(np.uint16), "B08": (nir[index] + more).astype(np.uint16)}
        sentinel(tmp_path / "s2", day, baseline, stored, scl[index])
    red, nir = red * 0.0001, nir * 0.0001
    expected = (nir - red) / (nir + red)
    clear = (scl == 4).repeat(2, axis=1).repeat(2, axis=2)[:, :25, :31]
    return tmp_path / "s2", np.where(clear, expected, np.nan)


def test_baselines_and_masks_of_twice_the_pixel(sentinels: tuple[Path, Any]) -> None:
    folder, expected = sentinels
    stack = pw.open_stack(f"{folder}/**/*.tif", product="s2-l2a", value="ndvi")
    values = read_all(stack)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    for block in stack.grid.blocks(5, 7):
        np.testing.assert_array_equal(stack.read(block), values[(slice(None), *block.slices)])
    assert stack.grid.transform == ORIGIN


def test_growing_a_mask_of_twice_the_pixel(sentinels: tuple[Path, Any]) -> None:
    folder, expected = sentinels
    stack = pw.open_stack(f"{folder}/**/*.tif", product="s2-l2a", value="ndvi", grow=1)
    cloudy = np.isnan(expected)
    near = cloudy.copy()
    for rows in (-1, 0, 1):
        for cols in (-1, 0, 1):
            moved = np.pad(cloudy, ((0, 0), (1, 1), (1, 1)))[:, 1 + rows : 26 + rows, 1 + cols : 32 + cols]
            near |= moved
    # Beyond the image's lower edge the mask goes on by one row and column.
    np.testing.assert_array_equal(np.isnan(read_all(stack))[:, :-1, :-1], near[:, :-1, :-1])
    for block in stack.grid.blocks(6, 8):
        np.testing.assert_array_equal(stack.read(block), read_all(stack)[(slice(None), *block.slices)])


def test_a_baseline_that_no_path_tells(sentinels: tuple[Path, Any], tmp_path: Path) -> None:
    folder, expected = sentinels
    for path in folder.glob("**/*.tif"):
        (tmp_path / "flat").mkdir(exist_ok=True)
        path.rename(tmp_path / "flat" / path.name)
    text = refusal_of(tmp_path / "flat", product="s2-l2a", value="ndvi")
    assert "its path does not contain the processing baseline" in text
    assert "give --offset (-0.1 from baseline 04.00 on, else 0)" in text
    stack = pw.open_stack(tmp_path / "flat", product="s2-l2a", value="ndvi", offset=0)
    np.testing.assert_allclose(read_all(stack)[0], expected[0], rtol=1e-12)


def test_baselines_are_not_stacked_blindly(sentinels: tuple[Path, Any]) -> None:
    source = f"{sentinels[0]}/**/*_B04_10m.tif"
    text = refusal_of(source)
    assert (
        "several processing baselines, whose numbers have different meanings (offset 0 from baseline 0213 on; -0.1"
        in text
    )
    assert len(pw.open_stack(source, offset=0)) == 2


def test_a_band_of_60_m_takes_the_mask_of_60_m(tmp_path: Path) -> None:
    for day in ("20200105", "20210105"):
        safe = sentinel(tmp_path, day, "0213", {"B04": np.ones((24, 24), np.uint16)}, np.full((12, 12), 4, np.uint8))
        for token, value in (("B01", 500), ("SCL", 4)):
            write_raster(
                safe / "GRANULE" / "x" / "IMG_DATA" / "R60m" / f"T33TWN_{day}T100401_{token}_60m.tif",
                np.full((4, 4), value, np.uint16), transform=ORIGIN @ Affine.scale(6),
            )  # fmt: skip
    stack = pw.open_stack(f"{tmp_path}/**/*.tif", product="s2-l2a", band="coastal")
    np.testing.assert_allclose(read_all(stack), np.full((2, 4, 4), 0.05), rtol=1e-12)


def test_bands_without_a_common_resolution(sentinels: tuple[Path, Any]) -> None:
    text = refusal_of(f"{sentinels[0]}/**/*.tif", product="s2-l2a", value="nbr")
    assert "its bands have no resolution in common: nir at 10 m; swir2 at 20 m" in text
    # At 20 m both exist: no formula mixes pixels of two sizes.
    stack = pw.open_stack(f"{sentinels[0]}/**/*.tif", product="s2-l2a", value="swir2 / red", offset=0)
    assert (stack.grid.height, stack.grid.width) == (13, 16)


# ----------------------------------------------------------------------------------------- band formulas


def test_formulas_of_the_bands_of_one_file(tmp_path: Path) -> None:
    values = np.random.default_rng(1).uniform(0.1, 0.9, (3, 2, 9, 8)).astype(np.float32)
    values[0, 0, 0, 0] = np.nan
    for interleave in ("pixel", "band"):
        for year, image in zip((2001, 2002, 2003), values, strict=True):
            write_raster(
                tmp_path / interleave / f"scene_{year}.tif", image, descriptions=["Red", "NIR"], interleave=interleave
            )
        expected = (values[:, 1].astype(float) - values[:, 0]) / (values[:, 1].astype(float) + values[:, 0])
        for formula in ("ndvi", "(nir - red) / (nir + red)", "(b2 - b1) / (b2 + b1)"):
            np.testing.assert_array_equal(read_all(pw.open_stack(tmp_path / interleave, value=formula)), expected)
    ranged = read_all(pw.open_stack(tmp_path / "band", value="ndvi", valid_range=(0, 0.5)))
    np.testing.assert_array_equal(ranged, np.where((expected >= 0) & (expected <= 0.5), expected, np.nan))
    assert "unknown band 'blue'" in refusal_of(tmp_path / "band", value="blue / red")
    assert "b3" in refusal_of(tmp_path / "band", value="b3 / b1")


# ----------------------------------------------------------------------------------------------- masks


@pytest.fixture
def masked(tmp_path: Path) -> tuple[Path, Any, Any]:
    """Write four images, a mask of each with another name, and the classes 0 to 3."""
    values = np.random.default_rng(2).uniform(0, 1, (4, 12, 14)).astype(np.float32)
    classes = np.random.default_rng(3).integers(0, 4, (4, 12, 14)).astype(np.uint8)
    for year, image, mask in zip(range(2001, 2005), values, classes, strict=True):
        write_raster(tmp_path / "images" / f"ndvi_{year}0305.tif", image)
        write_raster(tmp_path / "masks" / f"{year}-03-05_clouds.tif", mask)
    return tmp_path, values, classes


@pytest.mark.parametrize(
    ("options", "rejected"),
    [
        ({"mask_keep": [0, 1]}, [2, 3]),
        ({"mask_drop": 1}, [1]),
        ({"mask_bits": [1]}, [2, 3]),
        ({"mask_field": "0-1=1,2"}, [1, 2]),
        ({"mask_drop": [0], "mask_field": ["0-1=1", "0-1=3"]}, [0, 1, 3]),
        ({"mask_preset": "mod13"}, [2, 3]),
    ],
)
def test_masks_of_the_same_date(masked: tuple[Path, Any, Any], options: dict[str, Any], rejected: list[int]) -> None:
    folder, values, classes = masked
    stack = pw.open_stack(folder / "images", mask=f"{folder}/masks/*.tif", **options)
    assert stack.dtype == np.float32
    np.testing.assert_array_equal(read_all(stack), np.where(np.isin(classes, rejected), np.nan, values))


def test_masks_in_a_band_of_the_file(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    values = random.integers(0, 2, (3, 2, 8, 9)).astype(np.float32)
    values[:, 0] += 0.5
    for year, image in zip((2001, 2002, 2003), values, strict=True):
        write_raster(tmp_path / f"ndvi_{year}.tif", image, descriptions=["ndvi", "clear"])
    expected = np.where(values[:, 1] == 1, values[:, 0], np.nan)
    for wanted in ("clear", 2):
        np.testing.assert_array_equal(
            read_all(pw.open_stack(tmp_path, band=1, mask_band=wanted, mask_keep=1)), expected
        )
    np.testing.assert_array_equal(
        read_all(pw.open_stack(tmp_path, value="ndvi * 2", mask_band="clear", mask_drop=0)), expected * 2
    )


def test_nodata_of_a_mask(tmp_path: Path) -> None:
    """Where values to drop are named, nodata is of no use; values to keep and bits say it all themselves."""
    for year in (2001, 2002):
        write_raster(tmp_path / "images" / f"ndvi_{year}.tif", np.ones((1, 3), np.float32))
        write_raster(tmp_path / "masks" / f"m_{year}.tif", np.array([[0, 1, 255]], np.uint8), nodata=255)
    for options, expected in (
        ({"mask_drop": 1}, [1, np.nan, np.nan]),
        ({"mask_keep": [0, 255]}, [1, np.nan, 1]),
        ({"mask_bits": [7]}, [1, 1, np.nan]),
    ):
        stack = pw.open_stack(tmp_path / "images", mask=str(tmp_path / "masks"), **options)
        np.testing.assert_array_equal(read_all(stack)[0, 0], expected)


def test_where_a_mask_does_not_reach(masked: tuple[Path, Any, Any]) -> None:
    folder, values, classes = masked
    for year, mask in zip(range(2001, 2005), classes, strict=True):
        transform = ORIGIN @ Affine.translation(4, 3)
        write_raster(folder / "masks" / f"{year}-03-05_clouds.tif", mask[3:9, 4:], transform=transform)
    stack = pw.open_stack(folder / "images", mask=f"{folder}/masks", mask_keep=[0, 1])
    expected = np.where(classes <= 1, values, np.nan)
    expected[:, :3] = expected[:, 9:] = expected[:, :, :4] = np.nan
    np.testing.assert_array_equal(read_all(stack), expected)


@pytest.mark.parametrize("place", ["extent", "bounds"])
def test_a_mask_that_ends_before_the_extent_begins(masked: tuple[Path, Any, Any], place: str) -> None:
    """What lies outside of what is asked for still rejects: by what it does not cover, and by growing."""
    folder, values, _ = masked
    for year in range(2001, 2005):
        cloud = np.zeros((12, 8), np.uint8)
        cloud[:, 7] = 1
        write_raster(folder / "masks" / f"{year}-03-05_clouds.tif", cloud)
    whole = pw.open_stack(folder / "images", mask=f"{folder}/masks", mask_drop=1, grow=2, extent="union")
    assert np.isfinite(read_all(whole)[:, :, :5]).all()
    for left in (4, 6, 8, 10):
        bounds = (500000 + 30 * left, 3400000 - 30 * 12, 500000 + 30 * 14, 3400000)
        part = pw.open_stack(folder / "images", mask=f"{folder}/masks", mask_drop=1, grow=2,
                             **({"extent": bounds} if place == "extent" else {"bounds": bounds}))  # fmt: skip
        np.testing.assert_array_equal(read_all(part), read_all(whole)[:, :, left:])
    assert len(values) == 4


def test_masks_of_tiles_of_larger_pixels(tmp_path: Path) -> None:
    """Two tiles of a date, each with its own mask of three times the pixel."""
    random = np.random.default_rng(4)
    values, masks = random.random((2, 12, 24)).astype(np.float32), random.integers(0, 2, (2, 4, 8)).astype(np.uint8)
    for year, image, mask in zip((2001, 2002), values, masks, strict=True):
        for name, col in (("a", 0), ("b", 12)):
            there = ORIGIN @ Affine.translation(col, 0)
            write_raster(tmp_path / "i" / f"{name}_{year}.tif", image[:, col : col + 12], transform=there)
            part = mask[:, col // 3 : col // 3 + 4]
            write_raster(tmp_path / "m" / f"{name}_{year}.tif", part, transform=there @ Affine.scale(3))
    stack = pw.open_stack(tmp_path / "i", mask=str(tmp_path / "m"), mask_drop=1)
    fine = masks.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(read_all(stack), np.where(fine == 1, np.nan, values))


def test_a_mask_of_one_day_is_not_that_of_a_month(tmp_path: Path) -> None:
    for month in (1, 2):
        write_raster(tmp_path / "i" / f"ndvi_2001-0{month}.tif", np.ones((2, 2), np.float32))
        write_raster(tmp_path / "m" / f"q_2001-0{month}-01.tif", np.zeros((2, 2), np.uint8))
    assert "none of 2 masks has its date" in refusal_of(tmp_path / "i", mask=str(tmp_path / "m"), mask_drop=1)


@pytest.mark.parametrize("times", [2, 3])
def test_masks_of_larger_pixels(masked: tuple[Path, Any, Any], times: int) -> None:
    folder, values, _ = masked
    coarse = np.random.default_rng(8).integers(0, 2, (4, 12 // times + 1, 14 // times + 1)).astype(np.uint8)
    for year, mask in zip(range(2001, 2005), coarse, strict=True):
        place = ORIGIN @ Affine.scale(times)
        write_raster(folder / "masks" / f"{year}-03-05_clouds.tif", mask, transform=place)
    stack = pw.open_stack(folder / "images", mask=f"{folder}/masks", mask_drop=1)
    fine = coarse.repeat(times, axis=1).repeat(times, axis=2)[:, :12, :14]
    expected = np.where(fine == 1, np.nan, values)
    for block in stack.grid.blocks(5, 4):
        np.testing.assert_array_equal(stack.read(block), expected[(slice(None), *block.slices)])


def test_masks_on_another_lattice(masked: tuple[Path, Any, Any]) -> None:
    folder, values, classes = masked
    half = ORIGIN @ Affine.translation(0.4, 0)
    for year, mask in zip(range(2001, 2005), classes, strict=True):
        write_raster(folder / "masks" / f"{year}-03-05_clouds.tif", mask, transform=half)
    options = {"mask": f"{folder}/masks", "mask_drop": 1}
    text = refusal_of(folder / "images", **options)
    assert "2001-03-05_clouds.tif: the pixels of the mask are not aligned with those of its image (" in text
    like = folder / "images" / "ndvi_20010305.tif"
    # The nearest pixel is the one at the same place, whatever is asked for the images.
    for resampling in ("nearest", "bilinear"):
        stack = pw.open_stack(folder / "images", align=like, resampling=resampling, **options)
        np.testing.assert_array_equal(read_all(stack), np.where(classes == 1, np.nan, values))


def test_what_is_wrong_with_masks(masked: tuple[Path, Any, Any]) -> None:
    folder, _, classes = masked
    images, masks = folder / "images", f"{folder}/masks"

    def refused(**options: Any) -> str:
        with pytest.raises(ParameterError) as error:
            pw.open_stack(images, **options)
        return str(error.value)

    assert "the meaning of the mask's values is not given: name the usable ones with --mask-keep" in refused(mask=masks)
    assert "a rule for masks, but no mask" in refused(mask_keep=1)
    assert "mask and mask_band are mutually exclusive" in refused(mask=masks, mask_band=2, mask_keep=1)
    assert "mask_preset 'mod13' is a complete rule" in refused(mask=masks, mask_preset="mod13", mask_keep=1)
    assert "is not one of landsat-c2, " in refused(mask=masks, mask_preset="mod14")
    assert "grow -1 is out of range" in refused(mask=masks, mask_keep=1, grow=-1)
    assert "bit 8 does not exist in a mask of uint8" in refusal_of(images, mask=masks, mask_bits=[8])
    assert "mask: no file matches" in refusal_of(images, mask=f"{folder}/none/*.tif", mask_keep=1)
    write_raster(folder / "masks" / "another_2002-03-05.tif", classes[0])
    assert f"{images / 'ndvi_20020305.tif'}: several masks have its date 2002-03-05: " in refusal_of(
        images, mask=masks, mask_keep=1
    )
    (folder / "masks" / "another_2002-03-05.tif").unlink()
    (folder / "masks" / "2003-03-05_clouds.tif").unlink()
    assert f"{images / 'ndvi_20030305.tif'}: none of 3 masks has its date 2003-03-05" in refusal_of(
        images, mask=masks, mask_keep=1
    )


def test_clouds_change_the_answer(shared: Shared, tmp_path: Path) -> None:
    """Sentinel-2 NDVI with a cloud mask each, as R answers for it without cloudy pixels."""
    folder = shared("eolearn_s2_ndvi/geotiff")
    answers = np.genfromtxt(
        shared("reference_answers/r_lm_kendall.csv"), delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    rows = answers[answers["set"] == "eolearn_s2_ndvi"]
    place = rows["row"], rows["col"]
    # R took the dates without the time of day; two images are of one day.
    for name in ("NDVI", "CLM"):
        paths = sorted(folder.glob(f"*_{name}.tif"))
        lines = [f"{path},{path.name[3:7]}-{path.name[7:9]}-{path.name[9:11]}" for path in paths]
        (tmp_path / f"{name}.csv").write_text("path,date\n" + "\n".join(lines))
    cloudy = pw.apply(pw.open_stack(tmp_path / "NDVI.csv", same_date="keep"), "ols", dtype="float64")
    assert (cloudy["n"] == 68).all()
    assert (rows["n"] < 68).all()
    assert (np.abs(cloudy["slope"][place] - rows["ols_slope_per_yr"]) > 0.005).mean() > 0.5
    text = refusal_of(tmp_path / "NDVI.csv", same_date="keep", mask=tmp_path / "CLM.csv", mask_drop=1)
    assert "several masks have its date" in text
    # By the time of day each image finds its own mask.
    masked = pw.open_stack(f"{folder}/*_NDVI.tif", mask=f"{folder}/*_CLM.tif", mask_drop=1)
    days = tmp_path / "days.csv"
    days.write_text(
        "path,date\n" + "\n".join(f"{layer.pieces[0].path},{layer.iso_date[:10]}" for layer in masked.layers)
    )
    by_day = pw.open_stack(days, same_date="keep")
    clear = pw.apply(
        replace(masked, layers=tuple(
            replace(layer, date=day.date, precision=day.precision)
            for layer, day in zip(masked.layers, by_day.layers, strict=True)
        )),
        "ols", dtype="float64",
    )  # fmt: skip
    np.testing.assert_array_equal(clear["n"][place], rows["n"])
    np.testing.assert_allclose(clear["slope"][place], rows["ols_slope_per_yr"], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------- the command line


def test_the_plan_tells_sensors_and_what_masks_drop(landsat: Path) -> None:
    words: Sequence[Any] = ("plan", f"{landsat}/**/*.TIF", "--product", "landsat-c2-l2", "--value", "ndvi")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "sensors   2004: LT05 1; 2005: LE07 1; 2015: LC08 1; 2016: LC08 1" in result.output
    assert "landsat-c2 version 1" in result.output
    assert "several sensors" in result.output
    report = json.loads(run(*words, "--json").stdout)
    assert report["layers"][0]["sensors"] == ["LT05"]
    assert report["layers"][0]["masks"][0].endswith("_QA_PIXEL.TIF")
    # 5 of 720 pixels.
    assert report["masked"] == pytest.approx(5 / 720)


def test_options_of_the_command_line(masked: tuple[Path, Any, Any], tmp_path: Path) -> None:
    folder, _, classes = masked
    output = tmp_path / "n.tif"
    result = run("apply", "ols", folder / "images", "-o", output, "--bands", "n", "--mask", f"{folder}/masks/*.tif",
                 "--mask-drop", "1", "--mask-field", "0-1=3", "--quiet")  # fmt: skip
    assert result.exit_code == 0, result.output
    with rasterio.open(output) as dataset:
        np.testing.assert_array_equal(dataset.read(1), (~np.isin(classes, [1, 3])).sum(axis=0))


# ------------------------------------------------------------------------------------------- read errors


@pytest.mark.parametrize("damaged", ["images", "masks"])
def test_what_is_lost_does_not_depend_on_the_block(
    tmp_path: Path, damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken tile of an image, or of a mask of twice the pixel: missing, with status 8, whatever the blocks."""
    from pixelwise.rasters import windows
    from pixelwise.rasters.tags import TILE_COUNTS, TILE_OFFSETS, read_tags

    monkeypatch.setattr(windows, "RETRY_SECONDS", ())
    random = np.random.default_rng(6)
    values = random.random((5, 96, 96)).astype(np.float32)
    masks = (random.random((5, 48, 48)) < 0.02).astype(np.uint8)
    masks[2, :16] = 1  # nothing of the first rows is of use
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    for year, image, mask in zip(range(2001, 2006), values, masks, strict=True):
        write_raster(tmp_path / "images" / f"ndvi_{year}.tif", image, **tiles)
        write_raster(tmp_path / "masks" / f"m_{year}.tif", mask, transform=ORIGIN @ Affine.scale(2), **tiles)
    path = tmp_path / damaged / ("ndvi_2003.tif" if damaged == "images" else "m_2003.tif")
    with path.open("r+b") as file:
        tags = read_tags(file, (TILE_OFFSETS, TILE_COUNTS))
        file.seek(int(tags[TILE_OFFSETS][1]))
        file.write(b"\x00" * int(tags[TILE_COUNTS][1]))
    edge = 16 if damaged == "images" else 32
    lost = np.s_[:edge, edge : 2 * edge]

    stack = pw.open_stack(
        tmp_path / "images", mask=str(tmp_path / "masks"), mask_drop=1, grow=1, on_read_error="missing"
    )
    maps = []
    for window_bytes in (256, 4096, 1 << 20):
        set_limits(monkeypatch, window_bytes=window_bytes)
        maps.append(pw.apply(stack, "ols", jobs=2))
    for other in maps[1:]:
        for name in other.names:
            np.testing.assert_array_equal(other[name], maps[0][name], err_msg=name)
    found = maps[0].status
    assert (found[lost] == 8).mean() > 0.9
    outside = np.ones(found.shape, bool)
    outside[lost] = False
    assert not (found[outside] == 8).any()
    whole = np.where(masks.repeat(2, axis=1).repeat(2, axis=2) == 1, 0, 1).astype(bool)
    if damaged == "masks":
        whole[2][lost] = True  # what is not known does not grow
    rejected = np.array([grow(~layer, 1) for layer in whole])
    rejected[2][lost] = True
    np.testing.assert_array_equal(maps[0]["n"], 5 - rejected.sum(axis=0))
