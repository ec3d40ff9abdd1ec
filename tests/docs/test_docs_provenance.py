"""docs/provenance.md documents exactly the fields that real maps have, with their types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

import pixelwise as pw
from pixelwise.maps.tag import decode_provenance
from support.pages import samples
from support.places import ROOT
from support.rasters import random_series, write_raster
from support.scene_files import write_scenes

PAGE = ROOT / "docs" / "provenance.md"

#: Names of types in the tables of the page.
TYPES = {"text": str, "integer": int, "number": (int, float), "true/false": bool, "list": list, "table": dict}
#: Tables with names that users, methods or files choose: their content is not listed.
OPEN = ("parameters", "write", "further_inputs", "input.spec", "function.packages", "input.composite.parameters")

#: Fields of data that are not made here.
RARE = {
    "input.alpha_read", "input.calendar", "input.clear", "input.composite.by", "input.composite.parameters",
    "input.gains.preset", "input.gains.unchanged", "input.kind", "input.layers_used[].excess", "input.variables",
    "lost", "lost.files", "lost.pixels", "lost.worst", "part.axis",
}  # fmt: skip

#: Fields of data that are not made here.
RARE = {
    "input.alpha_read", "input.calendar", "input.clear", "input.composite.by", "input.composite.parameters",
    "input.gains.preset", "input.gains.unchanged", "input.kind", "input.layers_used[].excess", "input.variables",
    "lost", "lost.files", "lost.pixels", "lost.worst", "part.axis",
}  # fmt: skip


def documented() -> dict[str, str]:
    """The type of each field of the page, by its path."""
    return dict(re.findall(r"^\| `([\w.\[\]]+)` \| ([\w/]+) \|", PAGE.read_text(), re.MULTILINE))


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path of each field of a record, and its value."""
    if path:
        yield path, value
    if isinstance(value, dict) and path not in OPEN:
        for name, item in value.items():
            yield from fields(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield from ((name, one) for name, one in fields(item, f"{path}[]") if name != f"{path}[]")


def spread(values: Any) -> float:
    return float(values.max() - values.min())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    values = random_series((12, 20, 24), seed=2)
    for year, layer in enumerate(values, 2000):
        write_raster(folder / "ndvi" / f"ndvi_{year}.tif", layer)
        write_raster(folder / "rain" / f"rain_{year}.tif", layer * 2 + np.sin(year))
        rasterio.shutil.copy(folder / "ndvi" / f"ndvi_{year}.tif", folder / f"ndvi_{year}.vrt", driver="VRT")
    write_raster(folder / "cover.tif", np.ones((20, 24), "uint8"))
    table = "".join(f"{year},{np.cos(year):.3f}\n" for year in range(2000, 2012))
    (folder / "soi.csv").write_text("date,soi\n" + table)
    scenes = write_scenes(folder / "scenes", count=6, size=(24, 30), cloudy=0.1)
    rows = "".join(
        f"{path.relative_to(folder)},{1990 + k}-07-{1 + 3 * k:02d},{band},1.01,0,irmad,median\n"
        for k, path in enumerate(scenes.paths)
        for band in ("red", "nir")
    )
    (folder / "gains.csv").write_text("path,date,band,gain,offset,method,reference\n" + rows)
    return folder


@pytest.fixture(scope="module")
def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The provenance of maps of all kinds, as their files hold it."""
    stack, rain = pw.open_stack(folder / "ndvi"), pw.open_stack(folder / "rain")
    scenes = pw.open_stack(
        folder / "scenes", gains=str(folder / "gains.csv"), product="landsat-c2-l2", value="ndvi"
    ).composite("max", equal_count=1, season="06-01..08-31")
    area = pw.open_stack(folder / "ndvi", region=stack.grid.bounds, where=f"{folder / 'cover.tif'}=1")
    regress = pw.methods.regress(covariates=("rain", "time", f"{folder / 'soi.csv'}:soi"))
    written = {kind: folder / f"{kind}.tif" for kind in ("residuals", "anomalies")}
    options: Any = {"per": "decade", "min_valid": 0.5, "min_span": 0.5, "fdr": 0.1, "base": "2000..2011"}
    pw.apply(stack, "ols", folder / "trend.tif", write=written, **options)
    pw.apply(stack, "ols", folder / "ols_{band}.tif", bands=["slope"])
    pw.apply(stack, "ols", folder / "ols.zarr")
    pw.apply(stack, regress, folder / "regress.tif", inputs={"rain": rain})
    pw.apply(area, "ols", folder / "area.tif")
    pw.apply(scenes, "ols", folder / "rectified.tif")
    pw.write_layers(scenes, folder / "annual.tif")
    pw.apply(stack, spread, folder / "spread.tif")
    pw.apply(pw.open_stack(f"{folder}/ndvi_*.vrt"), "ols", folder / "vrt.tif")
    pw.apply(stack, "ols", folder / "p.tif", part="1/2")
    files = ["trend.tif", "ols_slope.tif", "ols.zarr", "regress.tif", "area.tif", "rectified.tif", "spread.tif"]
    found = {name: pw.open_map(folder / name).provenance for name in (*files, "vrt.tif", "p.tif.parts/1-of-2.tif")}
    for name in ("residuals.tif", "annual.tif"):
        with rasterio.open(folder / name) as file:
            found[name] = decode_provenance(file.tags()["PIXELWISE"])
    return {name: dict(record) for name, record in found.items()}


def test_fields_of_real_maps_are_documented(records: dict[str, dict[str, Any]]) -> None:
    known = documented()
    for name, record in records.items():
        for path, value in fields(record):
            assert path in known, (name, path)
            wanted = TYPES[known[path]]
            assert isinstance(value, wanted), (name, path, value)
            assert not isinstance(value, bool), (name, path, value)


def test_documented_fields_exist(records: dict[str, dict[str, Any]]) -> None:
    """Each is in one of the maps, or, if it takes unusual data to have it, in the code."""
    found = {path for record in records.values() for path, _ in fields(record)}
    code = "".join(path.read_text() for path in (ROOT / "src" / "pixelwise").rglob("*.py"))
    missing = documented().keys() - found
    assert missing == RARE
    for path in missing:
        assert f'"{path.rpartition(".")[2]}"' in code, path


def test_fields_that_are_always_there(records: dict[str, dict[str, Any]]) -> None:
    always = re.findall(r"^\| `([\w.\[\]]+)` \| \w+ \| always \|", PAGE.read_text(), re.MULTILINE)
    assert len(always) > 30
    for name, record in records.items():
        found = {path for path, _ in fields(record)}
        for path in always:
            if path.rpartition(".")[0].removesuffix("[]") in found or "." not in path:
                assert path in found, (name, path)


def test_samples(records: dict[str, dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert records
    monkeypatch.chdir(folder)
    for block in samples(PAGE, "python"):
        exec(compile(block, PAGE.name, "exec"), {})
