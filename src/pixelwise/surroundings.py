"""Nothing of the folder that a command is given in is run or obeyed: it may be somebody else's unpacked archive."""

from __future__ import annotations

import importlib.machinery
import os
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["SAFE_PATH", "safe_children", "set_numba_file_aside", "without_numba_file"]

#: Python's own switch (3.11): it keeps the current folder off the path that modules are looked for in.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}

_CHANGING = threading.RLock()


@contextmanager
def safe_children() -> Iterator[None]:
    """Let Python processes that are started within import nothing from the current folder.

    Workers and the trackers of their resources start by ``-m`` and ``-c``, with that folder first on their path: a
    ``multiprocessing.py`` there would run. Afterwards workers get the path of this process, with the folder of a user's
    own script.
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


#: The file of settings that numba reads in the current folder, when it is imported and whenever it compiles.
_NUMBA_FILE = ".numba_config.yaml"


class _NumbaFinder:
    """Finds numba's settings, which then come from ``NUMBA_*`` in the environment alone."""

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
    """Loads numba's settings with another name for its file: it is read while the module is executed."""

    def get_code(self, fullname: str) -> types.CodeType | None:
        code = super().get_code(fullname)
        if code is None:
            return None
        # Of the null device numba says that it is no file.
        return code.replace(co_consts=tuple(os.devnull if c == _NUMBA_FILE else c for c in code.co_consts))


def set_numba_file_aside() -> None:
    """Let numba, whoever imports it in this process from now on, read no file in the current folder.

    Its settings lead to folders of machine code, which is run.
    """
    if not any(isinstance(finder, _NumbaFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NumbaFinder())


@contextmanager
def without_numba_file() -> Iterator[None]:
    """Do so for what is imported within."""
    finder = _NumbaFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
