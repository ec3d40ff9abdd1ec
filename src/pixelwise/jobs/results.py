"""The blocks of a job as they are done, whatever the job and the engine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pixelwise.errors import ParameterError
from pixelwise.grid import Block
from pixelwise.jobs.engine import Engine, map_unordered
from pixelwise.jobs.job import DoneT_co, Work
from pixelwise.jobs.pace import WAITING_BYTES, Pace
from pixelwise.jobs.plan import Load
from pixelwise.jobs.worker import compile_kernels, keep, shared
from pixelwise.rasters.handles import reading
from pixelwise.rasters.stamps import FileStamp
from pixelwise.stacks.base import FileStack, Stack

__all__ = ["files_of", "results_of"]

log = logging.getLogger(__name__)


def results_of(
    job: Work[DoneT_co], blocks: Iterable[Block], count: int, load: Load, engine: Engine, name: str, task_seconds: float
) -> Iterator[DoneT_co]:
    """Yield the finished blocks of a job, in any order; raise what a task failed with.

    Parameters
    ----------
    job, name
        What workers do, and what messages call it.
    blocks, count
        Its blocks, and how many there are at most.
    load, engine
        What it needs, and who computes it.
    task_seconds
        How long a task in another process should last.
    """
    known = shared(job, name, in_process=engine.in_process, files=files_of(job.stacks))
    pace = Pace(0 if engine.in_process else task_seconds, load.result_bytes)
    most = max(WAITING_BYTES // max(load.result_bytes, 1), load.jobs)

    def width() -> int:
        return min(engine.width(load.limit), most)

    with reading(), keep(job, known.token) if engine.in_process else nullcontext():
        if engine.in_process:
            compile_kernels(job, name)
        engine.start(known, load)
        ahead = _announced(job, blocks) if engine.in_process else blocks
        runs = pace.runs(ahead, count, width)
        for outcome in map_unordered(engine.submit, runs, width, engine.breaks, engine.recover, engine.wait):
            if isinstance(outcome, str):  # of a worker that lacks pixelwise
                raise ParameterError(outcome)
            for text in outcome.compiled:
                log.info("compiled %s, which is kept there", text)
            pace.note(len(outcome.results), sum(one.seconds for one in outcome.results))
            failure = outcome.failure
            yield from outcome.results
            if failure is not None:
                raise failure.error()
            del outcome  # a block may be large


def _announced(job: Work[Any], blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks, which workers of this process compute soon: servers are asked for their bytes meanwhile."""
    for block in blocks:
        job.fetch_ahead(block)
        yield block


def files_of(stacks: Sequence[Stack]) -> dict[Path, FileStamp]:
    """Return the local files of all stacks, and what they were like when their headers were read."""
    stamps = [one for stack in stacks if isinstance(stack, FileStack) for one in stack.stamps.items()]
    return {path: stamp for path, stamp in stamps if isinstance(path, Path) and isinstance(stamp, FileStamp)}
