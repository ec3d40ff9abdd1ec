"""What a map says of its making may be anybody's: limits hold before anything is made of it."""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import shutil
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.maps.map import open_map
from pixelwise.maps.tag import BYTES_PER_ITEM, LARGEST_PROVENANCE, TAG, decode_provenance, encode_provenance
from pixelwise.verify import compare as door
from pixelwise.verify import pixels
from pixelwise.verify.compare import verify
from support.command_line import run
from support.rasters import PROFILE, random_series

SHAPE = (7, 6, 9)
DOORS = (("verify", "trend.tif", "--pixels", "3"), ("plot", "trend.tif", "-o", "trend.png", "--overwrite"))


@pytest.fixture(autouse=True)
def trend(make_stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_stack(random_series(SHAPE))
    return pw.apply(pw.open_stack("stack"), "ols", "trend.tif", executor="inline").paths[0]


def refused(*words: str) -> str:
    """Return the one line in which a command ends."""
    result = run(*words)
    assert result.exit_code == 1, result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    assert result.output.removesuffix("\n").isprintable()
    assert len(result.output) < 3000
    return result.output


def packed(text: bytes) -> str:
    return "zlib:" + base64.b64encode(zlib.compress(text, 9)).decode()


def put_tag(path: Path, text: str) -> None:
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**{TAG: text})


def told(path: Path) -> dict[str, Any]:
    with rasterio.open(path) as dataset:
        return decode_provenance(dataset.get_tag_item(TAG))


def retell(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    provenance = told(path)
    edit(provenance)
    put_tag(path, packed(json.dumps(provenance).encode()))


# ------------------------------------------------------------------------------------- what a tag may hold


def test_what_real_maps_need_is_far_below_the_limits() -> None:
    """5000 dates of three files each, with long names."""
    layers = [
        {"date": "2000-01-01", "precision": "day", "pieces": [[f"../archive/tile/{i:05}_{k}.tif", 1] for k in "abc"]}
        for i in range(5000)
    ]
    files = [
        {"path": name, "size": 123_456_789, "mtime_ns": 1_700_000_000_000_000_000}
        for layer in layers
        for name, _ in layer["pieces"]
    ]
    text = json.dumps({"input": {"layers_used": layers, "files": files}}, separators=(",", ":"))
    assert 2e6 < len(text) < LARGEST_PROVENANCE / 20
    assert sum(map(text.count, "[{,")) < LARGEST_PROVENANCE / BYTES_PER_ITEM / 20
    assert decode_provenance(packed(text.encode()))["input"]["files"] == files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (packed(b'{"a":[' + b"[]," * 5_000_000 + b"1]}"), "10000002 brackets and commas, more than 4194304"),
        (packed(b" " * 200_000_000), "it unpacks to more than 64 MB"),
        (packed(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"), "more than 32 nested brackets"),
        ('{"a":' + "[" * 100_000, "damaged"),
        ('{"a":' + "9" * 101 + "}", "a number of 101 digits"),
        ('{"a":-' + "9" * 4400 + "}", "a number of 4401 digits"),
        ('{"a":1e999}', "1e999 is not a finite number"),
        ('{"a":NaN}', "NaN is not a finite number"),
        ('{"a":-Infinity}', "-Infinity is not a finite number"),
        ("[1]", "it holds a list instead of a table"),
        ('"\\ud800"', "it holds a string instead of a table"),
    ],
    ids=lambda text: text[:20] if not text.startswith("zlib") else f"packed{len(text)}",
)
def test_a_tag_is_refused_before_it_takes_memory(text: str, words: str) -> None:
    """The first, whole, takes 380 MB as Python's lists; what it unpacks to is 15 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(pw.InputError, match="the tag PIXELWISE is damaged") as error:
            decode_provenance(text)
        assert tracemalloc.get_traced_memory()[1] < 150e6
    finally:
        tracemalloc.stop()
    assert words in str(error.value)


def test_a_map_that_could_not_be_opened_is_not_written() -> None:
    with pytest.raises(pw.OutputError, match=r"cannot name all its input files.*brackets and commas, more than"):
        encode_provenance({"files": [[]] * 4_200_000})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("layers_used", 5, "input.layers_used holds a whole number instead of a list"),
        ("layers_used", {}, "input.layers_used holds a table instead of a list"),
        ("layers_used", [5], r"input.layers_used\[0\] holds a whole number instead of a table"),
        ("layers_used", [{"precision": 1.5}], r"input.layers_used\[0\].precision holds a number instead of a string"),
        ("layers", {"a": []}, "input.layers holds a table instead of a whole number"),
        ("layers", True, "input.layers holds true or false instead of a whole number"),
        ("first", None, "input.first holds nothing instead of a string"),
        ("last", "9" * 100_000, "input.last is longer than 1000 characters"),
    ],
)
def test_fields_of_the_wrong_kind_are_told_wherever_a_map_is_opened(
    name: str, value: Any, words: str, trend: Path
) -> None:
    retell(trend, lambda p: p["input"].update({name: value}))
    with pytest.raises(pw.InputError, match=rf"trend\.tif: the tag PIXELWISE is damaged \({words}"):
        open_map(trend)
    for command in DOORS:
        refused(*command)
    assert run("plan", "stack", "trend.tif").exit_code in (0, 1)


def test_a_long_description_is_not_drawn(trend: Path) -> None:
    with rasterio.open(trend, "r+") as dataset:
        dataset.update_tags(1, DESCRIPTION="long " * 100_000)
    assert "the name, description or unit of a band is longer than 1000 characters" in refused(*DOORS[1])


@pytest.mark.parametrize(("files", "bands"), [("trend.tif", None), ("t_{band}.tif", ["slope"] * 1000)])
def test_one_file_stands_for_one_band(files: str, bands: Any, trend: Path) -> None:
    """Otherwise the same file would be read a million times."""
    shutil.copy(trend, "t_slope.tif")
    retell(trend, lambda p: p.update({"files": files, "bands": bands or p["bands"]}))
    assert "does not name files of this folder" in refused(*DOORS[0])


# ------------------------------------------------------------------------------- what a comparison may cost


@pytest.mark.parametrize(
    ("method", "parameters", "words"),
    [
        ("harmonic", {"harmonics": 10**9}, "harmonics=1000000000: harmonic needs a whole number, at most 183"),
        ("harmonic", {"harmonics": 5000}, "at most 183"),
        ("polynomial", {"degree": 10**9}, "degree=1000000000: polynomial needs a whole number, at most 50"),
        ("polynomial", {"degree": 5000}, "at most 50"),
        ("contextual_mann_kendall", {"window": 10**9 + 1}, "at most 101"),
        ("mann_kendall", {"correction": "hamed_rao", "lags": 10**20}, "at most 2147483647"),
        ("ols", {"min_obs": 10**30}, "at most 2147483647"),
        ("ols", {"min_obs": 1e30}, "at most 2147483647"),
        ("summary", {"quantiles": "p1," * 10_000}, "its parameters are too long"),
        ("regress", {"covariates": ["time"] * 10_000}, "its parameters are too long"),
        ("wls", {"weights": [1.0] * 10_000}, "10000 numbers for 7 dates"),
    ],
)
def test_parameters_are_bounded(method: str, parameters: dict[str, Any], words: str, trend: Path) -> None:
    retell(trend, lambda p: p.update(method=method, parameters=parameters))
    began = time.process_time()
    assert words in refused(*DOORS[0])
    assert time.process_time() - began < 5


def test_parameters_are_bounded_for_a_job_too() -> None:
    for method, parameter in (("harmonic", "harmonics=5000"), ("ols", f"min_obs={10**30}")):
        assert "at most" in refused("apply", method, "stack", "-p", parameter, "-o", "new.tif").splitlines()[-1]


def test_a_fifo_is_no_input(trend: Path) -> None:
    os.mkfifo("stack/fifo")

    def edit(provenance: dict[str, Any]) -> None:
        provenance["input"]["files"][0].update(path="stack/fifo", size=0)
        provenance["input"]["layers_used"][0]["pieces"] = [["stack/fifo", 1]]

    retell(trend, edit)
    assert "stack/fifo: is a FIFO; expected a file" in refused(*DOORS[0])
    assert "stack/fifo: is a FIFO; expected a file" in refused("verify", "stack/fifo")


def test_a_file_is_not_read_more_often_than_it_has_bands(trend: Path) -> None:
    def edit(provenance: dict[str, Any]) -> None:
        one = {"date": "2000-01-01", "precision": "year", "pieces": [["stack/ndvi_2000.tif", 1]]}
        provenance["input"]["layers_used"] = [one, {**one, "pieces": [["stack/../stack/ndvi_2000.tif", 1]]}]
        provenance["input"]["files"].append({**provenance["input"]["files"][0], "path": "stack/../stack/ndvi_2000.tif"})

    retell(trend, edit)
    assert "band 1 of 'stack/ndvi_2000.tif' occurs 2 times" in refused(*DOORS[0])


def test_a_name_that_is_no_text(trend: Path) -> None:
    def edit(provenance: dict[str, Any]) -> None:
        provenance["input"]["files"][0]["path"] = "\ud800"
        provenance["input"]["layers_used"][0]["pieces"] = [["\ud800", 1]]

    retell(trend, edit)
    assert "damaged" in refused(*DOORS[0])


def test_blocks_that_take_too_much_memory(trend: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of a file may claim any size; 9 x 6 pixels of float32 are more than these 200 bytes."""
    monkeypatch.setattr(pixels, "LARGEST_BLOCK", 200)
    assert "ndvi_2000.tif: cannot be verified: its blocks of 9 x 6 pixels" in refused(*DOORS[0])


def test_complex_numbers_and_pixels_without_size(trend: Path) -> None:
    path = Path("stack/ndvi_2000.tif")
    usual = {**PROFILE, "height": 6, "width": 9, "count": 1, "dtype": "float32"}
    for profile, words in (
        ({"dtype": "complex64"}, "holds complex numbers; expected real numbers"),
        ({"transform": rasterio.Affine(0, 0, 5, 0, 0, 5)}, "is not on the grid of the map: its pixels have zero size"),
    ):
        with rasterio.open(path, "w", **{**usual, **profile}):
            pass
        size = path.stat().st_size
        retell(trend, lambda p, size=size: p["input"]["files"][0].update(size=size))
        assert words in run(*DOORS[0]).output


def test_a_sample_takes_memory_for_itself_only() -> None:
    for total, count in ((10**18, 1000), (5_000_000, 200_000)):
        tracemalloc.start()
        sample = door._drawn(np.random.default_rng(3), total, count)
        assert tracemalloc.get_traced_memory()[1] < 60 * count + 1e6
        tracemalloc.stop()
        assert len(np.unique(sample)) == count
        assert 0.45 * total < sample.mean() < 0.55 * total
        np.testing.assert_array_equal(sample, door._drawn(np.random.default_rng(3), total, count))
    with pytest.raises(pw.ParameterError, match="at most 10000000 are drawn; --all"):
        verify("trend.tif", pixels=10**12)


def test_an_origin_so_far_away_that_any_intercept_would_pass(trend: Path) -> None:
    retell(trend, lambda p: p.update(parameters={"origin": 1e308}))
    assert "origin=1e+308: ols needs a decimal year" in refused(*DOORS[0])


@pytest.mark.parametrize(("scale", "offset"), [(1e38, 0.0), (1e38, 1e38), (-1e38, -1e38)])
@pytest.mark.parametrize("size", [1.0, 1e38, 1e115, 1e154, 1e260, 1e270])
def test_numbers_at_the_end_of_float64(size: float, scale: float, offset: float, make_stack: Any, trend: Path) -> None:
    """Squares leave float64 at 1e154, and the values themselves at the last size."""
    shutil.rmtree("stack")
    make_stack(random_series(SHAPE).astype(np.float64) * size, dtype="float64")
    trend.unlink()
    pw.apply(pw.open_stack("stack"), "ols", trend, executor="inline", dtype="float64")
    assert run(*DOORS[0]).exit_code == 0
    retell(trend, lambda p: p["input"]["spec"].update(scale=scale, offset=offset))
    result = run(*DOORS[0])
    assert result.exit_code == 1
    assert "differ" in result.output or "too large for float64" in result.output


@pytest.mark.parametrize(("scale", "offset"), [(1e308, 0.0), (1.0, 1e300), (-1.1e38, 1.0)])
def test_numbers_that_no_option_takes(scale: float, offset: float, trend: Path) -> None:
    retell(trend, lambda p: p["input"]["spec"].update(scale=scale, offset=offset))
    assert "is too large: expected at most 1e+38" in refused(*DOORS[0])


# -------------------------------------------------------------------------------------- seeded mutations

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 5, 10**9, 2**63, 10**90, 1.5, 1e308, -1e-308, "", "x", "nan", "\x1b[2J", "\ud800", "a\nb",
    "../../etc/passwd", "/dev/zero", "/vsicurl/http://127.0.0.1:9/x.tif", "0001-01-01", "9999-12-31", "float16", "O",
    "a" * 5000, [], {}, [[]], [None], [{}], {"a": {"b": []}}, [1] * 500, ["x"] * 500, [[1, [2, [3, [4]]]]],
)  # fmt: skip


def mutate(value: Any, rng: random.Random) -> Any:
    """Return a copy of JSON with one or several places changed: another value, a key less or more, a list longer."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder: Any = value
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(holder[key], (dict, list)) and rng.random() < 0.8:
                holder = holder[key]
                continue
            match rng.randrange(6):
                case 0:
                    del holder[key]
                case 1 if isinstance(holder, list):
                    holder.extend(holder[:50])
                case 2:
                    holder[key] = [holder[key]]
                case 3:
                    holder[key] = mutate(holder, rng) if rng.random() < 0.2 else rng.choice(VALUES)
                case _:
                    holder[key] = rng.choice(VALUES)
            break
    return value


@pytest.mark.parametrize("method", ["ols", "mann_kendall", "composite"])
def test_mutated_tags_end_in_lines_or_in_a_verdict(method: str, trend: Path) -> None:
    """So many of each here; more by hand, with PIXELWISE_MUTATIONS=1000."""
    if method == "composite":
        assert run("composite", "stack", "-o", "made.tif", "--quiet").exit_code == 0
        shutil.copy("made.tif", trend)
    else:
        pw.apply(pw.open_stack("stack"), method, trend, executor="inline", overwrite=True)
    good, first = trend.read_bytes(), told(trend)
    rng = random.Random(f"15 {method}")
    for number in range(int(os.environ.get("PIXELWISE_MUTATIONS", "30"))):
        changed = mutate(first, rng)
        trend.write_bytes(good)
        put_tag(trend, packed(json.dumps(changed).encode()))
        began = time.process_time()
        for command in (*DOORS[: 2 if number % 10 == 0 else 1], ("plan", "trend.tif", "stack")):
            try:
                result = run(*command)
            except Exception as error:
                raise AssertionError((number, command, changed)) from error
            assert result.exit_code in (0, 1), (number, command, changed)
            assert all(line.isprintable() for line in result.output.split("\n")), (number, command, changed)
            assert len(result.output) < 20_000, (number, command, changed)
        assert time.process_time() - began < 20, (number, changed)
