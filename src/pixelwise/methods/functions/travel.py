"""Pickle functions for worker processes, with the user's own files as this process imported them."""

from __future__ import annotations

import dis
import functools
import io
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from pixelwise.methods.functions.packages import where_installed

__all__ = ["dumps"]

#: Type of functions decorated with `functools.lru_cache` and `cache`.
Cached = functools._lru_cache_wrapper

#: What cloudpickle calls the file of code.
NO_FILE = "<dynamic-code>"
#: cloudpickle's registry of modules to pickle by value is global.
_LOCK = threading.Lock()


def dumps(thing: Any) -> bytes:
    """Pickle something together with everything that it uses from a user's own files.

    A worker that imported these files by name would read them from disk, where they may have changed: one map could
    come from two versions. What cannot be pickled by value is still imported by workers: packages, files that set their
    own variables while functions run, and files that hold an open file, for example.

    Raises
    ------
    Exception
        Of any kind, if it cannot be pickled: pickling runs methods of the objects.
    """
    with _LOCK, io.BytesIO() as file:
        pickler = _Pickler(file)
        try:
            pickler.dump(thing)
            return file.getvalue()
        except Exception:  # of any kind, as above
            pickler.by_name()
            return bytes(cloudpickle.dumps(thing))
        finally:
            pickler.by_name()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Registers files by value as they are met.

    Attributes
    ----------
    met
        Names of modules, and whether they were registered here.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.met: dict[str, bool] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Path) and not obj.is_absolute():
            # A worker may be in another folder.
            return type(obj), (obj.absolute(),)
        if isinstance(obj, types.CodeType):
            # With the name of its file, which cloudpickle 3.1.3 leaves out: tracebacks then show the line that failed.
            make, parts = self.dispatch_table[types.CodeType](obj)
            return make, tuple(obj.co_filename if part == NO_FILE else part for part in parts)
        if isinstance(obj, (types.FunctionType, types.ModuleType, type, Cached)):
            name = obj.__name__ if isinstance(obj, types.ModuleType) else obj.__module__
            module = sys.modules.get(name) if isinstance(name, str) else None
            if module is not None and name not in self.met:
                known = name in cloudpickle.list_registry_pickle_by_value()
                self.met[name] = not known and _is_own_file(module)
                if self.met[name]:
                    cloudpickle.register_pickle_by_value(module)
        if isinstance(obj, Cached) and _is_by_value(obj.__module__):
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        return super().reducer_override(obj)

    def by_name(self) -> None:
        """Undo the registrations made here."""
        for name in [name for name, registered in self.met.items() if registered and name in sys.modules]:
            cloudpickle.unregister_pickle_by_value(sys.modules[name])
        self.met = {}


def _is_by_value(name: str) -> bool:
    return name == "__main__" or name in cloudpickle.list_registry_pickle_by_value()


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    """Recreate a function with an empty cache; Python itself would pickle it by the name of its module."""
    made: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return made


def _is_own_file(module: types.ModuleType) -> bool:
    """Whether a module is a single file of the user, without functions that set global variables."""
    file, name = getattr(module, "__file__", None), module.__name__
    if not isinstance(file, str) or not file.endswith(".py") or Path(file).name == "__init__.py" or "." in name:
        return False
    if name in ("__main__", "__mp_main__") or where_installed(module) is not None:
        return False
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == name]
    members = [member for cls in own if isinstance(cls, type) for member in vars(cls).values()]
    functions = [value for value in (*own, *members) if isinstance(value, types.FunctionType)]
    # Pickled by value, functions get variables of their own, apart from those of the module.
    return not any(step.opname == "STORE_GLOBAL" for made in functions for step in _steps(made.__code__))


def _steps(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _steps(part)
