"""Users' own files on the way to workers: as this process imported them."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import pixelwise as pw
from pixelwise.methods.functions.travel import dumps
from support.rasters import MakeStack, random_series

HELPER = """
import threading
K = 2
class C:
    k = K
def h(v):
    return v.max() * K + C.k
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a function that imports a file of the user's own, and changes that on disk once it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "helper_of_mine.py"

    def made(text: str) -> Any:
        path.write_text(text)
        importlib.invalidate_caches()
        module = importlib.import_module("helper_of_mine")
        path.write_text(text.replace("K = 2", "K = 30"))
        return module

    yield made
    sys.modules.pop("helper_of_mine", None)


def sent(thing: Any) -> Any:
    """Return what a fresh process would make of a pickle."""
    data = dumps(thing)
    before = sys.modules.pop("helper_of_mine")
    try:
        return pickle.loads(data)
    finally:
        sys.modules["helper_of_mine"] = before


def test_a_file_travels_as_it_was_imported(helper: Any) -> None:
    module = helper(HELPER)
    assert sent(lambda v: module.h(v))(np.arange(3.0)) == 6.0
    assert sent(module.h)(np.arange(3.0)) == 6.0
    assert sent(module.C).k == 2
    assert "helper_of_mine" not in cloudpickle.list_registry_pickle_by_value()


def test_a_function_with_a_cache_travels(helper: Any) -> None:
    """Python pickles it by the name of its module, which workers do not have of a file given as FILE:FUNCTION."""
    text = """
from functools import cache, lru_cache
K = 2
@lru_cache(maxsize=7)
def c(n):
    return K if n == 0 else c(n - 1) + 1
@cache
def d(n):
    return c(n)
def f(v):
    return v.max() + d(3)
"""
    module = helper(text)
    assert sent(module.f)(np.arange(3.0)) == 7.0
    assert sent(module.c).cache_parameters() == {"maxsize": 7, "typed": False}
    assert module.c.cache_info().misses == 0


@pytest.mark.parametrize("text", ["LOCK = threading.Lock()\n", "def s():\n    global K\n    K = 5\n"])
def test_other_files_are_imported_by_workers(helper: Any, text: str) -> None:
    module = helper(HELPER + text)
    assert sent(lambda: module)().K == 30
    assert "helper_of_mine" not in cloudpickle.list_registry_pickle_by_value()


def test_worker_processes_use_the_version_of_their_parent(helper: Any, make_stack: MakeStack) -> None:
    module = helper(HELPER)
    stack = pw.open_stack(make_stack(random_series((6, 40, 30), seed=4)))
    there = pw.apply(stack, lambda v: module.h(v), bands=["x"], executor="processes", jobs=1)
    here = pw.apply(stack, lambda v: module.h(v), bands=["x"], executor="inline")
    assert there["x"].tobytes() == here["x"].tobytes()
