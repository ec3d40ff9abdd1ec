"""Recompute the pixels of a map: by another implementation, or by the method itself, one pixel at a time."""

from __future__ import annotations

import logging
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import methods
from pixelwise.bands import STATUS_BAND, Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError, ParameterError, PixelwiseError
from pixelwise.jobs.provenance import plain
from pixelwise.maps.map import Map
from pixelwise.method import BoundMethod, Method, parameters_of
from pixelwise.methods.functions.base import UserFunction
from pixelwise.methods.functions.calls import SIMPLE_TYPES
from pixelwise.methods.functions.loading import load_function
from pixelwise.methods.functions.marks import COUNT_BAND
from pixelwise.methods.functions.pixel import PixelFunction
from pixelwise.methods.lookup import as_method
from pixelwise.verify.exact import Oracle, exact_line
from pixelwise.verify.making import DAMAGES, LONGEST, Making, damaged, length, short
from pixelwise.verify.sources import NAMED

__all__ = ["method_of", "recomputation"]

log = logging.getLogger(__name__)

#: Numbers of an `ols` map are within this of exact ones: p-values come from tables accurate to 1e-9; everything else
#: is closer. Rounding to the map's type comes on top, 1.2e-7 for float32.
RELATIVE = 1e-9


class _ByOracle:
    """Computes pixels by another implementation."""

    def __init__(self, name: str, method: Method, making: Making, names: Sequence[str]) -> None:
        self.by, self._oracle = ORACLES[name]
        self.tolerance = RELATIVE + float(np.finfo(making.output.dtype).eps)
        self._method, self._names = method, tuple(names)
        self._years = [layer.year for layer in making.layers]

    @property
    def bands(self) -> Sequence[Band]:
        """Bands that the method can compute, without ``status``."""
        return self._method.bands

    def __call__(self, table: Floats) -> tuple[Floats, Floats]:
        """Return (band, pixel) values of (time, pixel), and how far beyond the tolerance they may be off."""
        expected, slack = np.empty((2, len(self._names), table.shape[1]))
        for pixel, series in enumerate(table.T.tolist()):
            answer = self._oracle(self._method, self._years, series)
            for row, name in enumerate(self._names):
                expected[row, pixel], slack[row, pixel] = answer[name]
        return expected, slack


class _ByItself:
    """Computes pixels with the method itself, one at a time: numbers must be identical."""

    tolerance = 0.0

    def __init__(self, method: Method, making: Making, names: Sequence[str]) -> None:
        self._method, self._names = method, tuple(names)
        layers = making.layers
        dates, precisions, excess = zip(*((one.date, one.precision, one.excess) for one in layers), strict=True)
        self._axis = TimeAxis.from_dates(dates, precisions, layers[0].calendar, excess)
        self._bound = self._bind()

    def _bind(self) -> BoundMethod:
        wanted = [name for name in self._names if name != STATUS_BAND.name]
        return self._method.bind(self._axis, wanted, {})

    @property
    def bands(self) -> Sequence[Band]:
        """Bands that are computed, without ``status``."""
        return self._bound.bands

    @property
    def by(self) -> str:
        """What computes them."""
        compiled = isinstance(self._method, PixelFunction) and self._method.loop is not None
        return f"{self._method.name} itself, {'compiled, ' * compiled}pixel by pixel"

    def __call__(self, table: Floats) -> tuple[Floats, Floats]:
        """Return (band, pixel) values of (time, pixel), and zeros."""
        if isinstance(self._method, UserFunction) and not self._method.decision:
            least = self._method.min_obs
            # A function is tried on pixels that it would be passed, as in the job.
            if (np.count_nonzero(~np.isnan(table), axis=0) >= least).any():
                self._method = self._method.rehearse(self._axis, lambda: table)
                self._bound = self._bind()
        place = self._names.index(STATUS_BAND.name)
        others = [row for row in range(len(self._names)) if row != place]
        expected = np.empty((len(self._names), table.shape[1]))
        for pixel in range(table.shape[1]):
            values, status = self._bound((np.ascontiguousarray(table[:, pixel : pixel + 1]),))
            expected[others, pixel], expected[place, pixel] = values[:, 0], status[0]
        return expected, np.zeros(expected.shape)


def recomputation(
    making: Making, given: str | Method | Callable[..., Any] | None, map_: Map, path: Path
) -> _ByOracle | _ByItself:
    """Return what recomputes the pixels of a map.

    Raises
    ------
    ParameterError
        When a function must be given, or is not the one that made the map.
    """
    method = method_of(making, given, map_, path)
    if method.halo:
        raise InputError(f"{path}: cannot be verified: {method.name} uses neighbouring pixels")
    if given is None and making.method in ORACLES:
        unknown = [name for name in map_.names if name not in {b.name for b in (*method.bands, STATUS_BAND)}]
        if unknown:
            raise damaged(path, f"{making.method} has no {unknown[0]}")
        # Bands that are rarely requested have no second implementation here.
        if not {band.name for band in method.bands if band.optional} & set(map_.names):
            return _ByOracle(making.method, method, making, map_.names)
    try:
        return _ByItself(method, making, map_.names)
    except (PixelwiseError, ArithmeticError, ValueError) as error:
        raise damaged(path, error) from None


def method_of(making: Making, given: str | Method | Callable[..., Any] | None, map_: Map, path: Path) -> Method:
    """Return the method that made a map; code runs only if the user gives it.

    Raises
    ------
    ParameterError
        When a function must be given, or is not the one that made the map.
    InputError
        When the record is damaged, or names a table.
    """
    if given is None:
        return _registered(making, path)
    if making.made_by_function or isinstance(given, Method):
        return _again(making, given, map_.names, path)
    raise ParameterError(f"{path}: was made by {making.method}, not by a function of your own")


def _registered(making: Making, path: Path) -> Method:
    """Build a method from its name and parameters, which are mere data."""
    file, name = making.parameters.get("file"), making.method
    if not making.made_by_function and length(making.parameters) > LONGEST:
        raise damaged(path, "its parameters are too long")
    if making.made_by_function and isinstance(file, str) and 0 < len(file) <= LONGEST:
        raise ParameterError(
            f"{path}: was made by the function {name} of a file {file}; code that a map names is run only when you "
            f"name it again: --method {shlex.quote(f'{file}:{name}')}, with the path of your file"
        )
    if making.made_by_function:
        raise ParameterError(f"{path}: was made by the function {name}, which is not in a file: give it as method=")
    try:
        factory = methods.get(name)
        known = parameters_of(factory)
        method = factory(**{key: value for key, value in making.parameters.items() if _known(key, known)})
    except DAMAGES as error:
        raise damaged(path, error) from None
    if method.files:
        raise InputError(
            f"{path}: cannot be computed again: its method read a table, and no file that a map names is opened"
        )
    return method


def _known(name: str, known: Mapping[str, Any]) -> bool:
    if name not in known:
        raise ValueError(f"there is no parameter {short(name)}")
    return True


def _again(making: Making, given: str | Method | Callable[..., Any], bands: Sequence[str], path: Path) -> Method:
    """Make a method from what the user gives, with the parameters of the map; check that it is what made the map."""
    thing = load_function(given) if isinstance(given, str) else given
    method = as_method(thing)
    if method.name != making.method:
        raise ParameterError(f"{path}: was made by {making.method}, not by {method.name}")
    if isinstance(method, UserFunction):
        method = _with_parameters(method, thing, making, bands, path)
    now = plain(method.parameters)
    # How it runs is determined anew, and its file may have another name. Some functions have no source.
    differing = [
        name
        for name, value in making.parameters.items()
        if name not in ("decision", "file") and now.get(name) != value and None not in (now.get(name), value)
    ]
    if differing:
        raise ParameterError(f"{path}: was made by another {method.name}: its {', '.join(differing)} differs")
    if isinstance(method, UserFunction):
        _log_changes(method, making, path)
    return method


def _log_changes(method: UserFunction, making: Making, path: Path) -> None:
    """Log what a function uses that has changed since it made a map: a possible reason for differences."""
    recorded = making.beneath if isinstance(making.beneath, dict) else {}
    packages = recorded.get("packages")
    found = method.fingerprint()
    changed = [
        f"{name} was {short(packages.get(name))}, is {version}"
        for name, version in found.packages.items()
        if isinstance(packages, dict) and packages.get(name) != version
    ]
    # The digest is one of bytecode, which differs between versions of Python.
    if recorded.get("digest", found.digest) != found.digest and making.python == platform.python_version():
        changed.insert(0, "its own code or values differ")
    if changed:
        log.warning("%s: what %s uses has changed since: %s", path, method.name, "; ".join(changed[:NAMED]))


def _with_parameters(method: UserFunction, thing: Any, making: Making, bands: Sequence[str], path: Path) -> Method:
    """Set a function's parameters and the names of its values as in the map, and whether it may run compiled."""
    now, recorded = method.parameters["parameters"], making.parameters.get("parameters")
    recorded = recorded if isinstance(recorded, dict) else {}
    set_ = {name: value for name, value in recorded.items() if name not in now or now[name] != value}
    for name, value in set_.items():
        if value is not None and not isinstance(value, SIMPLE_TYPES):
            raise damaged(path, f"parameter {short(name)} is {short(value)}")
    names = (
        [name for name in bands if name not in (COUNT_BAND.name, STATUS_BAND.name)] if method.returned is None else None
    )
    # A function that ran in plain Python must not run compiled now: the last digits might differ.
    compiled = making.parameters.get("decision") == "compiled"
    return as_method(thing, names, set_, None if compiled or not isinstance(method, PixelFunction) else False)


#: Second implementations of registered methods: their name in reports, and the function. A method without an entry is
#: compared with itself, pixel by pixel.
ORACLES: Mapping[str, tuple[str, Oracle]] = {"ols": ("exact arithmetic and a power series for the p-value", exact_line)}
