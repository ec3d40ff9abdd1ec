"""One line per sensor: pairs by brute force, lines by hand, known gains recovered."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest

from pixelwise.errors import InputError
from pixelwise.opening.sensor_pairs import Link, ScenePair, chain_of, pairs_of
from pixelwise.rectification.irmad import unchanged
from pixelwise.rectification.sensors import PairLines, SensorLines, chained, pair_lines, pooled_lines

START = date(2000, 1, 1)


def days(*numbers: int) -> list[date]:
    return [START + timedelta(number) for number in numbers]


def named(pairs: Sequence[ScenePair]) -> list[tuple[int, int]]:
    return [(pair.scene, pair.reference) for pair in pairs]


# ------------------------------------------------------------------------------------------------------------- pairs


def test_a_scene_is_paired_with_those_before_and_after_it() -> None:
    sensors = ["A", "B", "A", "B", "A", "B"]
    assert named(pairs_of(sensors, days(0, 8, 16, 24, 33, 42))) == [(0, 1), (2, 1), (2, 3)]


def test_a_scene_of_the_same_day_is_enough() -> None:
    assert named(pairs_of(["A", "B", "A", "B"], days(0, 5, 5, 10))) == [(0, 1), (2, 1)]


def test_days_count_and_hours_do_not() -> None:
    dates = [datetime(2000, 6, 1, 9, 45), datetime(2000, 6, 9, 10, 15), datetime(2000, 6, 18, 9, 0)]
    assert named(pairs_of(["A", "B", "B"], dates)) == [(0, 1)]
    assert not pairs_of(["A", "B", "B"], dates, days=7)
    assert named(pairs_of(["A", "B", "A"], dates, days=9)) == [(0, 1), (2, 1)]


def test_scenes_of_other_places_are_passed_over() -> None:
    places = [1, 1, 2, 1, 2, 1]
    found = pairs_of(list("ABBABB"), days(0, 10, 11, 15, 16, 17), together=lambda a, b: places[a] == places[b])
    assert named(found) == [(3, 1), (3, 5)]


@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_those_of_a_search_through_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = random.choice(3000, 300, replace=False)
    sensors = [
        "A" if day < 1200 and random.random() < 0.5 else "C" if day > 1800 and random.random() < 0.5 else "B"
        for day in numbers
    ]
    expected = set()
    for scene, day in enumerate(numbers):
        for other in (name for name in "ABC" if name > sensors[scene]):
            gaps = {k: numbers[k] - day for k in range(300) if sensors[k] == other and abs(numbers[k] - day) <= 8}
            before, after = ([k for k in gaps if gaps[k] * sign > 0] for sign in (-1, 1))
            expected |= {(scene, min(side, key=lambda k: abs(gaps[k]))) for side in (before, after) if side}
    found = pairs_of(sensors, days(*map(int, numbers)))
    assert set(named(found)) == expected
    assert len(found) == len(expected) > 30


# ------------------------------------------------------------------------------------------------------------- chain


def landsat() -> tuple[list[str], list[date]]:
    """Return the dates of Landsat 5, 7, 8 and 9 of one place, each 16 days after its last."""
    flown = {"LT05": (1999, 2011, 5), "LE07": (1999, 2021, 13), "LC08": (2013, 2024, 5), "LC09": (2022, 2024, 13)}
    scenes = []
    for sensor, (first, last, phase) in flown.items():
        begin, end = date(first, 7, 1).toordinal(), date(last, 11, 1).toordinal()
        scenes += [(date.fromordinal(day), sensor) for day in range(begin, end) if day % 16 == phase]
    scenes.sort()
    return [sensor for _, sensor in scenes], [day for day, _ in scenes]


def test_sensors_are_chained_to_the_newest() -> None:
    sensors, dates = landsat()
    links = chain_of(sensors, dates, pairs_of(sensors, dates))
    assert [(link.sensor, link.reference) for link in links] == [("LC08", "LC09"), ("LE07", "LC08"), ("LT05", "LE07")]
    for link in links:
        assert {sensors[pair.scene] for pair in link.pairs} == {link.sensor}
        assert {sensors[pair.reference] for pair in link.pairs} == {link.reference}
        assert len(link.pairs) > 50
        assert max(abs((dates[pair.scene] - dates[pair.reference]).days) for pair in link.pairs) == 8


def test_the_way_with_most_pairs_is_taken_and_pairs_are_turned() -> None:
    # C is the newest; B ended after A, but A has more pairs with C; B leads to C through A.
    sensors = ["A", "C", "A", "C", "B", "A", "B", "A", "C", "B", "C"]
    dates = days(0, 1, 20, 21, 40, 41, 60, 61, 61, 101, 900)
    links = chain_of(sensors, dates, pairs_of(sensors, dates, days=3))
    assert [(link.sensor, link.reference, named(link.pairs)) for link in links] == [
        ("A", "C", [(0, 1), (2, 3), (7, 8)]),
        ("B", "A", [(4, 5), (6, 7)]),
    ]
    assert [pair.day - START.toordinal() for pair in links[1].pairs] == [41, 61]


def test_sensors_that_do_not_overlap_are_named() -> None:
    sensors, dates = ["LT05", "LT05", "LC08", "LC09"], days(0, 4000, 5000, 5008)
    with pytest.raises(InputError) as error:
        chain_of(sensors, dates, pairs_of(sensors, dates))
    assert str(error.value) == (
        "no usable scenes at most 8 days apart link LT05 2000-2010 with LC08 2013, LC09 2013; sensors are compared "
        "where they overlap in time, and all must be linked to the newest, LC09: add scenes from years that they "
        "share, or of a sensor between them, or find gains per scene (--per scene)"
    )
    with pytest.raises(InputError, match="all scenes are from LT05"):
        chain_of(["LT05", "LT05"], days(0, 8), ())


# ------------------------------------------------------------------------------------------------------- one pair


def test_lines_of_a_pair_are_weighted_reduced_major_axes() -> None:
    random = np.random.default_rng(1)
    scene = random.normal(0.3, 0.1, (2, 500))
    reference = 1.1 * scene - 0.02 + random.normal(0, 0.02, scene.shape)
    weights = random.random(500)
    found = pair_lines(reference, scene, weights, iterations=7, converged=False)
    for band in range(2):
        (rr, rs), (_, ss) = np.cov(reference[band], scene[band], aweights=weights, ddof=0)
        np.testing.assert_allclose(found.gain[band], np.sqrt(rr / ss), rtol=1e-12)
        np.testing.assert_allclose(found.reference[band], np.average(reference[band], weights=weights), rtol=1e-12)
        np.testing.assert_allclose(found.scene[band], np.average(scene[band], weights=weights), rtol=1e-12)
        got = [getattr(found, name)[band] for name in ("reference_variance", "scene_variance", "covariance")]
        np.testing.assert_allclose(got, [rr, ss, rs], rtol=1e-12)
    assert (found.n, found.iterations, found.converged) == (500, 7, False)
    np.testing.assert_allclose(found.mean_weight, weights.mean(), rtol=1e-12)
    scene[1, :50] = scene[1].max()
    assert pair_lines(reference, scene, weights).saturated.tolist() == [False, True]


# ------------------------------------------------------------------------------------------------------------ pooled


def made(gain: Any, scene: Any, reference: Any, spread: float = 0.01) -> PairLines:
    """Return what a pair of 1000 pixels says."""
    gain, scene, reference = (np.atleast_1d(np.asarray(one, float)) for one in (gain, scene, reference))
    ss = np.full(gain.shape, spread)
    return PairLines(reference, scene, gain**2 * ss, ss, gain * ss, gain > 9, 1000, 0.5, 9, True)


def link_of(*numbers: int) -> Link:
    return Link("A", "B", tuple(ScenePair(0, 1, number) for number in numbers))


def centre(values: Sequence[float]) -> float:
    return statistics.median((a + b) / 2 for a, b in combinations_with_replacement(values, 2))


def test_pooled_lines_are_centres_of_pairs() -> None:
    random = np.random.default_rng(2)
    gains, scenes = random.normal(1.1, 0.05, 11), random.normal(0.3, 0.05, 11)
    references = 1.1 * scenes + random.normal(0, 0.01, 11)
    gains[4], references[7] = 30, 5
    found = [made(*one) for one in zip(gains, scenes, references, strict=True)]
    numbers = [0, 0, 5, 9, 9, 20, 21, 30, 31, 40, 41]
    pooled = pooled_lines(link_of(*numbers), found)

    def by_hand(kept: Sequence[int]) -> tuple[float, float]:
        gain = np.exp(centre(np.log(gains[list(kept)])))
        return gain, centre(references[list(kept)] - gain * scenes[list(kept)])

    gain, offset = by_hand(range(11))
    np.testing.assert_allclose([pooled.lines.gain[0], pooled.lines.offset[0]], [gain, offset], rtol=1e-12)
    assert abs(gain - 1.1) < 0.06
    different = sorted(set(numbers))
    fits = np.array([by_hand([k for k in range(11) if numbers[k] != day]) for day in different])
    # t with 8 degrees of freedom
    covariance = np.cov(fits.T, ddof=0) * (len(different) - 1) * (2.3060 / 1.9600) ** 2
    np.testing.assert_allclose(pooled.lines.gain_se**2, covariance[0, 0], rtol=1e-9)
    np.testing.assert_allclose(pooled.lines.offset_se**2, covariance[1, 1], rtol=1e-9)
    np.testing.assert_allclose(pooled.covariance, covariance[0, 1], rtol=1e-9)
    after = [
        0.01 * (g - gain) ** 2 + (r - gain * s - offset) ** 2 for g, s, r in zip(gains, scenes, references, strict=True)
    ]
    before = [0.01 * (g - 1) ** 2 + (r - s) ** 2 for g, s, r in zip(gains, scenes, references, strict=True)]
    np.testing.assert_allclose(pooled.lines.rmse_after**2, statistics.median(after), rtol=1e-9)
    np.testing.assert_allclose(pooled.lines.rmse_before**2, statistics.median(before), rtol=1e-9)
    np.testing.assert_allclose(pooled.lines.level, centre(references), rtol=1e-12)
    assert (pooled.sensor, pooled.reference, pooled.pairs) == ("A", "B", 11)
    assert (pooled.lines.n, pooled.lines.mean_weight, pooled.lines.iterations) == (11000, 0.5, 9)


def test_pairs_of_one_day_tell_no_standard_error() -> None:
    pooled = pooled_lines(link_of(3, 3), [made(1.1, 0.3, 0.34), made(1.1, 0.2, 0.23)])
    np.testing.assert_allclose(pooled.lines.gain, 1.1)
    assert np.isnan(pooled.lines.gain_se).all()
    assert np.isnan(pooled.covariance).all()
    with pytest.raises(ValueError, match="1 results of 2 pairs"):
        pooled_lines(link_of(3, 3), [made(1, 1, 1)])


@pytest.mark.parametrize("seasons", [2, 6])
def test_standard_errors_cover_the_truth(seasons: int) -> None:
    """Two sensors in turn, 8 days apart, 30 % of scenes cloudy; errors belong to scenes, which pairs share."""
    random = np.random.default_rng(4)
    gain, offset = np.array([0.9, 1.1]), np.array([0.01, -0.02])
    number = [day for season in range(seasons) for day in range(400 * season, 400 * season + 88, 8)]
    covered = []
    for _ in range(250):
        clear = [day for day in number if random.random() > 0.3]
        sensors, dates = ["BA"[day // 8 % 2] for day in clear], days(*clear, 10_000)
        pairs = pairs_of([*sensors, "B"], dates)
        factors, shifts = random.normal(1, 0.03, (len(dates), 2)), random.normal(0, 0.006, (len(dates), 2))
        found = []
        for pair in pairs:
            truth = 0.25 + 0.1 * random.random(2)
            own, other = (factors[k] * truth + shifts[k] for k in (pair.scene, pair.reference))
            ratio = gain * factors[pair.reference] / factors[pair.scene] * random.normal(1, 0.005, 2)
            found.append(made(ratio, (own - offset) / gain, other))
        lines = pooled_lines(Link("A", "B", pairs), found).lines
        covered.append(np.abs([(lines.gain - gain) / lines.gain_se, (lines.offset - offset) / lines.offset_se]) < 1.96)
    share = 100 * np.mean(covered, axis=0)
    assert ((share >= 90) & (share <= 98)).all(), share


# -------------------------------------------------------------------------------------------------- along the chain


def sensor(name: str, reference: str, gain: float, offset: float, covariance: Any = ((0, 0), (0, 0))) -> SensorLines:
    """Return lines with a known covariance of gain and offset."""
    (one, both), (_, other) = covariance
    pooled = pooled_lines(Link(name, reference, (ScenePair(0, 1, 0),)), [made(gain, 0.3, gain * 0.3 + offset)])
    lines = pooled.lines
    lines = replace(lines, gain_se=np.array([one**0.5]), offset_se=np.array([other**0.5]))
    return replace(pooled, lines=lines, covariance=np.array([both], float))


def test_a_chain_applies_one_line_after_the_other() -> None:
    found = chained([sensor("C", "D", 1.1, 0.02), sensor("B", "C", 0.9, -0.01), sensor("A", "B", 1.2, 0.03)])
    lines = {one.sensor: one.lines for one in found}
    assert list(lines) == ["D", "C", "B", "A"]
    value = 0.37
    np.testing.assert_allclose(lines["D"].gain * value + lines["D"].offset, value, rtol=1e-15)
    by_hand = 1.1 * (0.9 * (1.2 * value + 0.03) - 0.01) + 0.02
    np.testing.assert_allclose(lines["A"].gain * value + lines["A"].offset, by_hand, rtol=1e-12)
    level = 1.1 * (0.9 * (1.2 * 0.3 + 0.03) - 0.01) + 0.02
    np.testing.assert_allclose(lines["A"].level, level, rtol=1e-12)
    assert found[0].pairs == 0
    assert lines["D"].gain_se == lines["D"].offset_se == 0


def test_standard_errors_of_a_chain_are_those_of_simulated_chains() -> None:
    random = np.random.default_rng(5)
    parts = [
        ("C", "D", (1.1, 0.02), ((4e-4, -1e-4), (-1e-4, 5e-5))),
        ("B", "C", (0.9, -0.03), ((9e-4, -2e-4), (-2e-4, 8e-5))),
        ("A", "B", (1.2, 0.05), ((1e-4, 3e-5), (3e-5, 2e-5))),
    ]
    found = chained([sensor(name, near, *line, covariance) for name, near, line, covariance in parts])
    draws = [random.multivariate_normal(line, covariance, 400_000).T for _, _, line, covariance in parts]
    gain, offset = np.ones(400_000), np.zeros(400_000)
    for one, (g, o) in zip(found[1:], draws, strict=True):
        gain, offset = gain * g, gain * o + offset
        expected = np.cov(gain, offset)
        got = one.lines.gain_se[0] ** 2, one.lines.offset_se[0] ** 2, one.covariance[0]
        np.testing.assert_allclose(got, [expected[0, 0], expected[1, 1], expected[0, 1]], rtol=0.02)


# ------------------------------------------------------------------------------------------------ from pixels to lines


def test_known_sensors_are_recovered_through_change_and_haze() -> None:
    random = np.random.default_rng(6)
    gains = {"LT05": np.array([0.9, 1.1, 1.05, 0.95]), "LE07": np.array([1.1, 0.9, 0.97, 1.02]), "LC08": np.ones(4)}
    offsets = {"LT05": np.array([0.01, -0.02, 0, 0.01]), "LE07": np.array([-0.01, 0.01, 0.02, 0]), "LC08": np.zeros(4)}
    classes = np.array(
        [[0.04, 0.03, 0.3, 0.15], [0.08, 0.12, 0.25, 0.3], [0.06, 0.05, 0.02, 0.01], [0.2, 0.25, 0.3, 0.35]]
    )
    place = (random.dirichlet(np.full(4, 0.4), 2500) @ classes).T
    images, sensors, numbers = [], [], []
    for number in range(0, 8 * 40, 8):
        name = "LE07" if number // 8 % 2 else "LT05" if number < 160 else "LC08"
        truth = place.copy()
        changed = random.random(2500) < 0.1
        truth[:, changed] = (random.dirichlet(np.full(4, 0.4), changed.sum()) @ classes).T
        truth = truth * random.normal(1, 0.01, (4, 1)) + random.normal(0, 0.002, (4, 1))
        if random.random() < 0.1:
            truth += 0.05 * random.random(2500) * np.array([1.5, 1, 0.7, 0.4])[:, None]
        images.append((truth - offsets[name][:, None]) / gains[name][:, None] + random.normal(0, 0.003, truth.shape))
        sensors.append(name)
        numbers.append(number)
    dates = days(*numbers)
    links = chain_of(sensors, dates, pairs_of(sensors, dates))
    assert [(link.sensor, link.reference, len(link.pairs)) for link in links] == [
        ("LE07", "LC08", 20),
        ("LT05", "LE07", 19),
    ]
    pooled = []
    for link in links:
        found = []
        for pair in link.pairs:
            reference, scene = images[pair.reference], images[pair.scene]
            weights = unchanged(reference, scene)
            found.append(pair_lines(reference, scene, weights.weights, converged=weights.converged))
        pooled.append(pooled_lines(link, found))
    for one in chained(pooled)[1:]:
        gain, offset = gains[one.sensor], offsets[one.sensor]
        assert (np.abs(one.lines.gain / gain - 1) < 0.03).all(), one.lines.gain / gain
        assert (np.abs(one.lines.gain - gain) < 3.5 * one.lines.gain_se).all()
        assert (np.abs(one.lines.offset - offset) < 3.5 * one.lines.offset_se).all()
        assert (one.lines.gain_se < 0.03).all()
        assert (one.lines.rmse_after < one.lines.rmse_before).all()
