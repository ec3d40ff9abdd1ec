"""Fixtures: tiny real GeoTIFFs, and the shared data where it lies beside the checkout."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import pixelwise
from pixelwise.rasters import inflate, tiff
from support.compiled import PLAIN
from support.images import YEARS
from support.limits import set_limits
from support.places import SHARED
from support.rasters import MakeStack, random_series, write_raster

# What is compiled in a test depends on the tests before it; test_jit.py listens.
logging.getLogger("pixelwise.kernels.jit").setLevel("WARNING")

# Machines differ: time is measured in benchmarks/, never asserted.
settings.register_profile("pixelwise", deadline=None, derandomize=True)
settings.load_profile("pixelwise")

#: Folders whose tests run twice under coverage: compiled and untraced, then traced in plain Python (`make coverage`).
#: Tracing makes Python, and numba's compiler, half as fast.
RUN_IN_PLAIN_PYTHON = ("kernels", "methods")

#: Other files that coverage need not trace, because others run the same lines.
UNTRACED = {
    "test_code",
    "test_damage",
    "test_docs_covariates",
    "test_docs_dates",
    "test_docs_methods",
    "test_docs_scenes",
    "test_fuzz",
    "test_hostile_maps",
    "test_properties",
    "test_readme",
    "test_reference_data",
    "test_soak",
    "test_surroundings",
    "test_tampered",
    "test_torture",
}

#: Files that take longest: two processes that begin with them end together. The first also compile most kernels,
#: untraced.
LONGEST = (
    "test_methods_contract",
    "test_torture",
    "test_fuzz",
    "test_boundary",
    "test_foreign_files",
    "test_code",
    "test_hostile_maps",
    "test_damage",
    "test_mann_kendall",
    "test_properties",
    "test_seasonal_kendall",
    "test_fingerprint",
    "test_planted",
    "test_leftovers",
    "test_readme",
    "test_contextual_mann_kendall",
    "test_answer",
    "test_composited",
    "test_resources",
    "test_run",
    "test_verify",
    "test_faults",
    "test_read_errors",
    "test_pairing",
    "test_functions",
    "test_journal",
    "test_soak",
    "test_docs_scenes",
    "test_docs_methods",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, and leave out of coverage what adds nothing to it."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
    for item in items:
        in_plain_python = item.path.parent.name in RUN_IN_PLAIN_PYTHON and item.path.stem != "test_jit"
        if not PLAIN and (in_plain_python or item.path.stem in UNTRACED):
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let processes that an untraced test starts be untraced too."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("no_cover"):
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        return (yield)


@pytest.fixture
def make_stack(tmp_path: Path) -> MakeStack:
    """Write (time, y, x) values as one GeoTIFF per time and return their folder."""

    def make(values: Any, times: Sequence[Any] = (), folder: str = "stack", **profile: Any) -> Path:
        times = times or range(2000, 2000 + len(values))
        for layer, time in zip(values, times, strict=True):
            write_raster(tmp_path / folder / f"ndvi_{time}.tif", layer, **profile)
        return tmp_path / folder

    return make


@pytest.fixture
def three(make_stack: MakeStack) -> Path:
    """Three years: ndvi_2000.tif to ndvi_2002.tif."""
    return make_stack(YEARS)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return an empty folder for maps."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def stack(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> pixelwise.RasterStack:
    """Return a stack of 5 dates; every job keeps a journal and has small blocks."""
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=4096)
    return pixelwise.open_stack(
        make_stack(random_series((5, 150, 130), seed=4), tiled=True, blockxsize=32, blockysize=32)
    )


@pytest.fixture(params=["libdeflate", "zlib"])
def inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What inflates: libdeflate, and Python's zlib, which takes over where a stream is unusual."""
    if request.param == "zlib":
        monkeypatch.setattr(tiff, "inflater", lambda: inflate.inflate_slowly)


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Return a folder of the shared data; the test is skipped by name where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            pytest.skip(f"shared data {name} is absent")
        return folder

    return find
