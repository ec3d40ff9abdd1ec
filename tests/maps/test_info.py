"""`pixelwise info`, and what notebooks show of maps and stacks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from pyproj import Geod, Transformer

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.maps.info import facts_of
from pixelwise.maps.tag import TAG, decode_provenance, encode_provenance
from support.drawn import SLOPE, make_map, row
from support.places import SHARED
from support.rasters import random_series

ALASKA = SHARED / "remoteparts_ak_ndvi" / "geotiff"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["info", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def trend(make_stack: Any, tmp_path: Path) -> Path:
    values = random_series((6, 8, 9))
    values[:, 0, :3] = np.nan
    values[:, 7, 8] = 0.25
    pw.apply(pw.open_stack(make_stack(values), scale=2.0), "ols", tmp_path / "trend.tif", per="decade")
    return tmp_path / "trend.tif"


def test_what_it_is_and_how_it_was_made(trend: Path) -> None:
    said = run(trend)
    for line in (
        f"file        {trend}",
        "size        9 x 8 pixels (width x height)",
        "method      ols",
        "period      2000 to 2005, 6 layers",
        "options     scale=2.0; per=decade",
    ):
        assert line in said.replace("\n", "  \n"), said
    assert "  slope             change       1/decade  Change per decade of the fitted line" in said
    assert "1 no observation" in said
    assert "3 constant series" in said


def test_json_is_complete_and_adds_up(trend: Path) -> None:
    said = json.loads(run(trend, "--json"))
    with rasterio.open(trend) as dataset:
        slope, status = dataset.read([1, dataset.count])
        geod = Geod(ellps="WGS84")
        assert dataset.crs.to_epsg() == 32617
        corners = [dataset.transform @ corner for corner in ((0, 0), (9, 0), (9, 8), (0, 8))]
    lon, lat = Transformer.from_crs(32617, 4326, always_xy=True).transform(*zip(*corners, strict=True))
    whole = abs(geod.polygon_area_perimeter(lon, lat)[0]) / 1e6
    rows = {row["class"]: row for row in said["status"]}
    codes, counts = np.unique(status, return_counts=True)
    assert {int(label.split()[0]): row["pixels"] for label, row in rows.items()} == dict(
        zip(codes.astype(int).tolist(), counts.tolist(), strict=True)
    )
    assert sum(row["km2"] for row in rows.values()) == pytest.approx(whole, rel=1e-6)
    assert sum(row["share"] for row in said["classes"]["rows"]) == pytest.approx(1)
    assert said["classes"]["rows"][-1]["pixels"] == np.isnan(slope).sum() >= 3
    assert len(said["provenance"]["input"]["files"]) == 6
    assert said["provenance"]["input"]["layers"] == 6
    assert [band["kind"] for band in said["bands"]][:3] == ["change", "level", "correlation"]


def test_warnings_of_its_making_are_repeated(trend: Path) -> None:
    with rasterio.open(trend, "r+") as dataset:
        provenance = decode_provenance(dataset.get_tag_item(TAG))
        dataset.update_tags(PIXELWISE=encode_provenance({**provenance, "warnings": ["beware \x1b[31m of it", 5]}))
    said = run(trend)
    assert said.endswith("warnings when it was made\n  beware \\x1b[31m of it\n")
    html = pw.open_map(trend)._repr_html_()
    assert "ols" in html


def test_a_raster_of_anyone_has_fewer_facts(trend: Path, tmp_path: Path) -> None:
    with rasterio.open(trend) as dataset:
        profile, values = dataset.profile, dataset.read()
    profile.update(count=1, nodata=-1, dtype="int16", crs=None)
    with rasterio.open(tmp_path / "plain.tif", "w", **profile) as dataset:
        dataset.write(np.arange(-1, 71, dtype=np.int16).reshape(1, 8, 9))
    said = run(tmp_path / "plain.tif")
    assert "method" not in said
    assert re.search(r"^ +1\.4 % +1  missing$", said, re.MULTILINE), said
    assert len(values) == 8


@pytest.mark.parametrize(
    ("crs", "size", "said"),
    [
        ("EPSG:32617", 30, "30 m"), ("EPSG:4326", 1, "1 degree"), ("EPSG:4326", 0.5, "0.5 degrees"),
        ("EPSG:2263", 10, "10 US survey foot"), (None, 1, "1 unit"), (None, 2, "2 units"),
    ],
)  # fmt: skip
def test_sizes_of_pixels_have_units(crs: str | None, size: float, said: str) -> None:
    map_ = make_map((SLOPE,), row(1, 2), crs=crs, transform=Affine(size, 0, 0, 0, -size, 10))
    assert facts_of(map_)["pixel"] == said


def test_the_false_discovery_rate_is_named(make_stack: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(make_stack(random_series((8, 6, 7))))
    pw.apply(stack, "ols", tmp_path / "fdr.tif", fdr="by:0.2")
    assert "false discovery rate  method=by, q=0.2, tests=42, " in run(tmp_path / "fdr.tif")


def test_hostile_names_are_escaped_in_notebooks(make_stack: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(make_stack(random_series((3, 4, 5)), folder=tmp_path / "<script>alert(1)<"))
    assert "<script>" not in stack._repr_html_()
    assert "&lt;script&gt;" in stack._repr_html_()
    assert "3, 2000-01-01 to 2002-01-01" in stack._repr_html_()
    map_ = pw.apply(stack, "ols")
    assert "<b>" not in pw.Map(map_.grid, (pw.Band("<b>"),), arrays={"<b>": map_["slope"]})._repr_html_()


@pytest.mark.skipif(not ALASKA.is_dir(), reason="no remoteparts_ak_ndvi")
def test_alaska(tmp_path: Path) -> None:
    pw.apply(pw.open_stack(ALASKA), "trend", tmp_path / "ak.tif")
    said = run(tmp_path / "ak.tif")
    assert "quantity    NDVI\nperiod      1982 to 2013, 32 layers" in said
    assert "the names say NDVI, but sampled values reach" in said
    assert "73.3 %  3 147 331 km²  1 no observation" in said
    assert "of tested  of region" in said


def test_shares_of_tested_are_those_of_classify(make_stack: Any, tmp_path: Path) -> None:
    values = random_series((9, 8, 9)) + 0.2 * np.arange(9)[:, None, None] * (np.arange(9) > 5)
    values[:, :4] = np.nan
    path = tmp_path / "t.tif"
    pw.apply(pw.open_stack(make_stack(values)), "ols", path, fdr=0.1)
    tally = pw.open_map(path).classify(tmp_path / "c.tif")
    rows = {one["class"]: one for one in json.loads(run(path, "--json"))["classes"]["rows"]}
    label = "significant increase, q \N{LESS-THAN OR EQUAL TO} 0.1"
    place = [one.label for one in tally.scheme.classes].index(label)
    assert rows[label]["share_of_tested"] == pytest.approx(tally.shares_of_tested[place])
    assert rows[label]["share"] == pytest.approx(tally.shares_of_tested[place] / 2, rel=1e-3)
    assert "share_of_tested" not in rows["missing"]
    of_tested, of_region = (f"{100 * share:.1f} %" for share in (rows[label]["share_of_tested"], rows[label]["share"]))
    assert re.search(rf"^ +of tested  of region +area\n +{of_tested} +{of_region} .*{label}$", run(path), re.MULTILINE)


def test_datasets_say_what_numbers_are(trend: Path) -> None:
    pytest.importorskip("xarray")
    data = pw.open_map(trend).to_xarray()
    assert data["slope"].attrs["pixelwise_kind"] == "change"
    assert data["slope"].attrs["ancillary_variables"] == "pvalue status"
    assert "ancillary_variables" not in data["intercept"].attrs
    assert data["slope"].attrs["units"] == "(10 year)-1"


def test_a_composite_has_no_classes_of_one_date(make_stack: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(make_stack(random_series((3, 8, 8))))
    said = run(str(pw.write_layers(stack, tmp_path / "c.tif")))
    assert "bands" in said
    assert "classes of" not in said
