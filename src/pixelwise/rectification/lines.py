"""The lines that make the bands of one scene comparable with the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.rectification.irmad import FLAT, GROUPS, Moments, Pair, Solution, pooled, solve, variates

__all__ = ["Lines", "invariant_lines", "irmad_lines", "saturated"]

#: Rounds by which each replicate of the jackknife weighs its pixels again: until standard errors of all gains change by
#: less than `SETTLED` of themselves, or a millionth of the gain, but at most so many. 50 000 pixels of 6 bands need 3.
ROUNDS = 20
SETTLED = 0.02
#: The largest factor by which rounds are taken to converge.
MOST = 0.9
#: A band is saturated where more than this share of pixels has its largest value, or its smallest.
SATURATED = 0.01


@dataclass(frozen=True, eq=False)
class Lines:
    """What was found for one scene: in each band, ``gain * value + offset``.

    Attributes
    ----------
    gain, offset, gain_se, offset_se
        (band,) the lines, and their standard errors by the jackknife over blocks of pixels.
    rmse_before, rmse_after
        (band,) weighted root mean squared differences from the reference, without and with the line.
    level
        (band,) weighted mean of the reference.
    saturated
        (band,) whether values end at one number, which many pixels have.
    n
        Pixels that both have.
    mean_weight
        Mean weight of them, the probability that nothing changed; 0 to 1.
    iterations
        Rounds until the weights converged; 0 if none were needed.
    converged
        Whether they did.
    correlation
        (band,) weighted, of scene and reference: with noise in one of them alone, the true gain lies between the gain
        times it and the gain divided by it (Frisch's bounds). None where unknown.
    """

    gain: Floats
    offset: Floats
    gain_se: Floats
    offset_se: Floats
    rmse_before: Floats
    rmse_after: Floats
    level: Floats
    saturated: NDArray[np.bool_]
    n: int
    mean_weight: float
    iterations: int
    converged: bool
    correlation: Floats | None = None

    @classmethod
    def identity(cls, reference: Floats) -> Lines:
        """Return the lines of the reference itself, (band, pixel)."""
        bands, n = reference.shape
        ones, zeros = np.ones(bands), np.zeros(bands)
        level = reference.mean(axis=1)
        return cls(ones, zeros, zeros, zeros, zeros, zeros, level, np.zeros(bands, np.bool_), n, 1.0, 0, True)


def irmad_lines(reference: Floats, scene: Floats) -> Lines:
    """Fit a line in each band through pixels that did not change, by IR-MAD.

    Each pixel has the weight that `unchanged` gives it, and no threshold decides. Lines are reduced major axes
    (`_fit`).

    Standard errors are those of the delete-one-group jackknife (Efron & Stein 1981, Annals of Statistics 9, 586): the
    fit without each of 16 runs of pixels of equal length (`_replicates`).

    Parameters
    ----------
    reference, scene
        (band, pixel) float64, finite; neighbours near each other, since errors of neighbours are not independent.

    Returns
    -------
    Lines
        Standard errors are NaN where a fit without one of the runs does not exist. With one band, gain and change
        cannot be distinguished: weights are those of pixels near one line through all.

    Raises
    ------
    DegenerateError
        When a band is constant, or a combination of other bands of its image.
    ValueError
        When shapes differ, there are no more pixels than twice the bands, or values are not finite.
    """
    pair = Pair.of(reference, scene)
    solution = solve(pair)
    return _lines(pair, scene, solution.sums, _replicates(pair, solution), solution.iterations, solution.converged)


def invariant_lines(reference: Floats, scene: Floats) -> Lines:
    """Fit a line in each band through all pixels, which are known not to have changed.

    Parameters, results and errors are those of `irmad_lines`, but a band may be a combination of others.
    """
    pair = Pair.of(reference, scene)
    sums = pair.sums()
    return _lines(pair, scene, sums, _fit(pair, pooled(_without_each(sums))), 0, True)


def saturated(scene: Floats) -> NDArray[np.bool_]:
    """Return (band,) whether values (band, pixel) end at one number, which many pixels have."""
    ends = [(scene == end(scene, axis=1, keepdims=True)).mean(axis=1) for end in (np.min, np.max)]
    return np.maximum(*ends) > SATURATED  # type: ignore[no-any-return]


def _replicates(pair: Pair, solution: Solution) -> Floats:
    """Return gains and offsets (replicate, 2, band) without each run of pixels; NaN where one of these does not exist.

    Each begins with the weights of all pixels, and weighs its own pixels again until it is clear where that leads.
    """
    sums = _without_each(solution.sums)
    fits, before = [_fit(pair, pooled(sums))], np.full(pair.bands, np.inf)
    limits = fits[0]
    for _ in range(ROUNDS):
        found, bad = variates(pooled(sums))
        if (bad >= 0).any():
            return np.full_like(limits, np.nan)
        sums = pair.sums_without_each(found)
        fits = [*fits[-2:], _fit(pair, pooled(sums))]
        if len(fits) < 3:
            continue
        limits = _limit(fits)
        error = _jackknife(limits)[0]
        if (np.abs(error - before) <= SETTLED * error + 1e-6 * np.abs(limits[:, 0].mean(axis=0))).all():
            break
        before = error
    return limits


def _jackknife(replicates: Floats) -> Floats:
    """Return standard errors of gains and offsets (2, band) by the spread of replicates (replicate, 2, band).

    It is that about their mean: the fit to all pixels has not gone as many rounds.
    """
    spread = ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0)
    error: Floats = np.sqrt((GROUPS - 1) / GROUPS * spread)
    return error


def _limit(fits: Sequence[Floats]) -> Floats:
    """Return where three fits (replicate, 2, band) of following rounds lead.

    Rounds converge linearly: the difference from the limit shrinks by one factor, the same for all replicates. It is
    the slope of differences on those before, of all replicates of a gain or offset (Aitken's process with a common
    factor).
    """
    before, after = (later - earlier for earlier, later in pairwise(fits))
    before, after = before - before.mean(axis=0), after - after.mean(axis=0)
    with np.errstate(invalid="ignore"):
        factor = np.clip((before * after).sum(axis=0) / (before * before).sum(axis=0), 0.0, MOST)
    more: Floats = np.nan_to_num(factor / (1 - factor)) * (fits[-1] - fits[-2])
    return fits[-1] + more


def _without_each(sums: Moments) -> Moments:
    """Return the sums (replicate, group, ...) of all groups but one."""
    kept = ~np.eye(GROUPS, dtype=bool)
    return Moments(*(np.where(kept.reshape(*kept.shape, *(1,) * (array.ndim - 1)), array, 0.0) for array in sums))


def _fit(pair: Pair, moments: Moments) -> Floats:
    """Return gains and offsets (..., 2, band): reduced major axes, as ``sd(reference) / sd(scene)`` by weights.

    Both images have errors; orthogonal regression would depend on the units of each (DN, reflectance),
    and ordinary regression of one on the other underestimates the gain. NaN where a band is constant.
    """
    bands = pair.bands
    variance = np.diagonal(moments.covariance, axis1=-2, axis2=-1)
    deviation = pair.scale * np.sqrt(np.where(variance > FLAT, variance, np.nan))
    mean = pair.shift + pair.scale * moments.mean
    gain = deviation[..., :bands] / deviation[..., bands:]
    return np.stack([gain, mean[..., :bands] - gain * mean[..., bands:]], axis=-2)


def _lines(pair: Pair, scene: Floats, sums: Moments, replicates: Floats, iterations: int, converged: bool) -> Lines:
    """Return lines by the moments of all pixels, with standard errors by those of replicates (replicate, 2, band)."""
    moments, bands = pooled(sums), pair.bands
    gain, offset = _fit(pair, moments)
    gain_se, offset_se = _jackknife(replicates)
    mean = pair.shift + pair.scale * moments.mean
    covariance = moments.covariance * np.outer(pair.scale, pair.scale)
    variance, both = np.diagonal(covariance), np.diagonal(covariance[:bands, bands:])
    before = variance[:bands] - 2 * both + variance[bands:] + (mean[:bands] - mean[bands:]) ** 2
    after = variance[:bands] - 2 * gain * both + gain**2 * variance[bands:]
    return Lines(
        gain=gain,
        offset=offset,
        gain_se=gain_se,
        offset_se=offset_se,
        rmse_before=np.sqrt(np.maximum(before, 0.0)),
        rmse_after=np.sqrt(np.maximum(after, 0.0)),
        level=mean[:bands],
        saturated=saturated(scene),
        n=pair.pixels,
        mean_weight=float(moments.weight / pair.pixels),
        iterations=iterations,
        converged=converged,
        correlation=both / np.sqrt(variance[:bands] * variance[bands:]),
    )
