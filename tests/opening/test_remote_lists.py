"""Lists, tables and STAC items that name files on servers, with dates; what they may not name is not opened."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.opening.pairing import open_covariate
from pixelwise.stacks.spec import InputSpec
from support.command_line import run
from support.rasters import random_series, read_all, write_raster
from support.servers import Odd, odd_server

DAYS = ("2001-03-05", "2002-03-07", "2003-03-09")
VALUES = random_series((3, 40, 50))


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Odd]:
    root = tmp_path / "root"
    for index, image in enumerate(VALUES):
        write_raster(root / f"{'abc'[index]}.tif", image, compress="deflate")
    with odd_server(root) as server:
        yield server


def item(href: str, day: str, **assets: Any) -> dict[str, Any]:
    asset = {"href": href, "type": "image/tiff; application=geotiff; profile=cloud-optimized", "roles": ["data"]}
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": f"item-{day}",
        "properties": {"datetime": f"{day}T10:20:30.123Z"}, "assets": {"ndvi": asset, **assets},
    }  # fmt: skip


def write(root: Path, base: str) -> None:
    """Write the same files as a list, a table and STAC items, with names of URLs or relative to the list."""
    names = [f"{base}{letter}.tif" for letter in "abc"]
    (root / "dates.csv").write_text("path,date\n" + "".join(f"{n},{d}\n" for n, d in zip(names, DAYS, strict=True)))
    items = [item(name, day) for name, day in zip(names, DAYS, strict=True)]
    (root / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    (root / "bare.geojson").write_text(json.dumps(items))
    (root / "list.txt").write_text("\n".join(names))


def problem(source: Any, **options: Any) -> str:
    with pytest.raises((pw.InputError, pw.ParameterError)) as caught:
        pw.open_stack(source, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", ["dates.csv", "items.json", "bare.geojson"])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("remote", [False, True])
def test_dated_lists(name: str, relative: bool, remote: bool, odd: Odd, tmp_path: Path) -> None:
    folder = odd.root if remote or relative else tmp_path
    write(folder, "" if relative else f"{odd.url}/")
    source = f"{odd.url}/{name}" if remote else str(folder / name)
    stack = pw.open_stack(source, allow_scheme="http")
    assert [str(day) for day in stack.axis.days] == list(DAYS)
    np.testing.assert_array_equal(read_all(stack), VALUES)
    # Relative names beside a local list are local files.
    assert (odd.seen == []) == (relative and not remote)


def test_a_list_of_urls_and_a_table_of_dates(odd: Odd, tmp_path: Path) -> None:
    write(tmp_path, f"{odd.url}/")
    stack = pw.open_stack(f"@{tmp_path}/list.txt", times=str(tmp_path / "dates.csv"), allow_scheme="http")
    assert [str(day) for day in stack.axis.days] == list(DAYS)
    write(odd.root, "")
    result = run("plan", f"@{odd.url}/list.txt", "--times", tmp_path / "dates.csv", "--allow-scheme", "http")
    assert result.exit_code == 0, result.stderr


def test_the_command_line(odd: Odd, tmp_path: Path) -> None:
    write(tmp_path, f"{odd.url}/")
    words = ["apply", "ols", tmp_path / "items.json", "-o", tmp_path / "out.tif"]
    refused = run(*words)
    assert refused.exit_code == 1
    assert f"names {odd.url}/a.tif: is on a server; to read it, add --allow-scheme http" in refused.stderr
    assert odd.seen == []
    assert run(*words, "--allow-scheme", "http").exit_code == 0
    assert run(*words, "--allow-scheme", "gopher", "--overwrite").exit_code == 1
    plan = run("plan", tmp_path / "items.json", "--allow-scheme", "http,s3", "--write-recipe", tmp_path / "job.toml")
    assert plan.exit_code == 0, plan.stderr
    assert "allow" not in (tmp_path / "job.toml").read_text()
    again = run("apply", "ols", "--recipe", tmp_path / "job.toml", "-o", tmp_path / "again.tif")
    assert "add --allow-scheme http" in again.stderr


def test_covariates_and_recipes(odd: Odd, tmp_path: Path) -> None:
    write(odd.root, "")
    (tmp_path / "rain.toml").write_text(f'input = ["{odd.url}/dates.csv"]\n')
    spec = InputSpec(allow_scheme="http")
    for text in (f"{odd.url}/dates.csv", str(tmp_path / "rain.toml")):
        np.testing.assert_array_equal(read_all(open_covariate(text, spec)), VALUES)
        with pytest.raises(pw.InputError, match="add --allow-scheme http"):
            open_covariate(text, InputSpec())


def test_scenes_of_a_product(odd: Odd) -> None:
    random, names = np.random.default_rng(0), []
    for year in (2019, 2020, 2021):
        scene = f"LC08_L2SP_044034_{year}0705_{year}1016_02_T1"
        for band in ("SR_B4", "SR_B5", "SR_B6", "QA_PIXEL"):
            values = random.integers(8000, 30000, (40, 50)) if band[0] == "S" else np.full((40, 50), 21824)
            write_raster(odd.root / f"{scene}_{band}.TIF", values.astype("uint16"), compress="deflate")
            names.append(f"{scene}_{band}.TIF")
    options: dict[str, Any] = {"product": "landsat-c2-l2", "value": "ndvi"}
    far = pw.open_stack([f"{odd.url}/{name}" for name in names], allow_scheme="http", **options)
    # One request for each header that is needed, and none for other bands.
    assert sorted(path for path, _ in odd.seen) == sorted(f"/{name}" for name in names if "_B6" not in name)
    near = pw.open_stack([odd.root / name for name in names], **options)
    np.testing.assert_array_equal(read_all(far), read_all(near))
    assert np.isfinite(read_all(near)).any()


def test_which_asset(odd: Odd, tmp_path: Path) -> None:
    other = {"href": f"{odd.url}/c.tif", "type": "image/tiff"}
    shown = {"href": f"{odd.url}/x.tif", "type": "image/tiff", "roles": ["overview"]}
    path = tmp_path / "items.json"
    path.write_text(json.dumps([item(f"{odd.url}/a.tif", day, red=other, shown=shown) for day in DAYS[:2]]))
    text = problem(path, allow_scheme="http")
    assert "item 'item-2001-03-05' has 2 rasters (ndvi, red); choose one with --asset NAME" in text
    assert "has no asset 'nir'; its assets are ndvi, red, shown" in problem(path, allow_scheme="http", asset="nir")
    path.write_text(json.dumps([item(f"{odd.url}/a.tif", DAYS[0], red=other), item(f"{odd.url}/b.tif", DAYS[1])]))
    assert len(pw.open_stack(path, allow_scheme="http", asset="ndvi")) == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not a list of STAC items"),
        ("[]", "not a list of STAC items; expected an ItemCollection"),
        ("[1, 2]", "not a list of STAC items; expected an ItemCollection"),
        ("[" * 5000, "not a list of STAC items"),
        ('{"features": [{"id": "x"}]}', "item 'x' has no assets"),
        ('[{"id": "x", "assets": {"a": {"href": 1, "type": "image/tiff"}}}]', "item 'x' has no asset 'a'"),
        ('[{"assets": {"a": {"href": "a.tif", "type": "image/tiff"}}}]', "item 1 has the datetime None"),
    ],
)
def test_items_that_are_none(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text(content)
    assert expected in problem(tmp_path / "items.json")


@pytest.mark.parametrize("name", ["items.json", "dates.csv", "list.txt"])
@pytest.mark.parametrize("base", ["file:///etc/", "https://other.invalid/", "/etc/", "ftp://a/", "http://u:pw@a.b/"])
def test_what_a_list_may_not_name(name: str, base: str, odd: Odd, tmp_path: Path) -> None:
    """Whatever is allowed, a list names only what is allowed; one on a server, no local file."""
    write(odd.root, base)
    source = f"{'@' if name == 'list.txt' else ''}{odd.url}/{name}"
    text = problem(source, allow_scheme="http")
    assert "names " in text
    assert {path for path, _ in odd.seen} == {f"/{name}"}
    assert "u:pw" not in text


def test_vrts_and_sidecars_never_open_a_server(odd: Odd, tmp_path: Path) -> None:
    for year in (2001, 2002):
        vrt = f"""<VRTDataset rasterXSize="50" rasterYSize="40"><VRTRasterBand dataType="Float32" band="1">
            <SimpleSource><SourceFilename>{odd.url}/a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""
        (tmp_path / f"v_{year}.vrt").write_text(vrt)
        (odd.root / f"v_{year}.vrt").write_text(vrt)
    assert "is not a local file" in problem(tmp_path / "v_200*.vrt", allow_scheme="http")
    assert odd.seen == []
    text = problem([f"{odd.url}/v_2001.vrt", f"{odd.url}/v_2002.vrt"], allow_scheme="http")
    assert "v_2001.vrt: not a raster that can be read from a server" in text
    assert {path for path, _ in odd.seen} == {"/v_2001.vrt", "/v_2002.vrt"}
    # What lies beside a file on a server is not asked for.
    odd.seen.clear()
    (odd.root / "a.tif.aux.xml").write_text("<PAMDataset/>")
    (odd.root / "a.tif.ovr").write_text("x")
    pw.open_stack({f"{odd.url}/a.tif": "2001", f"{odd.url}/b.tif": "2002"}, allow_scheme="http")
    assert {path for path, _ in odd.seen} == {"/a.tif", "/b.tif"}


def test_a_map_names_no_server_that_the_user_does_not(odd: Odd, tmp_path: Path) -> None:
    sources = [f"{odd.url}/{letter}.tif" for letter in "abc"]
    pw.apply(pw.open_stack(dict(zip(sources, DAYS, strict=True)), allow_scheme="http"), "ols", tmp_path / "map.tif")
    odd.seen.clear()
    for words in ([], ["--allow-scheme", "http"]):
        refused = run("verify", tmp_path / "map.tif", *words)
        assert refused.exit_code == 1
        assert "is outside its folder and is opened only if you name it" in refused.stderr
    assert odd.seen == []
    command = shlex.split(refused.stderr.strip().splitlines()[-1].partition("mean: ")[2])
    passed = run(*command[1:])
    assert (passed.exit_code, "no difference" in passed.stdout) == (0, True), passed.stderr
