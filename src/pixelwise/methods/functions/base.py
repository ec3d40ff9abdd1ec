"""The common base of methods that call a user's function."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import FunctionError, ParameterError
from pixelwise.method import Method, rounded_whole_numbers, say_rounded, select_bands
from pixelwise.methods.functions.bytecode import used_by
from pixelwise.methods.functions.calls import SIMPLE_TYPES, Call, signature_of
from pixelwise.methods.functions.fingerprint import Fingerprint, fingerprint, source_text
from pixelwise.methods.functions.marks import COUNT_BAND, core_of
from pixelwise.methods.functions.results import short
from pixelwise.methods.functions.travel import dumps

__all__ = ["UserFunction", "mixed_pixels", "status_of"]

#: Most pixels on which a function is tried before the job.
REHEARSAL_PIXELS = 256

# Fingerprints taken before the jobs of this process, by the parts of those taken after them: calls may fill a cache,
# such as a dictionary of the function's module, which does not make it a different function.
_LEFT: dict[frozenset[tuple[str, str]], Fingerprint] = {}


@dataclass(frozen=True)
class UserFunction(Method):
    """A method that calls a user's function.

    Attributes
    ----------
    call
        The function, and how it is called.
    returned
        The bands of the values that it returns; None until `rehearse` has found out.
    min_obs
        Pixels with fewer observations are not passed to the function.
    strict
        Whether an exception of the function stops the job.
    decision
        ``compiled``, or why not; empty until `rehearse`.
    whole
        Bands in which the rehearsal met whole numbers that float32 cannot hold, each with one such number.
    varying
        Whether it returned different numbers for the same pixel in the rehearsal.
    known
        Its `fingerprint`, taken before the rehearsal calls it, since calls may fill its caches.
    """

    call: Call
    returned: tuple[Band, ...] | None = None
    min_obs: int = 1
    strict: bool = False
    decision: str = ""
    whole: tuple[tuple[str, float], ...] = field(default=(), repr=False, compare=False)
    varying: bool = field(default=False, repr=False, compare=False)
    known: Fingerprint | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the function."""
        return self.call.name

    @property
    def bands(self) -> tuple[Band, ...]:
        """The user's bands, then ``n``.

        Raises
        ------
        FunctionError
            If they are not known yet.
        """
        if self.returned is None:
            raise FunctionError(f"the bands of {self.name} are unknown until it has been tried on a pixel; name them")
        return (*self.returned, COUNT_BAND)

    @property
    def parameters(self) -> dict[str, Any]:
        """Function, file, source text and parameters, for the map's provenance."""
        core = core_of(self.call.function)
        signature = signature_of(self.call.function)
        values = {p.name: p.default for p in signature.parameters.values()} if signature else {}
        simple = {name: value for name, value in values.items() if type(value) in SIMPLE_TYPES}
        given = {k: v if type(v) in SIMPLE_TYPES or v is None else short(v) for k, v in self.call.keywords}
        return {
            "function": getattr(core, "__qualname__", self.name),
            "file": _file_of(core),
            "source": source_text(core),
            "parameters": {**simple, **given},
            "min_obs": self.min_obs,
            "decision": self.decision,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """Parameters, versions of packages, and digests of all that the function uses, the most telling first."""
        found = self.fingerprint()
        others = {"packages": dict(found.packages), "what it uses": dict(found.parts)}
        return {**dict(sorted(self.parameters.items())), **others}

    def fingerprint(self) -> Fingerprint:
        """Return the identity of the function with its parameters, and what of it cannot be compared."""
        if self.known is not None:
            return self.known
        now = self._now()
        return _LEFT.get(frozenset(now.parts.items()), now)

    def _now(self) -> Fingerprint:
        return fingerprint(self.call.function, dict(self.call.keywords))

    def leave(self) -> None:
        """Remember how a stopped job changed the function, so that the next job in this process still knows it."""
        known = self.fingerprint()
        _LEFT[frozenset(self._now().parts.items())] = known

    @property
    def season_term(self) -> bool:
        """True, because how a function treats seasons is up to its author."""
        return True

    def warnings(self, dtype: str) -> list[str]:
        """Return warnings that the rehearsal gave reason for, one line each, for a map of this type."""
        found = [say_rounded(band, value) for band, value in self.whole] if dtype == "float32" else []
        if self.varying:
            found.append(
                f"{self.name} returns different values on each call for the same pixel: the map cannot be reproduced, "
                "and verify finds differences; give its random numbers a seed within the function"
            )
        return found

    def check_travels(self) -> None:
        """Refuse a function that cannot be sent to worker processes.

        Raises
        ------
        FunctionError
            Names the object that cannot be pickled.
        """
        try:
            dumps(self.call)
        except Exception as error:  # pickling runs methods of the objects
            found = _find_unpicklable(self.call.function)
            if found is None:
                why = f"it cannot be sent to worker processes ({' '.join(str(error).split())[:200]})"
                advice = "define it with def in a file"
            else:
                kind = type(found[1])
                of = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
                why = f"it uses {found[0]} ({of}{kind.__qualname__}), which cannot be sent to worker processes"
                advice = "create it inside the function"
            raise FunctionError(
                f'{self.name}: {why}: {advice}, or stay in this process with --executor threads (executor="threads")'
            ) from error

    def _whole(self, table: Floats) -> tuple[tuple[str, float], ...]:
        """Return `whole` for (band, pixel) results."""
        return tuple((self.bands[number].name, value) for number, value in rounded_whole_numbers(table, "float32"))

    def _bound(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> dict[str, Any]:
        """Return the fields that the bound functions share."""
        if inputs:
            raise ParameterError(f"{self.name} is a function of one stack: it cannot take {', '.join(inputs)}")
        wanted = select_bands(self, bands)
        names = tuple(band.name for band in self.bands)
        return {
            "call": self.call,
            "bands": wanted,
            "names": names[:-1],
            "rows": tuple(names.index(band.name) for band in wanted),
            "arrays": self.call.arrays(axis),
            "min_obs": self.min_obs,
            "strict": self.strict,
        }


def _find_unpicklable(thing: Any, name: str = "", seen: frozenset[int] = frozenset()) -> tuple[str, Any] | None:
    """Find something that a function uses but that cannot be sent to another process.

    Parameters
    ----------
    thing
        A function, or something that it uses.
    name
        Name by which it is used.
    seen
        Identities of the objects that are being searched.

    Returns
    -------
    tuple or None
        The name and the object itself; None if everything can be sent.
    """
    if id(thing) in seen or _travels(thing):
        return None
    parts: dict[str, Any] = {}
    if isinstance(thing, functools.partial):
        arguments = {f"argument {i + 1}": value for i, value in enumerate(thing.args)}
        parts = {**arguments, **thing.keywords, "": thing.func}
    elif isinstance(thing, types.FunctionType):
        defaults = {f"default {i + 1}": value for i, value in enumerate(thing.__defaults__ or ())}
        parts = {**used_by(thing), **defaults, **(thing.__kwdefaults__ or {})}
    elif isinstance(thing, types.MethodType):
        parts = {"self": thing.__self__}
    elif isinstance(thing, Mapping):
        parts = {f"{name}[{key!r}]": value for key, value in thing.items()}
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = {f"{name}[{i}]": value for i, value in enumerate(thing)}
    elif not isinstance(thing, type):
        parts = {f"{name or 'self'}.{key}": value for key, value in getattr(thing, "__dict__", {}).items()}
    for part, value in parts.items():
        found = _find_unpicklable(value, part, seen | {id(thing)})
        if found is not None:
            return found
    return (name, thing) if name else None


def _travels(thing: Any) -> bool:
    try:
        cloudpickle.dumps(thing)
    except Exception:  # of any kind: pickling runs methods of the objects
        return False
    return True


def _file_of(function: Callable[..., Any]) -> str | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except (TypeError, ValueError):
        return None
    return Path(file).name if file else None


def mixed_pixels(sample: Floats, min_obs: int) -> Floats:
    """Return up to 256 (pixel, time) series that cover all lengths; always the same ones for the same sample."""
    counts = np.count_nonzero(~np.isnan(sample), axis=0)
    random = np.random.default_rng(0)
    shuffled = random.permutation(np.flatnonzero(counts >= min_obs))
    shuffled = shuffled[np.argsort(counts[shuffled], kind="stable")]
    lengths, first = np.unique(counts[shuffled], return_index=True)
    # 0 for the first series of each length, 1 for the second, ...
    rank = np.arange(shuffled.size) - first[np.searchsorted(lengths, counts[shuffled])]
    chosen = shuffled[np.lexsort((random.random(shuffled.size), rank))[:REHEARSAL_PIXELS]]
    return np.array(sample[:, chosen].T, dtype=np.float64, order="C")


def status_of(counts: NDArray[Any], min_obs: int) -> NDArray[np.uint8]:
    """Return the status of pixels with these numbers of observations."""
    status = np.where(counts < min_obs, Status.TOO_FEW, Status.OK).astype(np.uint8)
    status[counts == 0] = Status.NO_OBSERVATION
    return status
