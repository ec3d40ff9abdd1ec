"""What is computed: one file per statistic, and the registry of all methods.

Importing this package compiles nothing and loads neither numba nor rasterio.
"""

from __future__ import annotations

from collections.abc import Callable

from pixelwise.method import Method
from pixelwise.methods.contextual_mann_kendall import contextual_mann_kendall
from pixelwise.methods.correlation import correlation
from pixelwise.methods.harmonic import harmonic
from pixelwise.methods.mann_kendall import mann_kendall
from pixelwise.methods.naming import unknown_method
from pixelwise.methods.ols import ols
from pixelwise.methods.polynomial import polynomial
from pixelwise.methods.regress import regress
from pixelwise.methods.restrend import restrend
from pixelwise.methods.robust import robust
from pixelwise.methods.seasonal_kendall import seasonal_kendall
from pixelwise.methods.siegel import siegel
from pixelwise.methods.summary import summary
from pixelwise.methods.theil_sen import theil_sen
from pixelwise.methods.trend import trend
from pixelwise.methods.wls import wls

__all__ = [
    "METHODS",
    "contextual_mann_kendall",
    "correlation",
    "get",
    "harmonic",
    "mann_kendall",
    "ols",
    "polynomial",
    "regress",
    "restrend",
    "robust",
    "seasonal_kendall",
    "siegel",
    "summary",
    "theil_sen",
    "trend",
    "wls",
]

METHODS: tuple[Callable[..., Method], ...] = (
    trend,
    ols,
    theil_sen,
    siegel,
    mann_kendall,
    seasonal_kendall,
    contextual_mann_kendall,
    wls,
    robust,
    polynomial,
    harmonic,
    regress,
    restrend,
    correlation,
    summary,
)
"""The factories of all methods; each has the name of its method."""


def get(name: str) -> Callable[..., Method]:
    """Return the factory of the method called `name`.

    Raises
    ------
    ParameterError
        When there is none; names the closest match.
    """
    known = {factory.__name__: factory for factory in METHODS}
    if name not in known:
        raise unknown_method(name, known)
    return known[name]
