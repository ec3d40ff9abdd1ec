"""What kernels must not call."""

from __future__ import annotations

import ast
from pathlib import Path

import pixelwise
from pixelwise import jit

#: What numba makes of its quicksort; see `kernel`.
SORTING = {"sort", "argsort", "sorted", "median", "nanmedian", "percentile", "quantile", "partition", "unique"}


def test_kernels_do_not_sort_by_numba() -> None:
    """Two kernels, of two processes, that sort by it may meet in a third as one: a crash, or wrong numbers."""
    package = Path(pixelwise.__file__).parent
    files = [*package.glob("methods/_*_kernels.py"), *(package / name for name in jit.KERNEL_FILES)]
    assert len(files) > 10
    for path in files:
        for function in ast.walk(ast.parse(path.read_text())):
            decorators = getattr(function, "decorator_list", [])
            if any("kernel" in ast.unparse(decorator) for decorator in decorators):
                calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
                names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
                assert not names & SORTING, f"{path.name}: {names & SORTING}"
