"""docs/methods.md is what the docstrings say now, its samples run, and its numbers and comparisons hold."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pymannkendall
import pytest
import scipy.stats
from click.testing import CliRunner
from scipy.stats import norm

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.cli import main
from pixelwise.dates.axis import TimeAxis
from pixelwise.method import Method
from support.dates import MONTH
from support.pages import samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "methods.md"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_pages", ROOT / "docs" / "generate_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------- text


def test_is_what_the_docstrings_say(generator: ModuleType) -> None:
    text = PAGE.read_text()
    assert generator.generate(text, "methods.md") == text, "run make docs"
    assert set(generator.STATUS) == set(generator.REMEDIES) == {int(status) for status in Status}


def test_docstrings_become_markdown(generator: ModuleType) -> None:
    text = "As in `ols` of ``a * b``::\n\n    x = y**2\n\n    z = 1\n\nand n*m of `q`."
    made = "As in [`ols`](#ols) of `a * b`:\n\n```text\nx = y**2\n\nz = 1\n```\n\nand n\\*m of `q`."
    assert re.sub("\n\n+", "\n\n", generator.prose(text)) == made
    assert generator.cell("``|r|``\nof two") == "`\\|r\\|` of two"
    references = "A, B. (1990). One\ntwo.\n\nvan C, D. (2001). Three.\nE, F. (1890). Four."
    assert list(generator.entries(references)) == [
        "A, B. (1990). One two.", "van C, D. (2001). Three.", "E, F. (1890). Four.",
    ]  # fmt: skip


def test_every_part_of_a_docstring_is_there(generator: ModuleType) -> None:
    for factory in pw.methods.METHODS:
        method = generator.describe(factory)
        assert {"Method", "Parameters", "Returns", "Raises", "Notes", "References"} <= set(method["sections"])
        assert all(parameter["description"] for parameter in method["parameters"]), method["name"]


def test_links_lead_somewhere() -> None:
    text = PAGE.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
    for name in re.findall(r"\]\(([\w./]+)\)", text):
        assert (PAGE.parent / name).exists(), name


def test_error_rates_are_those_that_were_measured() -> None:
    text = PAGE.read_text()
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())["error_rates"]
    annual = [tests for case, tests in results.items() if "annual values, trend of" in case]
    assert len(annual) == 2
    for name, row in ((name, row) for tests in annual for name, row in tests.items()):
        cells = [*row["no trend"], *row["power"], row["no trend, no test"][0]]
        assert f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |" in text
    with_gaps = {case: row for case, row in results.items() if "annual values, gaps" in case}
    assert len(with_gaps) == 16
    for case, row in with_gaps.items():
        cells = [*row["no trend"], *row["power"], *row["clear-cuts"], row["untested"]]
        shown = " | ".join(f"{cell:.1f}" for cell in cells)
        assert re.search(rf"\| {case.rpartition(': ')[2]} \| .*{re.escape(shown)} \|", text), case
        if case.startswith("trend"):
            assert row["untested"] == 0


# ------------------------------------------------------------------------------------------------- samples


def test_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for year, layer in enumerate(random_series((21, 12, 10), seed=1), 1995):
        write_raster(Path("ndvi") / f"ndvi_{year}.tif", np.nan_to_num(layer, nan=-9999), nodata=-9999)
    for command in "".join(samples(PAGE, "console")).splitlines():
        program, *words = shlex.split(command.removeprefix("$ "))
        assert program == "pixelwise"
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    assert Path("trend.png").stat().st_size > 1000


# --------------------------------------------------------------------------------------------- conventions


def of(method: Method, times: Any, values: Any) -> dict[str, float]:
    """Return all bands of one series."""
    axis = TimeAxis.from_times(times)
    bound = method.bind(axis, [band.name for band in method.bands], {})
    table, _ = bound((np.ascontiguousarray(values, dtype=float)[:, None],))
    return {band.name: float(row[0]) for band, row in zip(bound.bands, table, strict=True)}


SERIES = np.random.default_rng(3).normal(size=(10, 21)).cumsum(axis=1)
YEARS = 2000 + np.arange(21)


@pytest.mark.parametrize("values", SERIES)
def test_scipy(values: Any) -> None:
    methods, values = pw.methods, values.round(1)  # so that there are ties
    line, fit = scipy.stats.linregress(YEARS, values), of(methods.ols(), YEARS, values)
    assert [fit[name] for name in ("slope", "intercept", "rvalue", "pvalue", "stderr")] == pytest.approx(list(line))
    for kind in ("separate", "joint"):
        theil = of(methods.theil_sen(intercept=kind), YEARS, values)
        assert [theil[b] for b in ("slope", "intercept", "low_slope", "high_slope")] == list(
            scipy.stats.theilslopes(values, YEARS, method=kind)
        )
    siegel = of(methods.siegel(), YEARS, values)
    assert (siegel["slope"], siegel["intercept"]) == tuple(scipy.stats.siegelslopes(values, YEARS))
    found, alone = (of(m, YEARS, values) for m in (methods.mann_kendall(), methods.contextual_mann_kendall(window=1)))
    tau = scipy.stats.kendalltau(YEARS, values, method="asymptotic")
    assert found["tau"] == pytest.approx(tau.statistic)
    assert alone["pvalue"] == pytest.approx(tau.pvalue)
    assert 2 * norm.sf(abs(found["s"]) / np.sqrt(found["var_s"])) == pytest.approx(tau.pvalue)
    few = values[:12] + np.linspace(0, 0.01, 12)
    exact = of(methods.mann_kendall(exact=True), YEARS[:12], few)
    assert exact["pvalue"] == pytest.approx(scipy.stats.kendalltau(YEARS[:12], few, method="exact").pvalue)


@pytest.mark.parametrize("values", SERIES)
def test_pymannkendall(values: Any) -> None:
    mann_kendall, n = pw.methods.mann_kendall, len(values)
    pairs = (
        (mann_kendall(), pymannkendall.original_test(values)),
        # Ranks of residuals: where values have few digits, rounding decides on ties.
        (mann_kendall(correction="hamed_rao", floor=False), pymannkendall.hamed_rao_modification_test(values)),
        (
            mann_kendall(correction="yue_wang", lags=n - 1, floor=False),
            pymannkendall.yue_wang_modification_test(values),
        ),
        (
            mann_kendall(correction="yue_wang", floor=False),
            pymannkendall.yue_wang_modification_test(values, lag=1),
        ),
        (mann_kendall(correction="prewhiten"), pymannkendall.pre_whitening_modification_test(values)),
    )
    for method, theirs in pairs:
        found = of(method, YEARS, values)
        assert (found["pvalue"], found["z"], found["var_s"]) == pytest.approx((theirs.p, theirs.z, theirs.var_s))
        if method.parameters["correction"] == "none":
            assert 2 * found["s"] / (n * (n - 1)) == pytest.approx(theirs.Tau)


def test_seasons_of_others() -> None:
    values = np.random.default_rng(5).normal(size=120).cumsum().round(1)
    months = (np.datetime64("2000-01") + np.arange(120) * MONTH).astype("datetime64[D]")
    found = of(pw.methods.seasonal_kendall(), months, values)
    theirs = scipy.stats.mstats.kendalltau_seasonal(values.reshape(10, 12))
    assert found["pvalue_independent"] == pytest.approx(theirs["global p-value (indep)"])
    assert found["pvalue"] == pytest.approx(theirs["global p-value (dep)"])
    assert found["pvalue_independent"] == pytest.approx(pymannkendall.seasonal_test(values, period=12).p)
    correlated = pymannkendall.correlated_seasonal_test(values, period=12).p
    assert 2 * norm.sf(abs(found["s"]) / np.sqrt(found["var_s"])) == pytest.approx(correlated)
