"""What `import pixelwise` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pixelwise


def test_public_names() -> None:
    assert sorted(pixelwise.__all__) == pixelwise.__all__
    for name in pixelwise.__all__:
        assert getattr(pixelwise, name) is not None
    assert set(pixelwise.__all__) == {
        "Band", "Block", "BoundMethod", "CompositeStack", "Fit", "FunctionError", "Gains", "Grid", "InputError",
        "InputSpec", "Map", "Method", "OutputError", "ParameterError", "PixelwiseError", "RasterStack", "ResourceError",
        "Series", "Stack", "Status", "TimeAxis", "ZoneTable", "__version__",
        "apply", "fdr", "join", "methods", "open_map", "open_stack", "per_block", "per_pixel",
        "plot_gains", "rectify", "write_layers", "zones",
    }  # fmt: skip
    assert dir(pixelwise) == pixelwise.__all__


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'aply'"):
        pixelwise.aply  # noqa: B018


def test_errors_form_one_tree() -> None:
    for name in ("FunctionError", "InputError", "OutputError", "ParameterError", "ResourceError"):
        assert issubclass(getattr(pixelwise, name), pixelwise.PixelwiseError)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import pixelwise", ["numpy", "numba", "rasterio", "scipy", "click"]),
        ("import pixelwise.cli", ["numba", "rasterio", "scipy", "matplotlib", "rich", "loky"]),
        ("import pixelwise; pixelwise.apply", ["numba", "scipy", "matplotlib", "xarray", "dask", "loky"]),
    ],
)
def test_heavy_packages_wait_until_they_are_used(statement: str, absent: list[str]) -> None:
    code = f"import sys; {statement}; print([name for name in {absent} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_job_imports_no_scipy() -> None:
    code = """
import sys, numpy as np
import pixelwise as pw
pw.methods.ols()(np.random.default_rng(0).normal(size=(9, 4)), range(9))
print([name for name in ("scipy.stats", "scipy.special", "matplotlib", "xarray") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
