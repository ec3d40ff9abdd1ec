"""Users' functions compiled by numba: the loop over pixels that calls them.

Whether compiled code is used is decided in `pixelwise.methods.functions.pixel`, by comparing it with plain Python.
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

# What Python promises and numba leaves out unless asked: IndexError, ZeroDivisionError, IEEE arithmetic.
AS_PYTHON: dict[str, Any] = {"boundscheck": True, "error_model": "python", "fastmath": False, "nogil": True}

SOURCE_TYPES = {
    "times": types.float64[::1],
    "dates": types.NPDatetime("D")[::1],
    "year": types.int64[::1],
    "doy": types.int64[::1],
}


#: Compiled loops by what they do, for the next job with the same function: compiling takes half a second, and numba
#: never gives back the 4 MB that it needs for one.
_LOOPS: OrderedDict[Any, Callable[..., None]] = OrderedDict()
_LOOPS_LOCK = threading.Lock()
_LOOPS_KEPT = 16


class CannotCompile(FunctionError):  # noqa: N818 - an answer in the rehearsal, an error afterwards
    """Why numba cannot run a function, in one line."""


class CompiledLoop:
    """A user's function inside a compiled loop over pixels.

    It is compiled at its first use, once per process: pickles carry the Python function only, and threads
    and later jobs with the same function share one loop.

    Parameters
    ----------
    function
        The user's function.
    positional
        Which arrays follow the values by position: ``times``, ``dates``, ``year``, ``doy``.
    named
        Which arrays are handed over by keyword: (parameter, array) pairs.
    keywords
        Keyword parameters, frozen into the compiled code.
    n_bands
        How many numbers the function returns.
    gaps
        Whether it gets the missing values too.
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
        #: Whether an earlier job compiled it.
        self.used_before = False

    def __getstate__(self) -> dict[str, Any]:
        # Machine code and locks stay in their process.
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
            (pixel,) observations of each row.
        min_obs
            Rows with fewer are left alone.
        arrays
            (time,) arrays for `positional`, then for `named`.
        out
            (band, pixel), written in place.
        failed
            (pixel,), set where the function raised or returned another number of values.
        """
        loop = self.prepare()
        by_name = dict(zip(self._sources(), arrays, strict=True))
        loop(rows, counts, min_obs, self.gaps, out, failed, *by_name.values())

    def prepare(self) -> Callable[..., None]:
        """Compile, unless that is done.

        Raises
        ------
        CannotCompile
            With numba's reason.
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
        """Compile again at the next use: what the function uses changed though its fingerprint did not."""
        with self._lock, _LOOPS_LOCK:
            _LOOPS.pop(self._key(), None)
            self._loop, self.used_before = None, False

    def _key(self) -> Any:
        """Return what the compiled code depends on; None where that cannot be known."""
        known = fingerprint(functools.partial(self.function, **dict(self.keywords)))
        return None if known.doubts else (known.digest, self.positional, self.named, self.n_bands, self.gaps)

    def _sources(self) -> list[str]:
        return [*self.positional, *(source for _, source in self.named)]

    def _compile(self) -> Callable[..., None]:
        # Generated texts, because the call and its arguments differ in number and in name. They are ours: of
        # the user's there are only names of parameters, which are identifiers.
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
    """Compile a function from its text."""
    namespace = dict(names)
    exec(text, namespace)  # noqa: S102 - the text is ours, see CompiledLoop._compile
    name = text.removeprefix("def ").partition("(")[0]
    return numba.njit(**AS_PYTHON)(namespace[name])


def _flatten(
    function: Callable[..., Any], keywords: Sequence[tuple[str, Any]]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Take functools.partial apart, which numba does not know."""
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
    # NumPy's functions and builtins: numba knows them, or says that it does not.
    return function


def _without_keyword_only(function: python_types.FunctionType) -> python_types.FunctionType:
    """Return the function with all its parameters positional too: numba cannot call it otherwise."""
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
        # Those without a default are always given; None fills their places.
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
        # Written out, because a tuple of different types has no index that varies.
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
    raise CannotCompile(f"compiled, it returns {result} where {n_bands} numbers are wanted")


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
    """Return the first line of numba's message that says something, without colours and paths."""
    text = re.sub(r"\x1b\[[0-9;]*m|(?<=') from '[^']*'", "", str(error))
    lines = (line.strip(" -.:") for line in text.splitlines())
    telling = [line for line in lines if line and not line.startswith("Failed in ")]
    return telling[0][:200] if telling else type(error).__name__
