"""Pixels that did not change between two images, whatever gain and offset their sensors have: IR-MAD.

Nielsen, A. A. (2007) The regularized iteratively reweighted MAD method for change detection in multi- and hyperspectral
data, IEEE Transactions on Image Processing 16, 463-478. Canty, M. J. and Nielsen, A. A. (2008) Automatic radiometric
normalization of multitemporal satellite imagery with the iteratively re-weighted MAD transformation, Remote Sensing of
Environment 112, 1025-1036.

Both images are turned into those pairs of linear combinations of their bands that correlate most (canonical variates).
Where nothing changed, the difference of a pair has the variance ``2 (1 - rho)``, and the sum of squares of all
differences, divided by their variances, is distributed as chi-square with as many degrees of freedom as there are
bands. The probability of a larger sum is the weight of a pixel in the next round. Variates do not depend on the units
of bands, and so neither do weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats

if TYPE_CHECKING:
    from pixelwise.kernels.irmad import Chunks

__all__ = [
    "FLAT",
    "GROUPS",
    "DegenerateError",
    "Moments",
    "Pair",
    "Solution",
    "Unchanged",
    "pooled",
    "solve",
    "unchanged",
]

ImageName = Literal["reference", "scene"]
IMAGES: tuple[ImageName, ImageName] = ("reference", "scene")

#: Runs of pixels of which sums are kept apart, for the jackknife.
GROUPS = 16
#: A band of which others explain all but this share of the variance counts as a combination of them. Rounding leaves
#: 1e-14; bands of sensors, 1e-4 and more.
COLLINEAR = 1e-10
#: A band whose weighted variance is at most this share of that of all pixels counts as constant.
FLAT = 1e-12
#: Correlations from here on count as this one: those of an image with itself are 1, of which rounding leaves 1e-15
#: less.
PERFECT = 1 - 1e-9


class DegenerateError(ValueError):
    """A band that says nothing of its own.

    Attributes
    ----------
    image
        Of which image it is.
    band
        Which of its bands, from 0 on.
    reason
        What is wrong with it, to be put after its name: ``has one value in all pixels``.
    """

    def __init__(self, image: ImageName, band: int, reason: str) -> None:
        self.image: ImageName = image
        self.band = band
        self.reason = reason
        super().__init__(f"band {band + 1} of the {image} {reason}")

    def __reduce__(self) -> tuple[type[DegenerateError], tuple[ImageName, int, str]]:
        return type(self), (self.image, self.band, self.reason)


class Moments(NamedTuple):
    """Weighted moments of the bands of both images, in the units of `Pair`; each array may have more dimensions before.

    Attributes
    ----------
    weight
        Sum of weights.
    mean
        (2 bands,)
    covariance
        (2 bands, 2 bands)
    """

    weight: Floats
    mean: Floats
    covariance: Floats


class Variates(NamedTuple):
    """Canonical variates, by which pixels are weighed; each array may have more dimensions before.

    Attributes
    ----------
    correlations
        (band,) of each pair of variates, largest first.
    transform
        (combination, 2 bands) the difference of each pair of variates, divided by its standard deviation.
    centre
        (combination,) its mean.
    """

    correlations: Floats
    transform: Floats
    centre: Floats


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images of the same pixels, packed for the compiled loops: each band with mean 0 and standard deviation 1.

    Attributes
    ----------
    bands, pixels
        Bands of each image, and pixels of both.
    shift, scale
        (2 bands,) means and standard deviations of bands of the reference, then of the scene.
    chunks
        The values.
    """

    bands: int
    pixels: int
    shift: Floats
    scale: Floats
    chunks: Chunks

    @classmethod
    def of(cls, reference: Floats, scene: Floats) -> Pair:
        """Pack two images.

        Parameters
        ----------
        reference, scene
            (band, pixel) float64, finite, more pixels than twice the bands. Neighbours should be near each other: runs
            of pixels are groups for the jackknife.

        Raises
        ------
        DegenerateError
            When a band is constant.
        ValueError
            When shapes differ, there are too few pixels, or values are not finite.
        """
        from pixelwise.kernels.irmad import pack

        if reference.ndim != 2 or reference.shape != scene.shape:
            raise ValueError(f"reference {reference.shape}, scene {scene.shape}: expected one shape (band, pixel)")
        bands, pixels = reference.shape
        if pixels <= 2 * bands:
            raise ValueError(f"{pixels} pixels of {bands} bands: expected more than {2 * bands}")
        images = tuple(np.ascontiguousarray(image, dtype=np.float64) for image in (reference, scene))
        for name, image in zip(IMAGES, images, strict=True):
            for band, (least, most) in enumerate(zip(image.min(axis=1), image.max(axis=1), strict=True)):
                if not np.isfinite(most - least):
                    raise ValueError(f"band {band + 1} of the {name} has values that are not finite")
                if least == most:
                    raise DegenerateError(name, band, f"has one value in all pixels: {least:g}")
        shift = np.concatenate([image.mean(axis=1) for image in images])
        scale = np.concatenate([image.std(axis=1) for image in images])
        return cls(bands, pixels, shift, scale, pack(images[0], images[1], shift, scale, GROUPS))

    def sums(self, variates: Variates | None = None) -> Moments:
        """Return sums (group, ...) of weights, values and products, as `pooled` takes them.

        Weights are those by variates, or 1.
        """
        if variates is None:
            none = np.zeros((0, self.bands, 2 * self.bands)), np.zeros((0, self.bands))
            found = self._sums(*none, np.full(1, -1))
        else:
            found = self._sums(variates.transform[None], variates.centre[None], np.full(1, -1))
        return Moments(*(array[0] for array in found))

    def sums_without_each(self, variates: Variates) -> Moments:
        """Return sums (replicate, group, ...) by variates (replicate, ...); each leaves its own group at 0."""
        return self._sums(variates.transform, variates.centre, np.arange(GROUPS))

    def _sums(self, transforms: Floats, centres: Floats, out: NDArray[np.int64]) -> Moments:
        from pixelwise.kernels.irmad import moments

        return Moments(*moments(self.chunks, self.bands, transforms, centres, out))

    def weights(self, variates: Variates) -> Floats:
        """Return the weight of each pixel by one solution."""
        from pixelwise.kernels.irmad import weights

        return weights(self.chunks, self.bands, variates.transform, variates.centre)


def pooled(sums: Moments) -> Moments:
    """Return the moments of all groups together.

    Parameters
    ----------
    sums
        (..., group, ...) sums of weights, of values and of products, from `Pair.sums`.
    """
    weight = sums.weight.sum(axis=-1)
    divisor = np.where(weight > 0, weight, 1.0)  # without any weight, covariances are 0
    mean = sums.mean.sum(axis=-2) / divisor[..., None]
    square = sums.covariance.sum(axis=-3) / divisor[..., None, None]
    return Moments(weight, mean, square - mean[..., :, None] * mean[..., None, :])


def variates(moments: Moments) -> tuple[Variates, NDArray[np.int64]]:
    """Return canonical variates, and where there are none.

    With ``S11 = L1 L1'`` and ``S22 = L2 L2'``, the singular values of ``L1^-1 S12 L2^-T = U R V'`` are the
    correlations, and ``a = L1^-T u`` and ``b = L2^-T v`` solve ``S12 S22^-1 S21 a = rho^2 S11 a`` with
    ``a' S11 a = b' S22 b = 1``. Signs of both belong together, and correlations near 1 keep the digits that their
    squares would lose.

    Returns
    -------
    Variates
    ndarray of int64
        (...) the first band, of reference and scene together, that is a combination of those before it in its image, or
        has no variance; -1 where there is none. Else variates mean nothing.
    """
    bands = moments.mean.shape[-1] // 2
    covariance = moments.covariance
    first, first_bad = inverse_root(covariance[..., :bands, :bands])
    second, second_bad = inverse_root(covariance[..., bands:, bands:])
    bad: NDArray[np.int64] = np.where(first_bad >= 0, first_bad, np.where(second_bad >= 0, bands + second_bad, -1))
    cross = first @ covariance[..., :bands, bands:] @ np.swapaxes(second, -1, -2)
    left, values, right = np.linalg.svd(np.where((bad >= 0)[..., None, None], 0.0, cross))
    correlations: Floats = np.minimum(values, 1.0)
    deviation = np.sqrt(2 * (1 - np.minimum(correlations, PERFECT)))
    difference: Floats = np.concatenate([np.swapaxes(left, -1, -2) @ first, -right @ second], axis=-1)
    transform = difference / deviation[..., None]
    centre = (transform @ moments.mean[..., None])[..., 0]
    return Variates(correlations, transform, centre), bad


def inverse_root(matrix: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return inverses of Cholesky roots of covariances (..., band, band), and the first band without variance left.

    That is the first of which those before it leave no more than `COLLINEAR` of its variance; -1 where there is none.
    """
    bands = matrix.shape[-1]
    root = np.zeros_like(matrix)
    bad: NDArray[np.int64] = np.full(matrix.shape[:-2], -1)
    for j in range(bands):
        before = root[..., j, :j]
        own = matrix[..., j, j]
        left = own - (before * before).sum(axis=-1)
        singular = (left <= COLLINEAR * own) | (own <= FLAT)
        bad[singular & (bad < 0)] = j
        pivot = np.sqrt(np.where(singular, 1.0, left))
        root[..., j, j] = pivot
        below = matrix[..., j + 1 :, j] - (root[..., j + 1 :, :j] * before[..., None, :]).sum(axis=-1)
        root[..., j + 1 :, j] = np.where(singular[..., None], 0.0, below / pivot[..., None])
    return np.asarray(np.linalg.inv(root), dtype=np.float64), bad


class Solution(NamedTuple):
    """What the rounds ended with.

    Attributes
    ----------
    by
        What weighs pixels; None where all weights are 1.
    sums
        (group, ...) sums by these weights.
    correlations
        (band,) canonical correlations of the last round, largest first.
    iterations
        Rounds.
    converged
        Whether correlations settled.
    """

    by: Variates | None
    sums: Moments
    correlations: Floats
    iterations: int
    converged: bool


def solve(pair: Pair, *, tolerance: float = 1e-3, rounds: int = 50) -> Solution:
    """Weigh pixels round by round until no canonical correlation changes by `tolerance`, after two rounds at least.

    Where those that keep a weight are so few, or so equal, that they have no variates, it ends with the weights before,
    and has not converged.

    Raises
    ------
    DegenerateError
        When a band is a linear combination of other bands of its image.
    """
    by, sums, old = None, pair.sums(), np.full(pair.bands, np.inf)
    found, bad = variates(pooled(sums))
    if bad >= 0:
        image, band = divmod(int(bad), pair.bands)
        raise DegenerateError(IMAGES[image], band, "is a linear combination of the bands before it")
    for iteration in range(1, rounds + 1):
        latest = pair.sums(found)
        following, bad = variates(pooled(latest))
        if bad >= 0:
            break
        by, sums = found, latest
        if np.abs(found.correlations - old).max() < tolerance:
            return Solution(by, sums, found.correlations, iteration, True)
        old, found = found.correlations, following
    return Solution(by, sums, old if by is not None else found.correlations, iteration, False)


@dataclass(frozen=True, eq=False)
class Unchanged:
    """How likely each pixel did not change.

    Attributes
    ----------
    weights
        (pixel,) the probability of a larger difference where nothing changed, 0 to 1.
    correlations
        (band,) canonical correlations of the last round, largest first.
    iterations
        Rounds.
    converged
        Whether correlations settled. They cannot where pixels that keep a weight become too few or too equal;
        weights are the last ones before that.
    """

    weights: Floats
    correlations: Floats
    iterations: int
    converged: bool


def unchanged(reference: Floats, scene: Floats, *, tolerance: float = 1e-3, rounds: int = 50) -> Unchanged:
    """Weigh pixels of two images by how likely it is that they did not change.

    Parameters
    ----------
    reference, scene
        (band, pixel) float64, finite.
    tolerance
        Rounds end when no canonical correlation changes by as much, after two at least.
    rounds
        At most so many.

    Raises
    ------
    DegenerateError
        When a band is constant, or a combination of other bands of its image.
    ValueError
        When shapes differ, there are no more pixels than twice the bands, or values are not finite.
    """
    pair = Pair.of(reference, scene)
    solution = solve(pair, tolerance=tolerance, rounds=rounds)
    weights = np.ones(pair.pixels) if solution.by is None else pair.weights(solution.by)
    return Unchanged(weights, solution.correlations, solution.iterations, solution.converged)
