"""Designs of linear models whose columns depend on dates only, made once per job.

The columns are centred and orthonormalised over all dates, so that each pixel's system is well conditioned unless gaps
spoil it: without gaps, its Gram matrix is ``n`` times the identity. The inverse of the triangular factor gives back the
coefficients of the columns themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelwise.bands import Floats

__all__ = ["STRIDE", "Design", "make_design"]

#: Dates that one step of a compiled loop over dates takes; designs are padded with rows of zeros.
STRIDE = 3
#: A column counts as a combination of those before it if less than this share of its length is left.
RANK = 1e-6


@dataclass(frozen=True, eq=False)
class Design:
    """An orthonormalised design.

    Attributes
    ----------
    basis
        (time, term) float64, padded to a multiple of `STRIDE` dates: ones, then columns of mean 0 and mean
        square 1 which are orthogonal over all dates.
    products
        (time, term * (term + 1) / 2) float64: products of two columns, row by row of the lower triangle.
    transform
        (term, term) float64: ``transform @ c`` are the coefficients of a constant and of the columns that the
        design was made from, where ``c`` are those of `basis`.
    full_rank
        Whether the dates separate all columns; else those that they do not separate are 0 in `basis`.
    """

    basis: Floats
    products: Floats
    transform: Floats
    full_rank: bool

    @property
    def terms(self) -> int:
        """Number of coefficients, including the constant."""
        return int(self.basis.shape[1])


def make_design(columns: Floats) -> Design:
    """Make the design of a constant and `columns`, (time, term - 1), each of magnitude near 1."""
    dates, others = columns.shape
    basis = np.ones((dates, others + 1))
    triangle = np.eye(others)
    means = columns.mean(axis=0) if dates else np.zeros(others)
    centred = columns - means
    lengths = np.sqrt((centred**2).sum(axis=0))
    full_rank = dates > others
    if full_rank:
        orthonormal, triangle = np.linalg.qr(centred)
        basis[:, 1:] = orthonormal * np.sqrt(dates)
        triangle /= np.sqrt(dates)
        diagonal = np.abs(triangle.diagonal())
        lost = ~(diagonal * np.sqrt(dates) > RANK * np.maximum(lengths, RANK * np.sqrt(dates)))
        full_rank = not lost.any()
        if not full_rank:
            basis[:, 1:][:, lost] = 0.0
            triangle = np.eye(others)
    else:
        basis[:, 1:] = 0.0
    transform = np.eye(others + 1)
    transform[1:, 1:] = np.linalg.inv(triangle)
    # y = c0 + ... = (c0 - means @ b) + columns @ b
    transform[0, 1:] = -means @ transform[1:, 1:]
    padded = np.pad(basis, ((0, -dates % STRIDE), (0, 0)))
    products = np.stack([padded[:, j] * padded[:, k] for j in range(others + 1) for k in range(j + 1)], axis=1)
    return Design(padded, np.ascontiguousarray(products), transform, full_rank)
