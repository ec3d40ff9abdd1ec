"""Load functions from users' files: ``file.py:function``."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from pixelwise.errors import FunctionError, ParameterError
from pixelwise.regular_files import check_regular, read_bytes
from pixelwise.words import unknown

__all__ = ["load_function"]


def load_function(text: str) -> Callable[..., Any]:
    """Import ``file.py:function``.

    Modules in the folder of the file can be imported while the file is imported, but not afterwards. The file and what
    it imported from its folder are sent to workers by value.

    Parameters
    ----------
    text
        ``path/to/file.py:function``.

    Raises
    ------
    ParameterError
        When there is no such file, no such function in it, or it is not callable.
    FunctionError
        When the file cannot be imported.
    """
    path_text, separator, name = text.rpartition(":")
    if not separator or not name or not path_text:
        raise ParameterError(f"{text!r} is not file.py:function")
    path = Path(os.path.expanduser(path_text))  # noqa: PTH111 - Path.expanduser fails if there is no such user
    check_regular(path)
    module = _import_file(path.resolve())
    if not hasattr(module, name):
        own = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        raise unknown(f"function in {path.name}", name, own)
    function = getattr(module, name)
    if not callable(function):
        raise ParameterError(f"{name} in {path.name} is {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]


def _import_file(path: Path) -> types.ModuleType:
    # A name that shadows no other module (files may be called signal.py), and stays the same for the same file.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    stem = re.sub(r"\W", "_", path.stem)
    name = f"pixelwise_user_{stem}_{digest}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    source = read_bytes(path)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _importable(path.parent):
            # Compiled here, so that no __pycache__ is left beside the user's file, and no stale one is read.
            text = importlib.util.decode_source(source)
            exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f" (line {lines[-1]})" if lines else ""
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise FunctionError(f"{path.name} cannot be imported: {message}{where}") from error
    cloudpickle.register_pickle_by_value(module)
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make the modules of a folder importable, and afterwards forget those imported from it."""
    if str(folder) in sys.path:
        yield
        return
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        # cloudpickle pickles modules by value, as workers need, if they are not in sys.modules.
        for name in set(sys.modules) - before:
            if _lies_in(sys.modules.get(name.partition(".")[0]), folder):
                sys.modules.pop(name)


def _lies_in(module: types.ModuleType | None, folder: Path) -> bool:
    """Whether a top-level module or package is directly in a folder; its subpackages may be deeper."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place is not None and Path(place).parent == folder for place in places)
