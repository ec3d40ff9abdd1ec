"""Keep Python and numba from running or obeying files in the current folder: it may be an untrusted archive."""

from __future__ import annotations

import importlib.machinery
import os
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["SAFE_PATH", "safe_children", "set_numba_file_aside", "without_numba_file"]

#: Python's own switch (3.11): it keeps the current folder off the path on which modules are looked up.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}

_CHANGING = threading.RLock()


@contextmanager
def safe_children() -> Iterator[None]:
    """Keep Python processes started in this context from importing anything from the current folder.

    Workers and their resource trackers start with ``-m`` and ``-c``, so that the current folder comes first on their
    path and a ``multiprocessing.py`` there would run. After starting, workers get the path of this process, including
    the folder of a user's own script.
    """
    with _CHANGING:
        before = {name: os.environ.get(name) for name in SAFE_PATH}
        os.environ.update(SAFE_PATH)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


#: The settings file that numba reads from the current folder, on import and whenever it compiles.
_NUMBA_FILE = ".numba_config.yaml"


class _NumbaFinder:
    """Finds numba's settings, which then come only from ``NUMBA_*`` in the environment."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "numba.core.config":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _NumbaLoader(spec.loader.name, spec.loader.path)
        return spec


class _NumbaLoader(importlib.machinery.SourceFileLoader):
    """Loads numba's settings with another file name in its code: the settings file is read during execution."""

    def get_code(self, fullname: str) -> types.CodeType | None:
        code = super().get_code(fullname)
        if code is None:
            return None
        # numba says that the null device is not a file.
        return code.replace(co_consts=tuple(os.devnull if c == _NUMBA_FILE else c for c in code.co_consts))


def set_numba_file_aside() -> None:
    """Keep numba, imported by whatever module from now on, from reading a file in the current folder.

    Its settings lead to folders of machine code, which is executed.
    """
    if not any(isinstance(finder, _NumbaFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NumbaFinder())


@contextmanager
def without_numba_file() -> Iterator[None]:
    """Do the same for imports in this context."""
    finder = _NumbaFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
