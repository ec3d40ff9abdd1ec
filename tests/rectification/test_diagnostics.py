"""A table of gains in a few lines, and as a figure."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import linregress

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.opening.gain_checks import warnings_of_gains, years_of
from pixelwise.rectification.diagnostics import plot_gains, summary_lines
from pixelwise.rectification.lines import irmad_lines
from pixelwise.stacks.formula import Expression
from pixelwise.stacks.gains import Gain, Gains
from support.gain_tables import BANDS, flagged, noisy, table
from support.scene_files import write_scenes
from support.scenes_simulated import series


def cells(line: str) -> list[str]:
    return re.split(r"  +", line)


def test_a_line_for_each_band() -> None:
    gains = flagged(table(range(2000, 2005), [[0.9, 1], [1, 1], [1.2, 1], [1.1, 1.1], [9, 9]], 0.0012,
                          bands=("red", "nir")), 4, "far")  # fmt: skip
    head, red, nir, _ = summary_lines(gains)
    assert cells(head) == [
        "band",
        "median gain (range)",
        "median offset",
        "standard error",
        "rmse before",
        "after",
        "flagged",
    ]
    # Medians by hand: 0.9 1 1.1 1.2; 0.4 / gain in per cent.
    assert cells(red) == ["red", "1.050 (0.900 to 1.200)", "+0.00120", "0.38 %", "0.02", "0.006", "1 of 5"]
    assert cells(nir)[1:3] == ["1.000 (1.000 to 1.100)", "+0.00120"]
    # In columns.
    assert len({line.index(cell) for line, cell in ((head, "median offset"), (red, "+0.0012"), (nir, "+0.0012"))}) == 1


def test_what_is_unknown_is_a_dash() -> None:
    gains = table(range(2000, 2005), np.arange(1.0, 6)[:, None], bands=("red", "nir"))
    bare = Gains(tuple(replace(row, gain_se=np.nan, offset_se=np.nan, rmse_before=np.nan, rmse_after=np.nan,
                               level=np.nan) for row in gains.rows))  # fmt: skip
    _, red, _ = summary_lines(bare)
    assert cells(red) == ["red", "3.000 (1.000 to 5.000)", "+0", "-", "-", "-", "0 of 5"]


def test_offsets_have_the_digits_that_mean_something() -> None:
    for se, text in ((0.03, "+0.001"), (0.0005, "+0.00123"), (1e-16, "+0.001235"), (30.0, "+0")):
        gains = Gains(tuple(replace(row, offset_se=se) for row in table([2000, 2001], 1.0, 0.00123456).rows))
        assert cells(summary_lines(gains)[1])[2] == text


def test_where_all_scenes_are_flagged_all_are_described() -> None:
    gains = Gains(tuple(replace(row, flags=("uncertain",)) for row in noisy(1, 5).rows))
    assert cells(summary_lines(gains)[1])[-1] == "5 of 5"


def test_scenes_without_gains_are_counted() -> None:
    gains = noisy(1, 6, ("red", "nir"))
    none = {"gain": np.nan, "offset": np.nan, "flags": ("refused",)}
    some = Gains(tuple(replace(row, **none) if row.date < "2002" else row for row in gains.rows))
    _, red, *_ = summary_lines(some)
    assert cells(red)[-1] == "2 of 6"
    assert "nan" not in red
    figure = plot_gains(some)
    (points,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(points.get_xdata()) == 4
    assert figure.legends[0].get_title().get_text().replace("\n", " ").endswith(" 2 scenes have no gains.")
    all_ = Gains(tuple(replace(row, **none) for row in gains.rows))
    assert cells(summary_lines(all_)[1]) == ["red", *["-"] * 5, "6 of 6"]


def test_the_last_line_is_the_trend_of_unchanged_ground() -> None:
    gain = 1 + np.random.default_rng(0).normal(0, 0.02, 25)
    gains = table(range(2000, 2025), gain[:, None] * [1.0, 0.0] + [0.0, 1.0], bands=("red", "nir"))
    red = 0.07 / gain
    line = linregress(years_of(gains.of_band("red")), (0.28 - red) / (0.28 + red))
    assert line.pvalue > 0.05
    numbers = f"{10 * line.slope:+.2g} per decade (standard error {10 * line.stderr:.1g}, p = {line.pvalue:.2g})"
    assert summary_lines(gains)[-1] == (
        f"before rectification, ground taken as unchanged has no significant trend: NDVI {numbers}"
    )
    # Gains of red that rise by 2.4 % in all: too little for a warning, which asks for p < 0.01.
    rising = table(range(2000, 2025), (gain + np.linspace(-0.012, 0.012, 25))[:, None] * [1.0, 0.0] + [0.0, 1.0],
                   bands=("red", "nir"))  # fmt: skip
    red = 0.07 / (gain + np.linspace(-0.012, 0.012, 25))
    line = linregress(years_of(rising.of_band("red")), (0.28 - red) / (0.28 + red))
    assert 0.01 < line.pvalue < 0.05
    numbers = f"{10 * line.slope:+.2g} per decade (standard error {10 * line.stderr:.1g}, p = {line.pvalue:.2g})"
    assert summary_lines(rising)[-1] == f"before rectification, ground taken as unchanged has a trend: NDVI {numbers}"
    assert len(summary_lines(gains, Expression("nir"))) == 3  # nothing changes in nir
    assert len(summary_lines(noisy(1, drift=0.3))) == 7  # the warning says it


def test_gains_of_sensors_are_steps() -> None:
    sensors = ["LE07"] * 3 + ["LC08"] * 4
    gains = table(range(2010, 2017), [[1.25]] * 3 + [[1.0]] * 4, bands=("red",), sensors=sensors)
    gains = Gains(tuple(replace(row, reference="LC08, 11 pairs" if row.sensor == "LE07" else "LC08")
                        for row in gains.rows))  # fmt: skip
    head, older, last = summary_lines(gains)
    assert cells(head)[:4] == ["sensor", "band", "gain", "offset"]
    assert cells(older) == ["LE07", "red", "1.250", "+0.00000", "0.32 %", "0.02", "0.006", "LC08, 11 pairs"]
    # 0.07 / 1.25 - 0.07
    assert last == "before rectification, red of LE07 is 0.014 below that of LC08 on the same ground"
    caption = plot_gains(gains).legends[0].get_title().get_text().replace("\n", " ")
    assert "Reference: LC08, 11 pairs. Method: irmad. Bars," in caption


def test_the_figure_has_a_row_for_each_band_and_its_trends() -> None:
    gains = flagged(noisy(1, drift=0.3), 5, "not_converged")
    figure = plot_gains(gains)
    left, right = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_ylabel() for axes in left] == ["blue", "green", "red", "nir", "swir1", "swir2"]
    labels = [[text.get_text() for text in axes.texts] for axes in (*left, *right)]
    assert [len(texts) for texts in labels] == [0, 0, 1, *[0] * 9]
    rows = [row for row in gains.of_band("red") if not row.doubtful]
    line = linregress(years_of(rows), [row.gain for row in rows])
    mean = np.mean([row.gain for row in rows])
    found = re.fullmatch(r"([-+.\d]+) % per decade, p (?:[<=]) [\d.e-]+", labels[2][0].replace("\N{MINUS SIGN}", "-"))
    assert found is not None
    assert float(found[1]) == pytest.approx(1000 * line.slope / mean, rel=0.05)
    (drawn,) = [one for one in left[2].lines if one.get_color() == "#d55e00"]
    np.testing.assert_allclose(drawn.get_ydata(), line.intercept + line.slope * drawn.get_xdata(), atol=1e-9)
    assert figure._suptitle is not None
    assert figure._suptitle.get_text() == "Gains and offsets of 25 scenes, 2000-07-15 to 2024-07-15"
    caption = " ".join(figure.legends[0].get_title().get_text().split())
    assert (
        "Reference: median of all scenes. Method: irmad. Bars, where larger than the marks, are standard errors."
        in caption
    )
    assert "--gains-flagged keep" in caption


def test_rows_without_a_date_are_not_drawn() -> None:
    gains = noisy(1, 6, ("red",))
    odd = Gains((replace(gains.rows[0], date="2000-02-30"), *gains.rows[1:]))
    (points,) = [line for line in plot_gains(odd).axes[0].lines if line.get_marker() == "o"]
    assert len(points.get_xdata()) == 5


def gains_of_series(seed: int, share: float) -> Gains:
    """Return the gains that IR-MAD finds in 25 scenes of sensors that differ at random, but do not drift."""
    made = series(seed, share, n=8_000)
    random = np.random.default_rng(seed + 1000)
    gain, offset = random.normal(1, 0.02, (25, 6, 1)), random.normal(0, 0.003, (25, 6, 1))
    scenes = (made.truth + random.normal(0, 0.004, made.truth.shape) - offset) / gain
    reference = np.median(scenes, axis=0)
    rows = []
    for year, values in enumerate(scenes, 2000):
        lines = irmad_lines(reference, values)
        numbers = ("gain", "offset", "gain_se", "offset_se", "rmse_before", "rmse_after", "level")
        for band, name in enumerate(BANDS):
            own = {number: float(getattr(lines, number)[band]) for number in numbers}
            rows.append(Gain(f"{year}.tif", f"{year}-07-15", "LE07", name, n=lines.n, method="irmad", **own))
    return Gains(tuple(rows))


@pytest.mark.parametrize("seed", range(2))
def test_a_greening_of_most_of_the_area_is_warned_of(seed: int) -> None:
    """Sensors do not drift: what rectification removes is the change."""
    (text,) = warnings_of_gains(gains_of_series(seed, 0.6))
    found = re.search(r"removes a trend of NDVI ([-+.\d]+) per decade", text)
    assert found is not None
    assert 0.01 < float(found[1]) < 0.1
    assert "more than half of the area" in text


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_no_change_and_a_change_of_a_third_are_not_warned_of(share: float) -> None:
    for seed in range(2):
        assert warnings_of_gains(gains_of_series(seed, share)) == []


@pytest.fixture(scope="module")
def few_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("few"), 4, (50, 60)).paths[0].parent


def test_the_command_draws_beside_the_table(few_scenes: Path, tmp_path: Path) -> None:
    words = ["rectify", f"{few_scenes}/*.tif", "--product", "landsat-c2-l2", "-o", f"{tmp_path / 'gains.csv'}"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f"{tmp_path / 'gains.csv'}", f"{tmp_path / 'gains.png'}"]
    assert re.search(r"^red    \d\.\d{3} \(.* of 4$", result.stderr, re.MULTILINE)
    assert (tmp_path / "gains.png").read_bytes()[:4] == b"\x89PNG"
    # Before anything is computed.
    (tmp_path / "gains.csv").unlink()
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "gains.png: already exists; --overwrite replaces it" in result.output
    assert not (tmp_path / "gains.csv").exists()


def test_without_matplotlib_there_is_only_the_table(
    few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise pw.ParameterError('drawing needs matplotlib: pip install "pixelwise[plot]"')

    monkeypatch.setattr("pixelwise.pictures.picture.import_matplotlib", missing)
    words = ["rectify", f"{few_scenes}/*.tif", "--product", "landsat-c2-l2", "-o", f"{tmp_path / 'gains.csv'}"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "warning: no picture of the gains: drawing needs matplotlib" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"gains.csv"}
