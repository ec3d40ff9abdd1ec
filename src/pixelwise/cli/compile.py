"""``pixelwise compile``."""

from __future__ import annotations

import os
import shlex
import time

import click

from pixelwise.cli.completing import methods
from pixelwise.cli.report import debug_option, emit

__all__ = ["compile_kernels"]


@click.command("compile")
@click.argument("method", nargs=-1, shell_complete=methods)
@debug_option
def compile_kernels(method: tuple[str, ...]) -> None:
    r"""Compile machine code before it is needed.

    Compiles METHOD..., and the code that reads files and makes composites. `rectification` is the code of `pixelwise
    rectify`. Without METHOD, compiles everything.

    Otherwise each method is compiled at its first use, which takes some seconds, and kept for this user. For a
    container image or the nodes of a cluster, compile once and keep the result in a folder that everyone can read:

    \b
      NUMBA_CACHE_DIR=/opt/pixelwise-kernels pixelwise compile
      NUMBA_CACHE_DIR=/opt/pixelwise-kernels pixelwise compile trend ols

    All users can then read NUMBA_CACHE_DIR, but only you can change it. Set it to the same folder for jobs; users who
    cannot write there start with a copy, if the code was compiled by root or by themselves. Machine code only works for
    the type of processor on which it was compiled: if there are several, set NUMBA_CPU_NAME=generic for both the
    compilation and the jobs.

    Prints the folder. It is valid for one version of pixelwise, Python and numba.
    """
    from pixelwise.kernels.jit import closed_to_others, is_shared, share
    from pixelwise.precompile import folder_of_kernels, steps

    todo = list(steps(method))
    folder = folder_of_kernels()
    before = {path.name for path in folder.rglob("*.nbc")}
    began = time.perf_counter()
    for label, work in todo:
        step = time.perf_counter()
        work()
        emit(f"{label}: {time.perf_counter() - step:.1f} s", error=True)
    kept = {path.name for path in folder.rglob("*.nbc")}
    seconds = time.perf_counter() - began
    if is_shared(folder):
        share(folder)
        for place in map(str, closed_to_others(folder)):
            emit(
                f"other users cannot enter {place}, so they cannot read the kernels: chmod o+x {shlex.quote(place)}",
                error=True,
            )
    elif os.environ.get("NUMBA_CACHE_DIR"):
        emit(
            "kernels are kept for you only: `pixelwise` in NUMBA_CACHE_DIR must be a folder that only you can change",
            error=True,
        )
    emit(
        f"{len(kept - before)} kernels compiled in {seconds:.0f} s, {len(kept & before)} already were",
        error=True,
    )
    emit(str(folder), lines=False)
