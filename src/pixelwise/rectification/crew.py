"""Who computes a rectification, how far it is, and where what is done is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.errors import ParameterError
from pixelwise.grid import Block
from pixelwise.jobs.engine import Engine
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.executors import engine_of, open_engine, usable_cores
from pixelwise.jobs.job import DoneT_co, Work
from pixelwise.jobs.plan import PROCESS_BYTES, Load, size_text
from pixelwise.jobs.results import files_of, results_of
from pixelwise.rasters.handles import CACHE_BYTES
from pixelwise.rectification.comparing import LinesT, RowsWork
from pixelwise.rectification.lines import Lines
from pixelwise.rectification.progress import Progress
from pixelwise.rectification.rows import say_lost
from pixelwise.rectification.scenes import HELD_BYTES
from pixelwise.rectification.sensors import PairLines
from pixelwise.stacks.raster import RasterStack
from pixelwise.words import count

__all__ = ["Crew", "Meter", "journal_beside"]

#: What is found: for scenes, or for pairs of them.
Kind = type[Lines] | type[PairLines]
#: Memory that the open files of one thread may hold.
HANDLES_BYTES = 64 << 20


@contextmanager
def journal_beside(
    output: Path | None, key: dict[str, Any], kind: Kind, execution: Execution
) -> Iterator[Progress | None]:
    """Yield the journal of a table; None for a table in memory."""
    if output is None:
        yield None
        return
    journal = Progress(output, key, kind, after=execution.limits.journal_seconds, restart=execution.restart)
    finished = False
    try:
        yield journal
        finished = True
    finally:
        journal.close(finished=finished)


class Meter:
    """Tells how much is done, of phases that take about as long as each other.

    Parameters
    ----------
    report
        Called with how much is done, and with all; None or False to tell nobody.
    """

    def __init__(self, report: Any) -> None:
        self._report = report
        self._phases, self._phase, self._count, self._done = 1, 0, 1, 0

    def begin(self, phase: int, phases: int, count: int) -> None:
        """Begin a phase, the first is 0, that has so many steps."""
        self._phase, self._phases, self._count, self._done = phase, phases, max(count, 1), 0

    def finish(self) -> None:
        """Report everything as done: some phases may not have been needed."""
        if self._report:
            self._report(self._phases * self._count, self._phases * self._count)

    def add(self, steps: int = 1) -> None:
        """Report some steps of the phase as done."""
        self._done += steps
        if self._report:
            self._report(self._phase * self._count + self._done, self._phases * self._count)


@dataclass(frozen=True)
class Crew:
    """Who computes one rectification, and where what is done is kept."""

    stack: RasterStack
    execution: Execution
    journal: Progress | None
    meter: Meter

    def results(self, work: Work[DoneT_co], blocks: Sequence[Block], values: int, name: str) -> Iterator[DoneT_co]:
        """Yield the results of some blocks, in any order; `values` is how many numbers a worker holds of each."""
        if not blocks:
            return
        execution = self.execution
        with open_engine(self._engine()) as engine:
            workers = engine.workers
            layout, bands = self.stack.layout, len(self.stack.layers[0].images[0].bands)
            decoded = 8 * bands * layout.block_height * layout.block_width
            each = (
                HELD_BYTES + decoded + 8 * values + self.stack.block_bytes + work.handles * self.stack.open_file_bytes
            )
            memory = workers.processes * (PROCESS_BYTES + CACHE_BYTES) + workers.together * each
            if workers.memory is not None and memory > workers.memory:
                raise ParameterError(
                    f"memory {size_text(workers.memory)} is too little: {count(range(workers.jobs), 'worker')} "
                    f"need{'s' if workers.jobs == 1 else ''} about "
                    f"{size_text(memory)}; allow more, or use fewer --jobs"
                )
            engine.check(files_of((self.stack,)))
            load = Load(workers=workers, limit=2 * workers.jobs, memory=memory, result_bytes=8 * values)
            checked = time.monotonic()
            for result in results_of(work, blocks, len(blocks), load, engine, name, execution.limits.task_seconds):
                if time.monotonic() - checked > execution.limits.check_seconds:
                    self.stack.check_unchanged()
                    checked = time.monotonic()
                yield result

    def compare(
        self, work: RowsWork[LinesT], known: Mapping[int, LinesT] | None = None, turn: int = 0
    ) -> list[LinesT | str]:
        """Return the lines of each row, or why it has none; rows that are `known`, or were done before, are not asked.

        Parameters
        ----------
        work
            What is compared.
        known
            Lines by row.
        turn
            How often all rows were compared before.
        """
        count, kept = work.count, {} if self.journal is None else self.journal.lines
        found = {number - turn * count: lines for number, lines in kept.items() if number // count == turn}
        found.update(known or {})
        self.meter.add(len(found))
        todo = [Block(number, 0, 1, 1) for number in range(count) if number not in found]
        lost = 0
        for one in self.results(work, todo, work.held, "rectify"):
            found[one.block.row] = one.lines
            lost += one.lost
            if self.journal is not None:
                self.journal.add_lines(turn * count + one.block.row, one.lines)
            self.meter.add()
        say_lost(lost)
        return [found[number] for number in range(count)]

    def _engine(self) -> Engine:
        execution = self.execution
        executor = execution.executor or ("threads" if self.stack.releases_gil else "processes")
        jobs = usable_cores() if execution.jobs is None else execution.jobs
        return engine_of(executor, jobs, memory=execution.memory_bytes, address=execution.address)

    @property
    def handles(self) -> int:
        """How many datasets one thread keeps open."""
        return max(HANDLES_BYTES // max(self.stack.open_file_bytes, 1), 1)
