"""``pixelwise compile``."""

from __future__ import annotations

import os
import shlex
import time

import click

from pixelwise.cli.report import debug_option, emit

__all__ = ["compile_kernels"]


@click.command("compile")
@click.argument("method", nargs=-1)
@debug_option
def compile_kernels(method: tuple[str, ...]) -> None:
    r"""Compile kernels before they are needed.

    Those of METHOD..., or of all methods, and those that read files.

    Otherwise each is compiled at its first use, which takes some seconds, and kept for this user. In the image of a
    container, or for the nodes of a cluster, compile once and keep the result in a folder that all can read:

    \b
      NUMBA_CACHE_DIR=/opt/pixelwise-kernels pixelwise compile
      NUMBA_CACHE_DIR=/opt/pixelwise-kernels pixelwise compile trend ols

    All users can read what is in NUMBA_CACHE_DIR then, and only you can change it. Set it to the same where jobs run; a
    user who may not write there begins with a copy, if root or that user compiled it. Machine code is for the type of
    processor that compiled it: where there are several, set NUMBA_CPU_NAME=generic in both places.

    The folder is printed. It belongs to one version of pixelwise, and machine code to one of Python and of numba.
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
                f"other users cannot enter {place}, and so cannot read the kernels: chmod o+x {shlex.quote(place)}",
                error=True,
            )
    elif os.environ.get("NUMBA_CACHE_DIR"):
        emit(
            "kernels are kept for you only: `pixelwise` in NUMBA_CACHE_DIR must be a folder that only you can change",
            error=True,
        )
    emit(f"{len(kept - before)} kernels compiled in {seconds:.0f} s, {len(kept & before)} were there", error=True)
    emit(str(folder), lines=False)
