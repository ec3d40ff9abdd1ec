"""Multiple linear regression of each pixel's series on covariates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import PER_YEAR, STATUS_BAND, Band, Floats
from pixelwise.choices import BandKind
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.kernels.tail_tables import TailTable, tail_table, tails_of
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, check_paired, check_whole, covariate_series
from pixelwise.methods.covariates import Covariate, Covariates, FurtherStack, Table, parse_covariates
from pixelwise.regular_files import read_bytes
from pixelwise.words import unknown

__all__ = ["Regression", "regress"]

# The order is that of the kernel's results (kernels/regress.py): for each covariate, then for the whole.
INTERCEPT = Band("intercept", "Value of the fitted model where all covariates are 0", "{value}", kind="level")
INTERCEPT_STDERR = Band("intercept_stderr", "Standard error of the intercept", "{value}", optional=True, kind="level")
R2 = Band("r2", "Share of the variance that the covariates explain", kind="share")
RMSE = Band("rmse", "Standard deviation of the residuals (n less the number of coefficients)", "{value}", kind="level")
PVALUE = Band("pvalue", "p-value of all coefficients but the intercept being 0 (Fisher's F)", kind="test")
COUNT = Band("n", "Number of dates on which the response and all covariates are valid", integer=True, kind="count")
WHOLE = (INTERCEPT, INTERCEPT_STDERR, R2, RMSE, PVALUE, COUNT)

# As in the kernel, but applied to covariates that are the same for all pixels.
TOLERANCE = 1e-7


def regress(*, covariates: Covariates = "time", intercept: bool = True, min_obs: int | None = None) -> Method:
    """Regress each pixel's series on covariates by least squares.

    With the ``n`` dates on which the response ``y`` and all ``k`` covariates ``x`` are valid, ``X`` the matrix of
    the covariates and a column of ones, ``q`` its number of columns and ``e`` the residuals::

        y = intercept + sum(b[i] * x[i]) + e,    sum(e**2) = RSS minimal
        rmse         = sqrt(RSS / (n - q))
        NAME_stderr  = rmse * sqrt(inv(X'X)[i, i])
        NAME_pvalue  = P(|T| > |b[i] / stderr[i]|),  T Student's t with n - q degrees of freedom
        NAME_partial_r = t / sqrt(t**2 + n - q),  t = b[i] / stderr[i]
        r2           = 1 - RSS / TSS,  TSS = sum((y - mean(y))**2), without an intercept sum(y**2)
        pvalue       = P(F > (r2 / k) / ((1 - r2) / (n - q))),  F Fisher's with k and n - q degrees of freedom

    A coefficient is the change of the response with its covariate while the others stay the same: with
    ``covariates="rain,time"``, the coefficient of ``time`` is the trend that rain does not explain.

    The p-values assume independent, normal residuals of equal variance; autocorrelation makes them too small.

    Parameters
    ----------
    covariates
        Texts, separated by commas or in a sequence. ``time``: decimal years. ``step(2003-06-01)``: 0 before that date,
        1 from then on. ``FILE.csv`` or ``FILE.csv:COLUMN``: a number for each date from a table with a column called
        ``date``, matched by day, or by month or year if the dates of the table or of the layers are months or years.
        Any other word: the covariate stack of that name. Or a mapping of names to such texts, or to a sequence of
        numbers, one for each layer.
    intercept
        Whether the model has an intercept.
    min_obs
        Minimum number of dates on which all are valid; at least, and by default, one more than coefficients.

    Returns
    -------
    Method
        For each covariate bands ``NAME`` (change of the value per unit of the covariate), ``NAME_stderr``,
        ``NAME_pvalue`` and, on request, ``NAME_partial_r``; NAME is the covariate's text, the column of a table (or its
        file, if it has only one column), or ``step_2003-06-01`` for a step. Then ``intercept``, on request
        ``intercept_stderr``, ``r2``, ``rmse`` (value), ``pvalue``, ``n``.

    Raises
    ------
    ParameterError
        When a covariate is not understood, two have the same name, or `min_obs` is too small. When a job starts: if a
        covariate stack is missing or not named by any covariate, a table has no number for a layer, or several, or
        covariates are constant or collinear over all dates.
    InputError
        When a job starts: if a table cannot be read.

    Notes
    -----
    The status of a pixel is the first of these that applies:

    - 1 no date on which all are valid, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 6 a value is infinite: likewise;
    - 3 the response is constant on these dates (without an intercept: 0): the coefficients are 0, the intercept is that
      value, the others are NaN;
    - 4 a covariate is constant on these dates (without an intercept: 0), or one is a combination of the others: less
      than 1e-7 of its length about the mean is left after projecting out those before it, as in R's ``lm``. All bands
      but ``n`` are NaN;
    - 6 a sum of squares lies beyond 1e290 or below 1e-290, where squares overflow or underflow float64: likewise.

    All columns, including the response, are centred, scaled to length 1 and orthogonalised by modified Gram-Schmidt.
    NIST's Longley data are reproduced to 13 digits. All p-values of a fit without residuals are 0, apart from rounding.

    References
    ----------
    Draper, N. R. & Smith, H. (1998). Applied Regression Analysis, 3rd ed., chapters 5 and 6. Wiley.
    Bjorck, A. (1967). Solving linear least squares problems by Gram-Schmidt orthogonalization. BIT 7, 1-21.

    Examples
    --------
    >>> fit = regress(covariates="rain,time")(
    ...     [[3.0], [5.0], [9.0], [7.5]], [2000, 2001, 2002, 2003], rain=[[1.0], [2.0], [4.0], [3.0]]
    ... )
    >>> round(float(fit["rain"][0]), 3)
    1.806
    """
    return Regression(parse_covariates(covariates), intercept, min_obs)


@dataclass(frozen=True)
class Regression(Method):
    """Multiple linear regression; see `regress`."""

    covariates: tuple[Covariate, ...]
    intercept: bool = True
    min_obs: int | None = None

    name: ClassVar[str] = "regress"

    def __post_init__(self) -> None:
        if self.min_obs is not None:
            check_whole(
                self.name, "min_obs", self.min_obs, self.unknowns + 1, f"as there are {self.unknowns} coefficients"
            )
        names = [band.name for band in (*self.bands, STATUS_BAND)]
        for name in names:
            if names.count(name) > 1:
                raise ParameterError(
                    f"two bands of {self.name} would be called {name!r}: give the covariate another name"
                )

    @property
    def unknowns(self) -> int:
        """Number of coefficients."""
        return len(self.covariates) + self.intercept

    @cached_property
    def _results(self) -> tuple[Band, ...]:
        """All bands that the kernel computes, in its order."""
        found: list[Band] = []
        for covariate in self.covariates:
            name, unit = covariate.name, covariate.unit
            kind: BandKind = "change" if PER_YEAR.search(unit) else "signed"
            found += [
                Band(
                    name,
                    f"Change of the value with {name}, the other covariates being the same",
                    unit,
                    kind=kind,
                    pvalue=f"{name}_pvalue",
                ),
                Band(f"{name}_stderr", f"Standard error of {name}", unit, kind="level"),
                Band(f"{name}_pvalue", f"Two-sided p-value of {name} = 0 (Student's t)", kind="test"),
                Band(
                    f"{name}_partial_r",
                    f"Partial correlation with {name}",
                    optional=True,
                    kind="correlation",
                    pvalue=f"{name}_pvalue",
                ),
            ]
        return (*found, *WHOLE)

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, the coefficient of the first covariate first."""
        without = () if self.intercept else (INTERCEPT, INTERCEPT_STDERR)
        return tuple(band for band in self._results if band not in without)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as the factory takes them."""
        named = {covariate.name: covariate.given for covariate in self.covariates}
        texts = [covariate.given for covariate in self.covariates]
        plain = all(isinstance(text, str) for text in texts) and parse_covariates(texts) == self.covariates
        return {"covariates": texts if plain else named, "intercept": self.intercept, "min_obs": self.min_obs}

    @property
    def identity(self) -> dict[str, Any]:
        """Parameters, and digests of the tables."""
        return {**self.parameters, "files": {str(path): _digest(path) for path in self.files}}

    @property
    def files(self) -> tuple[Path, ...]:
        """The tables."""
        return tuple(dict.fromkeys(Path(c.path) for c in self.covariates if isinstance(c, Table)))

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundRegression:
        """Find each covariate's numbers, and tabulate p-values for the degrees of freedom that can occur."""
        self._check_inputs(axis, inputs)
        chosen = select_bands(self, bands)
        rows = [self._results.index(band) for band in chosen]
        columns = [covariate.column(axis) for covariate in self.covariates]
        self._check_columns(columns, len(axis))
        names = list(inputs)
        sources = [names.index(c.source) if isinstance(c, FurtherStack) else -1 for c in self.covariates]
        most = len(axis) - self.unknowns
        tested = any(band.name.endswith("_pvalue") for band in chosen)
        return BoundRegression(
            bands=chosen,
            rows=np.array(rows, dtype=np.int64),
            sources=np.array(sources, dtype=np.int64),
            columns=np.array([np.zeros(len(axis)) if column is None else column for column in columns]),
            stacks=len(inputs),
            intercept=self.intercept,
            min_obs=self.unknowns + 1 if self.min_obs is None else self.min_obs,
            errors=any(band.name.endswith(("_stderr", "_pvalue", "_partial_r")) for band in chosen),
            overall=PVALUE in chosen,
            table=tail_table(1, most) if tested and most >= 1 else None,
        )

    def _check_inputs(self, axis: TimeAxis, inputs: Mapping[str, TimeAxis]) -> None:
        for covariate in self.covariates:
            if isinstance(covariate, FurtherStack) and covariate.source not in inputs:
                raise unknown(
                    f"covariate of {self.name}", covariate.source, ["time", "step(DATE)", "FILE.csv[:COLUMN]", *inputs]
                )
        if "time" in inputs:
            raise ParameterError(f"a covariate stack of {self.name} cannot be called 'time': that name is taken")
        named = {covariate.source for covariate in self.covariates if isinstance(covariate, FurtherStack)}
        unused = [name for name in inputs if name not in named]
        if unused:
            every = ",".join([*(str(c.given) for c in self.covariates if isinstance(c.given, str)), *unused])
            raise ParameterError(
                f"no covariate of {self.name} names the stack {', '.join(map(repr, unused))}: covariates={every}"
            )
        check_paired(self.name, inputs, axis)

    def _check_columns(self, columns: Sequence[Floats | None], layers: int) -> None:
        """Refuse covariates whose effect no pixel can show."""
        known = [(c.name, column) for c, column in zip(self.covariates, columns, strict=True) if column is not None]
        kept: list[tuple[str, Floats]] = []
        for name, column in known:
            left = column - column.mean() if self.intercept else column
            if (self.intercept and (column == column[0]).all()) or not left.any():
                raise ParameterError(f"covariate {name!r} is {column[0]:.10g} on all {layers} dates: leave it out")
            left = unit = left / np.linalg.norm(left)
            for _, other in kept:
                left = left - (other @ left) * other
            if np.linalg.norm(left) <= TOLERANCE:
                with_ = ", ".join(other for other, direction in kept if abs(direction @ unit) > TOLERANCE)
                raise ParameterError(
                    f"covariate {name!r} is a linear combination of others on all {layers} dates ({with_}): "
                    "leave one out"
                )
            kept.append((name, left / np.linalg.norm(left)))


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


@dataclass(frozen=True, eq=False)
class BoundRegression(BoundKernel):
    """`regress` bound to dates and bands.

    Attributes
    ----------
    rows
        Row of each band in the results of the kernel.
    sources
        (covariate,) index of the stack of each covariate, -1 for none.
    columns
        (covariate, time) values that are the same for each pixel.
    stacks
        Number of covariate stacks.
    intercept, min_obs
        As in `regress`.
    errors, overall
        Whether standard errors and what follows from them are needed, and whether the overall p-value is.
    table
        Table of p-values of covariates, if they are needed.
    """

    rows: NDArray[np.int64]
    sources: NDArray[np.int64]
    columns: Floats
    stacks: int
    intercept: bool
    min_obs: int
    errors: bool
    overall: bool
    table: TailTable | None

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.regress import STACKS, Covariates, Options, make_scratch
        from pixelwise.kernels.regress import regress as fit

        values, others = covariate_series("regress", inputs, self.columns.shape[1], self.stacks)
        stacks = others or (values,)
        padded = (*stacks, *stacks[:1] * (-len(stacks) % STACKS))
        covariates = Covariates(padded, readonly(self.sources), readonly(self.columns))
        fit(
            values,
            covariates,
            Options(self.intercept, self.min_obs, self.errors, self.overall, tails_of(self.table)),
            make_scratch(covariates),
            output_into(self.rows, result, status),
        )
