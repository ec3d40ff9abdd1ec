"""Q-values are those of scipy to the last bit, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from scipy.stats import false_discovery_control

from pixelwise.bands import Band, band_from_file
from pixelwise.errors import InputError, ParameterError, ResourceError
from pixelwise.grid import Block, Grid
from pixelwise.maps import ranks, scratch
from pixelwise.maps.false_discovery import Adjusted, FalseDiscovery, adjust, pvalues_of
from pixelwise.maps.scratch import Numbers

PVALUE = Band("pvalue", kind="test")


def grid_of(shape: tuple[int, int]) -> Grid:
    return Grid(None, Affine(1, 0, 0, 0, -1, 0), *shape)


def adjusted(pvalues: Any, q: float = 0.1, method: Any = "bh", **more: Any) -> Adjusted:
    """Adjust the p-values of an array, in its type."""
    return adjust(
        grid_of(pvalues.shape),
        [PVALUE],
        lambda name, block: pvalues[block.slices],
        FalseDiscovery(q, method),
        pvalue="pvalue",
        dtype=pvalues.dtype.name,
        **more,
    )


def assert_like_scipy(pvalues: Any, q: float, method: Any) -> int:
    """Compare q-values bit by bit, and significant pixels one by one; return how many are significant."""
    with adjusted(pvalues, q, method) as found:
        qvalues = found.read(grid_of(pvalues.shape).block)
        codes = found.codes(pvalues, qvalues)
    tested = ~np.isnan(pvalues)
    wanted = np.full(pvalues.shape, np.nan)
    if tested.any():
        wanted[tested] = false_discovery_control(pvalues[tested].astype(np.float64), method=method)
    assert qvalues.tobytes() == wanted.astype(pvalues.dtype).tobytes()
    significant = wanted <= q
    assert np.array_equal(codes, np.where(tested, significant, 2))
    assert (found.tests, found.rejected) == (tested.sum(), significant.sum())
    assert found.threshold == (pvalues[significant].max() if significant.any() else None)
    return int(significant.sum())


def random_maps(count: int) -> Iterator[Any]:
    """Yield p-values with and without signal, ties and gaps."""
    random = np.random.default_rng(5)
    for number in range(count):
        pvalues = random.random(random.integers(1, 90, 2)) ** random.choice([1, 2, 8])
        if number % 3 == 0:
            pvalues = pvalues.round(2)
        if number % 4 == 0:
            pvalues[random.random(pvalues.shape) < 0.3] = np.nan
        if number % 5 == 0:
            pvalues[random.random(pvalues.shape) < 0.2] = random.choice([0.0, 1.0])
        yield pvalues


@pytest.fixture(params=["usual", "small"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small maps take all the ways that large maps take."""
    if request.param == "small":
        monkeypatch.setattr(ranks, "SORTED", 200)
        monkeypatch.setattr(ranks, "COUNTED", 20)
        monkeypatch.setattr(ranks, "PIECE", 8192)
        monkeypatch.setattr(ranks, "TERMS", 128)
        monkeypatch.setattr(scratch, "IN_MEMORY", 4000)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("method", ["bh", "by"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_maps_are_as_scipy_says(dtype: str, method: str) -> None:
    found = [assert_like_scipy(pvalues.astype(dtype), 0.1, method) for pvalues in random_maps(100)]
    assert min(found) == 0
    assert max(found) > 100


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("pvalues", "significant"),
    [
        ([[0.09]], 1),
        ([[0.11]], 0),
        ([[np.nan]], 0),
        ([[np.nan, np.nan], [np.nan, 0.04]], 1),
        (np.ones((30, 30)), 0),
        (np.zeros((30, 30)), 900),
        (np.full((30, 30), 0.05), 900),
        (np.linspace(0.1, 1, 900).reshape(30, 30), 0),
        (np.nextafter(np.full((30, 30), 0.05), np.arange(2.0)[:, None].repeat(15, 0)), 900),
    ],
)
def test_edges(pvalues: Any, significant: int, dtype: str) -> None:
    assert assert_like_scipy(np.array(pvalues, dtype=dtype), 0.1, "bh") == significant


def test_zero_has_two_signs() -> None:
    with adjusted(np.array([[-0.0, 0.5, 0.9]], dtype=np.float32)) as found:
        assert found.read(Block(0, 0, 1, 3)).tolist() == [[0.0, 0.75, np.float32(0.9)]]
        assert (found.rejected, found.threshold) == (1, 0.0)


@pytest.mark.parametrize("count", [1, 100, 129, 1000, 123_457, 2_000_003])
def test_sums_of_reciprocals_have_numpys_bits(count: int) -> None:
    found, expected = ranks._harmonic(1, count), np.sum(1 / np.arange(1, count + 1, dtype=np.float64))
    if np.lib.NumpyVersion(np.__version__) < "2.3.0" and count > 8192:
        # Then NumPy added up sums of 8192 numbers one after the other.
        expected = pytest.approx(expected, rel=1e-14, abs=0)
    assert found == expected


@pytest.mark.parametrize("value", [-0.001, 1.001, 7.0])
def test_other_numbers_are_no_pvalues(value: float) -> None:
    with pytest.raises(InputError, match=rf"^the map: band pvalue has the value {value:g}: p-values lie"):
        adjusted(np.array([[0.5, value, np.nan]], dtype=np.float32))


def test_only_pixels_of_status_0_are_tests() -> None:
    arrays = {"pvalue": np.array([[0.04, 0.04, np.inf, 7.0]]), "status": np.array([[0, 6, 0, 3]], dtype=np.uint8)}
    status = Band("status", integer=True, kind="code")
    with adjust(
        grid_of((1, 4)),
        [PVALUE, status],
        lambda name, block: arrays[name][block.slices],
        FalseDiscovery(0.05),
        pvalue="pvalue",
        dtype="float64",
    ) as found:
        qvalues = found.read(Block(0, 0, 1, 4))
        assert found.codes(arrays["pvalue"], qvalues).tolist() == [[1, 2, 2, 2]]
    assert (found.tests, found.domain) == (1, "pixels of status 0 with a pvalue")


@pytest.mark.parametrize("q", [0, 1, -0.1, 1.5, float("nan"), True, None, "x", "0.1:bh", "by:", "by:2"])
def test_impossible_rates(q: Any) -> None:
    with pytest.raises(ParameterError, match=r"expected a number|not one of"):
        FalseDiscovery.of(q)


def test_rates_as_texts() -> None:
    assert FalseDiscovery.of("0.1") == FalseDiscovery.of(0.1) == FalseDiscovery(0.1, "bh")
    assert FalseDiscovery.of("by:0.05") == FalseDiscovery(0.05, "by")


SLOPE = Band("slope", kind="change", pvalue="pvalue")
OTHER = Band("pvalue_mk", kind="test")
COUNT = Band("n", integer=True, kind="count")


@pytest.mark.parametrize(
    ("bands", "asked", "wanted"),
    [
        ([SLOPE, OTHER, PVALUE], None, "pvalue"),
        ([SLOPE, OTHER, PVALUE], "pvalue_mk", "pvalue_mk"),
        ([COUNT, OTHER], None, "pvalue_mk"),
        ([Band("slope"), Band("pvalue")], None, "pvalue"),
        ([Band("slope"), Band("p")], "p", "p"),
        ([SLOPE, OTHER], None, "needs the band pvalue, which is not among those of the map: slope, pvalue_mk"),
        ([COUNT, OTHER, PVALUE], None, "several bands of p-values, pvalue_mk, pvalue: say which"),
        ([COUNT], None, "has no p-values"),
        ([SLOPE, PVALUE], "slope", "band slope does not hold p-values: those of this map are in pvalue"),
        ([SLOPE, PVALUE], "p", "unknown band 'p'"),
        ([SLOPE, PVALUE, Band("qvalue")], None, "has a band qvalue already"),
    ],
)
def test_which_pvalues(bands: list[Band], asked: str | None, wanted: str) -> None:
    if " " not in wanted:
        assert pvalues_of(bands, asked) == wanted
        return
    with pytest.raises(ParameterError, match=wanted):
        pvalues_of(bands, asked)


def test_a_band_of_qvalues_names_its_pvalues() -> None:
    band = band_from_file("qvalue", "", "", integer=False, kind="test", pvalue="pvalue")
    assert (band.kind, band.pvalue) == ("test", "pvalue")
    assert band_from_file("n", "", "", integer=True, kind="count", pvalue="pvalue").pvalue == ""
    with pytest.raises(ParameterError, match="only bands of kind change, signed, correlation, test have one"):
        Band("n", kind="count", pvalue="pvalue")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch, "IN_MEMORY", 100)
    monkeypatch.setattr(scratch, "write", full)
    with pytest.raises(ResourceError, match=r"a temporary file of 0\.0 GB cannot be written .*free some space"):
        adjusted(np.full((30, 30), 0.5), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_scratch_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY", 100)
    with Numbers(1000, np.dtype("f4"), tmp_path) as numbers:
        numbers.write(500, np.arange(500))
        assert numbers.read(998, 2).tolist() == [498, 499]
        assert not list(tmp_path.iterdir())
        with pytest.raises(ResourceError, match="was truncated"):
            numbers.read(999, 2)


MEASURE = """
import resource, sys
import numpy as np
from affine import Affine
from pixelwise.bands import Band
from pixelwise.grid import Grid
from pixelwise.maps.false_discovery import FalseDiscovery, adjust
edge = int(sys.argv[1])
def read(name, block):
    pvalues = np.random.default_rng(block.row * edge + block.col).random((block.height, block.width), dtype="float32")
    pvalues[: block.height // 10] **= 6
    return pvalues
def adjusted(edge):
    grid = Grid(None, Affine(1, 0, 0, 0, -1, 0), edge, edge)
    with adjust(grid, [Band("pvalue", kind="test")], read, FalseDiscovery(0.1), pvalue="pvalue") as found:
        return found.rejected / found.tests
adjusted(10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
share = adjusted(edge)
print(share, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
@pytest.mark.parametrize("edge", [3000, pytest.param(12_000, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_the_map(edge: int) -> None:
    """64 MB at most, which is what 16 million p-values alone take: these are 9 and 144 million."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(edge)], capture_output=True, text=True, check=True)
    share, grown = map(float, done.stdout.split())
    assert 0.04 < share < 0.05
    assert grown < 72
