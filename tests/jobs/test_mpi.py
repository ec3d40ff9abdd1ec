"""MPI: real ranks of mpiexec, through the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pixelwise as pw
from support.command_line import run

pytest.importorskip("mpi4py")
if shutil.which("mpiexec") is None:
    pytest.skip("mpiexec is not installed", allow_module_level=True)

#: Of Open MPI, which else refuses root and more ranks than cores.
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
}  # fmt: skip


def ranks(count: int, *words: object) -> subprocess.CompletedProcess[str]:
    command = ["mpiexec", "-q", "-n", str(count), sys.executable, "-m", "mpi4py.futures", "-m", "pixelwise"]
    return subprocess.run(
        [*command, *map(str, words)], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=120
    )


def test_ranks_give_the_same_bytes(stack: pw.RasterStack, out: Path) -> None:
    wanted = pw.apply(stack, "ols", executor="inline")
    words = ("apply", "ols", stack.paths[0].parent, "--quiet", "--executor", "mpi")
    for name in ("trend.tif", "trend.zarr"):
        found = ranks(3, *words, "-o", out / name)
        assert found.returncode == 0, found.stderr
        assert found.stderr.count("\n") < 4, found.stderr
        written = pw.open_map(out / name)
        for band in wanted.names:
            assert written[band].tobytes() == wanted[band].tobytes(), band


def test_errors_keep_their_type_and_status(stack: pw.RasterStack, out: Path) -> None:
    stack.paths[2].write_bytes(stack.paths[2].read_bytes()[:-3000])
    words = ("apply", "ols", stack.paths[0].parent, "--quiet", "--executor", "mpi", "-o", out / "trend.tif")
    found = ranks(3, *words)
    assert found.returncode == 1
    errors = [line for line in found.stderr.splitlines() if "error" in line]
    assert len(errors) == 1, found.stderr
    assert str(stack.paths[2]) in errors[0]
    assert "Traceback" not in found.stderr


def test_it_is_refused_outside_of_mpi(stack: pw.RasterStack, out: Path) -> None:
    found = run("apply", "ols", *stack.paths, "--executor", "mpi", "-o", out / "trend.tif")
    assert found.exit_code == 1
    assert "run mpiexec -n 4 python -m mpi4py.futures -m pixelwise ..." in found.stderr
    with pytest.raises(pw.ParameterError, match="executor mpi needs ranks"):
        pw.apply(stack, "ols", executor="mpi")
