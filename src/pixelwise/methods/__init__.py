"""The statistics: one file per method, and the registry of them.

Importing this compiles nothing and loads neither numba nor rasterio.
"""

from __future__ import annotations

from collections.abc import Callable

from pixelwise.errors import unknown
from pixelwise.method import Method
from pixelwise.methods.correlation import correlation
from pixelwise.methods.ols import ols
from pixelwise.methods.regress import regress
from pixelwise.methods.restrend import restrend
from pixelwise.methods.summary import summary

__all__ = ["METHODS", "correlation", "get", "ols", "regress", "restrend", "summary"]

METHODS: tuple[Callable[..., Method], ...] = (ols, summary, correlation, regress, restrend)
"""The factory of every method; a factory's name is the method's."""


def get(name: str) -> Callable[..., Method]:
    """Return the factory of the method called `name`.

    Raises
    ------
    ParameterError
        When there is none, with the closest match.
    """
    known = {factory.__name__: factory for factory in METHODS}
    if name not in known:
        raise unknown("method", name, known)
    return known[name]
