"""A user's function compiled by numba, in a compiled loop over pixels.

Whether it is used is decided in `pixelwise.methods.functions.pixel`, by comparing it with plain Python.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
import types as python_types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray

from pixelwise.errors import FunctionError
from pixelwise.methods.functions.fingerprint import fingerprint

__all__ = ["CannotCompile", "CompiledLoop"]

log = logging.getLogger(__name__)

# What Python guarantees but numba omits by default: IndexError, ZeroDivisionError, IEEE arithmetic.
AS_PYTHON: dict[str, Any] = {"boundscheck": True, "error_model": "python", "fastmath": False, "nogil": True}

SOURCE_TYPES = {
    "times": types.float64[::1],
    "dates": types.NPDatetime("D")[::1],
    "year": types.int64[::1],
    "doy": types.int64[::1],
}

#: Compiled loops, kept for the next job with the same function: compiling takes half a second, and numba never frees
#: the 4 MB that it needs for each.
_LOOPS: OrderedDict[Any, Callable[..., None]] = OrderedDict()
_LOOPS_LOCK = threading.Lock()
_LOOPS_KEPT = 16


class CannotCompile(FunctionError):  # noqa: N818 - a result in the rehearsal, an error afterwards
    """Why numba cannot run a function, in one line."""


class CompiledLoop:
    """A user's function inside a compiled loop over pixels.

    It is compiled at its first use, once per process: pickles contain only the Python function, and threads and later
    jobs with the same function share one loop.

    Parameters
    ----------
    function
        The user's function.
    positional
        Arrays passed by position after the values: ``times``, ``dates``, ``year``, ``doy``.
    named
        Arrays passed by keyword: (parameter, array) pairs.
    keywords
        Keyword parameters, frozen into the compiled code.
    n_bands
        Number of values that the function returns.
    gaps
        Whether it also gets the missing values.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        positional: Sequence[str],
        named: Sequence[tuple[str, str]],
        keywords: Sequence[tuple[str, Any]],
        n_bands: int,
        gaps: bool,
    ) -> None:
        self.function = function
        self.positional = tuple(positional)
        self.named = tuple(named)
        self.keywords = tuple(keywords)
        self.n_bands = n_bands
        self.gaps = gaps
        self._lock = threading.Lock()
        self._loop: Callable[..., None] | None = None
        #: Whether it was compiled by an earlier job.
        self.used_before = False

    def __getstate__(self) -> dict[str, Any]:
        # Machine code and locks cannot leave their process.
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_loop")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _loop=None)

    def __call__(
        self,
        rows: NDArray[np.float64],
        counts: NDArray[np.int64],
        min_obs: int,
        arrays: Sequence[NDArray[Any]],
        out: NDArray[np.float64],
        failed: NDArray[np.bool_],
    ) -> None:
        """Call the function on every row with enough observations.

        Parameters
        ----------
        rows
            (pixel, time), NaN where missing.
        counts
            (pixel,) number of observations in each row.
        min_obs
            Rows with fewer observations are skipped.
        arrays
            (time,) arrays for `positional`, then for `named`.
        out
            (band, pixel), written in place.
        failed
            (pixel,), set if the function raised or returned a wrong number of values.
        """
        loop = self.prepare()
        by_name = dict(zip(self._sources(), arrays, strict=True))
        loop(rows, counts, min_obs, self.gaps, out, failed, *by_name.values())

    def prepare(self) -> Callable[..., None]:
        """Compile the loop, unless that is done already.

        Raises
        ------
        CannotCompile
            Gives numba's reason.
        """
        with self._lock:
            if self._loop is None:
                key = self._key()
                with _LOOPS_LOCK:
                    self._loop = _LOOPS.get(key)
                    self.used_before = self._loop is not None
                    if self._loop is not None:
                        _LOOPS.move_to_end(key)
                        return self._loop
                log.info(
                    "compiling %s (in each run)", getattr(_flatten(self.function, ())[0], "__name__", "the function")
                )
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        self._loop = self._compile()
                except CannotCompile:
                    raise
                except Exception as error:
                    raise CannotCompile(_reason(error)) from error
                if key is not None:
                    with _LOOPS_LOCK:
                        _LOOPS[key] = self._loop
                        while len(_LOOPS) > _LOOPS_KEPT:
                            _LOOPS.popitem(last=False)
            return self._loop

    def forget(self) -> None:
        """Compile again at the next use, because something changed that the fingerprint does not cover."""
        with self._lock, _LOOPS_LOCK:
            _LOOPS.pop(self._key(), None)
            self._loop, self.used_before = None, False

    def _key(self) -> Any:
        """Return what the compiled code depends on; None if that cannot be known."""
        known = fingerprint(functools.partial(self.function, **dict(self.keywords)))
        return None if known.doubts else (known.digest, self.positional, self.named, self.n_bands, self.gaps)

    def _sources(self) -> list[str]:
        return [*self.positional, *(source for _, source in self.named)]

    def _compile(self) -> Callable[..., None]:
        # Source code is generated, because calls differ in the number and names of arguments. Only names of parameters
        # come from the user, and those are identifiers.
        call, result = self._compile_call()
        sources = self._sources()
        unique = list(dict.fromkeys(sources))
        gathered = [f"{name}[picked]" for name in ("rows[pixel]", *sources)]
        fixed = ["rows", "counts", "min_obs", "gaps", "out", "failed"]
        loop = _define(
            f"def loop({', '.join(fixed + unique)}):\n"
            "    for pixel in range(rows.shape[0]):\n"
            "        if counts[pixel] < min_obs:\n"
            "            continue\n"
            "        picked = positions(rows[pixel], counts[pixel], gaps)\n"
            "        try:\n"
            f"            result = call({', '.join(gathered)})\n"
            f"{_store(result, self.n_bands)}"
            "        except Exception:\n"
            "            failed[pixel] = True\n",
            {"call": call, "positions": _positions, "n_bands": self.n_bands},
        )
        rows, flags = types.float64[:, ::1], types.boolean[::1]
        known = (rows, types.int64[::1], types.int64, types.boolean, rows, flags)
        loop.compile((*known, *(SOURCE_TYPES[source] for source in unique)))
        return loop  # type: ignore[no-any-return]

    def _compile_call(self) -> tuple[Any, Any]:
        """Compile one call of the function; return it and the numba type of its result."""
        function, first, keywords = _flatten(self.function, self.keywords)
        constants = {f"first_{i}": value for i, value in enumerate(first)}
        given = {f"given_{i}": value for i, value in enumerate(keywords.values())}
        arrays = [f"array_{i}" for i in range(len(self._sources()))]
        by_name = [name for name, _ in self.named]
        passed = [*constants, "values", *arrays[: len(self.positional)]]
        passed += map("{}={}".format, by_name, arrays[len(self.positional) :])
        passed += map("{}={}".format, keywords, given)
        call = _define(
            f"def call({', '.join(['values', *arrays])}):\n    return function({', '.join(passed)})\n",
            {"function": _compilable(function), **constants, **given},
        )
        signature = (types.float64[::1], *(SOURCE_TYPES[source] for source in self._sources()))
        call.compile(signature)
        return call, call.overloads[signature].signature.return_type


def _define(text: str, names: dict[str, Any]) -> Any:
    """Compile a function from its source text."""
    namespace = dict(names)
    exec(text, namespace)  # noqa: S102 - the text is ours, see CompiledLoop._compile
    name = text.removeprefix("def ").partition("(")[0]
    return numba.njit(**AS_PYTHON)(namespace[name])


def _flatten(
    function: Callable[..., Any], keywords: Sequence[tuple[str, Any]]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Unwrap functools.partial, which numba does not support."""
    given = dict(keywords)
    first: tuple[Any, ...] = ()
    while isinstance(function, functools.partial):
        first = (*function.args, *first)
        given = {**function.keywords, **given}
        function = function.func
    return function, first, given


def _compilable(function: Callable[..., Any]) -> Any:
    if isinstance(function, Dispatcher):
        return function
    if isinstance(function, python_types.FunctionType) and not str(function.__module__).startswith("numpy"):
        return numba.njit(**AS_PYTHON)(_without_keyword_only(function))
    # NumPy's functions and builtins: numba supports them, or says that it does not.
    return function


def _without_keyword_only(function: python_types.FunctionType) -> python_types.FunctionType:
    """Return the function with keyword-only parameters made positional, as numba needs."""
    code = function.__code__
    if not code.co_kwonlyargcount:
        return function
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[:count]
    positional = function.__defaults__ or ()
    defaults = dict(zip(names[code.co_argcount - len(positional) :], positional, strict=False))
    defaults.update(function.__kwdefaults__ or {})
    first = min((names.index(name) for name in defaults), default=count)
    return python_types.FunctionType(
        code.replace(co_argcount=count, co_kwonlyargcount=0),
        function.__globals__,
        function.__name__,
        # Parameters without a default are always passed; None is a placeholder.
        tuple(defaults.get(name) for name in names[first:]),
        function.__closure__,
    )


def _is_real(kind: Any) -> bool:
    return isinstance(kind, (types.Integer, types.Float, types.Boolean))


def _store(result: Any, n_bands: int) -> str:
    """Return the lines that store a result of this numba type."""
    indent = " " * 12
    if _is_real(result) and n_bands == 1:
        return f"{indent}out[0, pixel] = result\n"
    if isinstance(result, types.BaseTuple) and len(result) == n_bands and all(map(_is_real, result)):
        # Unrolled, because numba cannot index a tuple of mixed types by a variable.
        return "".join(f"{indent}out[{band}, pixel] = result[{band}]\n" for band in range(n_bands))
    sequence = (types.Array, types.List, types.ListType)
    if isinstance(result, sequence) and _is_real(result.dtype) and getattr(result, "ndim", 1) == 1:
        return (
            f"{indent}if len(result) == n_bands:\n"
            f"{indent}    for band in range(n_bands):\n"
            f"{indent}        out[band, pixel] = result[band]\n"
            f"{indent}else:\n"
            f"{indent}    failed[pixel] = True\n"
        )
    raise CannotCompile(f"compiled, it returns {result} instead of {n_bands} numbers")


def _positions_of_values(row: NDArray[np.float64], count: int, gaps: bool) -> NDArray[np.int64]:
    if gaps:
        return np.arange(row.size)
    picked = np.empty(count, np.int64)
    found = 0
    for i in range(row.size):
        if not np.isnan(row[i]):
            picked[found] = i
            found += 1
    return picked


_positions = numba.njit(**AS_PYTHON)(_positions_of_values)


def _reason(error: Exception) -> str:
    """Return the first informative line of numba's message, without colours and paths."""
    text = re.sub(r"\x1b\[[0-9;]*m|(?<=') from '[^']*'", "", str(error))
    lines = (line.strip(" -.:") for line in text.splitlines())
    telling = [line for line in lines if line and not line.startswith("Failed in ")]
    return telling[0][:200] if telling else type(error).__name__
