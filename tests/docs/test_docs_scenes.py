"""The commands of docs/scenes.md run as they stand, and print what the page shows, on small deliveries."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

import pixelwise as pw
from pixelwise.stacks.reductions import Composite
from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import write_raster

PAGE = ROOT / "docs" / "scenes.md"

#: The place: 48 x 40 pixels of 30 m, all that the two rows of a path cover.
HEIGHT, WIDTH = 48, 40
LANDSAT = {"crs": "EPSG:32633", "transform": Affine(30, 0, 560085, 0, -30, 5340015)}
SENTINEL = {"crs": "EPSG:32633", "transform": Affine(10, 0, 600000, 0, -10, 5400000)}


def ndvi_of(day: date, height: int, width: int) -> Any:
    """Return the truth of a day: a season, and a rise on the left, a fall on the lower right."""
    rows, cols = np.indices((height, width)) / np.array([height, width])[:, None, None]
    years = day.year - 2014
    change = np.where(cols < 0.4, 0.012, np.where(rows > 0.6, -0.012, 0.0))
    season = np.exp(-(((day.timetuple().tm_yday - 190) / 75) ** 2))
    return 0.2 + season * (0.42 + 0.1 * np.sin(7 * rows) * np.cos(5 * cols) + change * years)


def cloudy(random: Any, height: int, width: int, share: float) -> Any:
    """Return round clouds over about a share of the pixels."""
    rows, cols = np.indices((height, width))
    found = np.zeros((height, width), bool)
    while found.mean() < share:
        row, col, size = random.uniform(0, height), random.uniform(0, width), random.uniform(3, 9)
        found |= np.hypot(rows - row, cols - col) < size
    return found


def reflectances(random: Any, day: date, height: int, width: int, clouds: Any) -> tuple[Any, Any]:
    """Return red and near infrared of a day; clouds are bright in both."""
    ndvi = np.clip(ndvi_of(day, height, width) + random.normal(0, 0.015, (height, width)), -0.2, 0.92)
    red = 0.02 + 0.1 * (1 - ndvi)
    nir = red * (1 + ndvi) / (1 - ndvi)
    return np.where(clouds, 0.55, red), np.where(clouds, 0.6, nir)


def deliver_landsat(folder: Path) -> None:
    """Write six years and a spring of two rows of a path as USGS delivers them."""
    random = np.random.default_rng(190)
    day, last = date(2011, 5, 4), date(2017, 6, 20)
    while day <= last:
        if 5 <= day.month <= 8:
            sensor = "LT05" if day.year < 2012 else "LE07" if day.year < 2014 else "LC08"
            red_token, nir_token = ("SR_B4", "SR_B5") if sensor == "LC08" else ("SR_B3", "SR_B4")
            share = random.uniform(0.1, 0.7)
            bands = reflectances(random, day, HEIGHT, WIDTH, np.zeros((HEIGHT, WIDTH), bool))
            for path_row, top, bottom in (("190026", 0, 28), ("190027", 20, HEIGHT)):
                # Extents shift from pass to pass.
                left, right = int(random.integers(0, 3)), WIDTH - int(random.integers(0, 3))
                clouds = cloudy(random, bottom - top, right - left, share)
                place = (slice(top, bottom), slice(left, right))
                processed = day + timedelta(days=30)
                scene = f"{sensor}_L2SP_{path_row}_{day:%Y%m%d}_{processed:%Y%m%d}_02_T1"
                quality = np.where(clouds, 22280, 21824).astype(np.uint16)
                quality[:2, :] = 1
                files = {"QA_PIXEL": quality}
                for token, band in zip((red_token, nir_token), bands, strict=True):
                    stored = np.round((np.where(clouds, 0.55, band[place]) + 0.2) / 0.0000275).astype(np.uint16)
                    stored[:2, :] = 0  # the frame around each image
                    files[token] = stored
                for token, values in files.items():
                    write_raster(
                        folder / scene / f"{scene}_{token}.TIF", values, crs=LANDSAT["crs"],
                        transform=LANDSAT["transform"] @ Affine.translation(left, top),
                        nodata=1 if token == "QA_PIXEL" else 0, compress="deflate",
                    )  # fmt: skip
        day += timedelta(days=16)


def deliver_sentinel(folder: Path) -> None:
    """Write six years of one tile in SAFE folders, of baselines before and after the offset."""
    random = np.random.default_rng(33)
    for year, baseline in zip(range(2018, 2024), ("0206", "0212", "0214", "0300", "0400", "0509"), strict=True):
        for number in range(8):
            day = date(year, 4, 18) + timedelta(days=20 * number + int(random.integers(0, 3)) * 5)
            coarse = cloudy(random, 20, 18, random.uniform(0.1, 0.6))
            clouds = coarse.repeat(2, axis=0).repeat(2, axis=1)
            bands = reflectances(random, day, 40, 36, clouds)
            satellite = "S2A" if number % 2 else "S2B"
            stamp = f"{day:%Y%m%d}T100031"
            safe = folder / f"{satellite}_MSIL2A_{stamp}_N{baseline}_R122_T33UWP_{day:%Y%m%d}T121532.SAFE"
            data = safe / "GRANULE" / f"L2A_T33UWP_A0{number:05d}_{stamp}" / "IMG_DATA"
            more = 1000 if int(baseline) >= 400 else 0
            jp2 = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "crs": SENTINEL["crs"]}
            for token, band in zip(("B04", "B08"), bands, strict=True):
                stored = np.round(band * 10000 + more).astype(np.uint16)
                write_raster(
                    data / "R10m" / f"T33UWP_{stamp}_{token}_10m.jp2", stored, transform=SENTINEL["transform"], **jp2
                )
            scl = np.where(coarse, 9, 4).astype(np.uint8)
            write_raster(
                data / "R20m" / f"T33UWP_{stamp}_SCL_20m.jp2", scl,
                transform=SENTINEL["transform"] @ Affine.scale(2), **jp2,
            )  # fmt: skip


def deliver_others(folder: Path) -> None:
    """Write a product of one's own, as the page describes it, polygons, and a map of classes."""
    random = np.random.default_rng(7)
    for year in range(2019, 2023):
        for day in ("0601", "0715", "0820"):
            for band, mean in (("red", 600), ("nir", 3500)):
                stored = random.normal(mean, 50, (9, 8)).round().astype(np.uint16)
                write_raster(folder / "drone" / f"plot7_{year}{day}_{band}.tif", stored, crs="EPSG:32633")
    toml, *_ = samples(PAGE, "toml")
    (folder / "drone.toml").write_text(toml)
    west, south, east, north = 15.8165, 48.2010, 15.8245, 48.2050
    ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    (folder / "field.geojson").write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": polygon}))
    classes = (np.indices((HEIGHT, WIDTH))[1] // 10).astype(np.uint8)
    write_raster(folder / "landcover.tif", classes, **LANDSAT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    deliver_landsat(root / "landsat")
    deliver_sentinel(root / "s2")
    deliver_others(root)
    return root


def test_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run_sessions(PAGE) >= 12
    for name in ("trend.png", "s2_trend.png"):
        assert (folder / name).stat().st_size > 1000


def test_python_sample(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs, and the trend that was written comes out of clouds, frames, rows and sensors."""
    monkeypatch.chdir(folder)
    (script,) = samples(PAGE, "python")
    names: dict[str, Any] = {}
    exec(compile(script, "scenes.md", "exec"), names)
    assert capsys.readouterr().out.startswith("('2011', '2012', ")
    provenance = pw.open_map(folder / "trend.tif").provenance
    assert {"spec", "derivation", "composite", "layers_used", "files"} <= set(provenance["input"])
    assert "several sensors" in provenance["warnings"][0]
    assert (names["greenest"].grid, len(names["greenest"])) == (names["annual"].grid, 6)
    slope = names["trend"]["slope"]
    assert np.nanmedian(slope[:, 2:16]) == pytest.approx(0.012, abs=0.003)
    assert np.nanmedian(slope[30:, 16:38]) == pytest.approx(-0.012, abs=0.003)
    assert np.nanmedian(slope[:28, 17:38]) == pytest.approx(0, abs=0.003)


def test_more_scenes_look_like_greening() -> None:
    """The table of the page: trendless values, 4 scenes in each of ten years, then 16 in each of ten."""
    random = np.random.default_rng(0)
    years, pixels = 20, 4000
    composites = {
        "max": Composite("max"), "p90": Composite("p90"), "median": Composite("median"),
        "equal": Composite("max", equal_count=4),
    }  # fmt: skip
    layers = {name: np.empty((years, pixels)) for name in composites}
    for year in range(years):
        values = random.normal(0.7, 0.05, (4 if year < 10 else 16, pixels))
        for name, composite in composites.items():
            composite.reduce(values, layers[name][year], cell=(0, 0, pixels), ordinal=year)
    ols = pw.methods.ols()
    greening = {}
    for name, series in layers.items():
        found = ols(series, np.arange(2000.0, 2000 + years))
        greening[name] = float(((found["pvalue"] < 0.05) & (found["slope"] > 0)).mean())
    row = re.search(r"^\| (\d+) % \| (\d+) % \| (\d+) % \| ([\d.]+) % \|$", PAGE.read_text(), re.MULTILINE)
    assert row is not None
    for name, shown in zip(composites, row.groups(), strict=True):
        assert 100 * greening[name] == pytest.approx(float(shown), abs=1), greening
