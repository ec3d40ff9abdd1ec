"""One job from its plan to its map: executor, journal, blocks, losses."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.bands import Band
from pixelwise.errors import ResourceError
from pixelwise.jobs.answer import PostProcessed
from pixelwise.jobs.engine import Engine
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.executors import engine_of, is_elsewhere, open_engine, shares_memory, usable_cores
from pixelwise.jobs.job import Job, Result
from pixelwise.jobs.layer_digests import digests_of_sums, like_digests
from pixelwise.jobs.machine import free_memory
from pixelwise.jobs.notebook import notebook_bar
from pixelwise.jobs.plan import Demand, OutputDemand, Plan, check_blocks, make_plan, size_text
from pixelwise.jobs.provenance import NotComparableError, describe_losses, doubts_of, identify
from pixelwise.jobs.results import files_of, results_of
from pixelwise.maps.files import FileSink
from pixelwise.maps.journal import Journal
from pixelwise.maps.map import Map, Timings
from pixelwise.maps.records import DoneBlock, Layout
from pixelwise.maps.sink import Sink
from pixelwise.method import BoundMethod, Method, say_rounded
from pixelwise.methods.functions.base import UserFunction
from pixelwise.methods.functions.pixel import SMALL_JOB, BoundPixelFunction
from pixelwise.stacks.base import FileStack, Stack, layout_of
from pixelwise.stacks.composite import CompositeStack, FunctionReducer

__all__ = [
    "Task",
    "check_memory",
    "check_travels",
    "check_unchanged",
    "costs_of_chunks",
    "engine_for",
    "executor_for",
    "files_of",
    "plan_job",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """Everything that defines a job except where it is computed.

    Attributes
    ----------
    named
        The bands that are written.
    folder
        Folder of the output; None for memory.
    warned
        Bands for which a warning about rounded whole numbers was given already.
    digested
        Whether the map records a digest of the values of each band but the status.
    """

    stacks: tuple[Stack, ...]
    method: Method
    bound: BoundMethod
    named: tuple[Band, ...]
    dtype: str
    sink: Sink
    provenance: dict[str, Any]
    folder: Path | None
    warned: frozenset[str] = frozenset()
    digested: bool = False

    def carry_out(self, execution: Execution, began: float) -> Map:
        """Compute all remaining blocks and finish the output; `began` is when the clock started."""
        sink = self.sink
        doubts = "" if self.folder is None else doubts_of(self.method, self.stacks)
        refused = "" if execution.trust_function else doubts
        with self._journal(refused, execution) as journal:
            if isinstance(sink, FileSink) and journal is not None and journal.committed is not None:
                log.info("the map was already complete and only gets its final name")
                return sink.end(self.named, self.stacks[0].grid, self.dtype, journal.committed)
            with open_engine(engine_for(self.bound, self.stacks, execution)) as engine:
                return self._compute(engine, execution, journal, doubts, began)

    def _compute(self, engine: Engine, execution: Execution, journal: Journal | None, doubts: str, began: float) -> Map:
        """Do the work of `carry_out` with an engine that is open."""
        sink, begun = self.sink, journal.layout if journal else None
        plan = plan_job(
            self.stacks,
            self.bound,
            execution,
            engine,
            dtype=self.dtype,
            in_memory=self.folder is None,
            tile=begun.cell if begun else None,
        )
        engine.check(files_of(self.stacks))
        wished = begun or Layout((plan.tile_height, plan.tile_width), shard=(plan.block_height, plan.block_width))
        # The head of a file needs room for what is only known at the end.
        room = {"layer_digests": like_digests(len(self.bound.bands))} if self.digested else {}
        first = {**self.provenance, **room}
        layout = sink.begin(plan.grid, wished, self.named, self.dtype, first, resumed=begun is not None)
        warnings = [*self.provenance.get("warnings", ()), *(again := costs_of_chunks(plan, self.stacks))]
        for text in again:
            log.warning(text)
        if begun is not None and doubts:
            warnings.append(f"resumed on trust: {doubts}")
            log.warning(warnings[-1])
        if journal is not None:
            journal.begin(layout)
        job = Job(self.stacks, self.bound, self.dtype, sink.encode, plan.team, plan.handles, self.digested)
        timings, tally = _run(job, plan, engine, sink, execution, journal, self.warned, self.method.name)
        timings = replace(timings, total=time.perf_counter() - began)
        described = {**self.provenance, "timings": timings.as_dict()}
        if self.digested:
            described["layer_digests"] = digests_of_sums(tally.sums)
        if tally.lost:
            described["lost"] = describe_losses(tally.lost, self.folder)
        if warnings := [*warnings, *tally.warnings]:
            described["warnings"] = warnings
        finished = sink.finish(described, timings, journal.commit if journal else lambda seals: None)
        return replace(finished, timings=replace(timings, total=time.perf_counter() - began))

    @contextmanager
    def _journal(self, refused: str, execution: Execution) -> Iterator[Journal | None]:
        """Yield the journal of the output, None if it is in memory.

        Both are closed at the end, and what is worth keeping is kept.
        """
        sink, method, grid = self.sink, self.method, self.stacks[0].grid
        if not isinstance(sink, FileSink):
            yield None
            return
        key = {}
        try:
            key = {**identify(self.provenance, method, self.stacks), **sink.identity}
        except NotComparableError as error:
            refused = str(error)
        journal = Journal(
            sink.path,
            key,
            grid,
            after=execution.limits.journal_seconds,
            refused=refused,
            restart=execution.restart,
            # A refusal must not lose what an earlier run did.
            before_restart=partial(sink.check_anew, grid, self.named, self.dtype),
        )
        finished = False
        try:
            yield journal
            finished = True
        finally:
            kept = journal.worth_keeping and not finished
            if kept and isinstance(method, UserFunction):
                method.leave()
            if kept:
                log.warning("%s keeps the progress; run the same job again to resume", journal.path)
            try:
                sink.abort(keep=kept)
            finally:
                journal.close(finished=finished)


def _run(
    job: Job,
    plan: Plan,
    engine: Engine,
    sink: Sink,
    execution: Execution,
    journal: Journal | None,
    warned: frozenset[str],
    name: str,
) -> tuple[Timings, _Tally]:
    """Compute all remaining blocks and hand them to the sink."""
    pixels, began = plan.grid.block.pixels, time.perf_counter()
    tally, blocks, done = _Tally(warned=set(warned)), plan.blocks(), 0
    if journal is not None:
        _restore(journal, sink, tally, len(job.bound.bands) if job.digested else 0)
        blocks, done = journal.remaining(blocks), journal.pixels
    if done:
        log.info("resuming: %d %% of the pixels were done by an earlier run", 100 * done // pixels)
    progress = notebook_bar() if execution.progress is None else execution.progress
    try:
        checked = time.monotonic()
        for result in results_of(job, blocks, len(plan), plan, engine, name, execution.limits.task_seconds):
            if time.monotonic() - checked > execution.limits.check_seconds:
                check_unchanged(job.stacks)
                checked = time.monotonic()
            before = time.perf_counter()
            losses = tally.add(result)
            placed = sink.write(result.block, result.encoded)
            if journal is not None:
                lost = tuple((path, band, count) for (path, band), count in losses.items())
                journal.add(DoneBlock(result.block, placed, result.answered, lost, result.rounded, result.sums))
            tally.write += time.perf_counter() - before
            done += result.block.pixels
            if progress:
                progress(done, pixels)
    except MemoryError as error:
        raise ResourceError(
            "memory ran out; run the same command again with fewer --jobs or a smaller --memory to resume"
        ) from error
    check_unchanged(job.stacks)
    tally.warn_at_end(whole=execution.part is None)
    decoded = pixels * sum(layout_of(s).stored_bytes_per_pixel for s in job.stacks)
    wait = time.perf_counter() - began - tally.write
    return Timings(tally.read, tally.kernel, tally.encode, tally.write, wait, pixels=pixels, bytes_read=decoded), tally


#: Pixels that could not be read, by path and band.
Losses = Counter[tuple[str, int]]


@dataclass
class _Tally:
    """Results of the blocks so far.

    Attributes
    ----------
    read, kernel, encode, write
        Seconds, as in `Timings`.
    answered
        Whether any pixel has values.
    lost
        What could not be read.
    failed
        Whether a user's function failed anywhere.
    warned
        Bands for which a warning about rounded whole numbers was given.
    warnings
        Warnings given, for the map's tags.
    sums
        What the blocks add to the digest of each band.
    """

    read: float = 0.0
    kernel: float = 0.0
    encode: float = 0.0
    write: float = 0.0
    answered: bool = False
    lost: Losses = field(default_factory=Counter)
    failed: bool = False
    warned: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    sums: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, result: Result) -> Losses:
        """Add one block and return its losses; warn about what happens for the first time."""
        self.read += result.read
        self.kernel += result.kernel
        self.encode += result.encode
        self.answered = self.answered or result.answered
        self.add_sums(result.sums)
        if result.failure is not None and not self.failed:
            self.failed = True
            log.warning("the function failed at some pixels (status 5); the first:\n%s", result.failure)
        self.warn_of_rounding(result.rounded)
        losses: Losses = Counter()
        warned = {path for path, _ in self.lost}
        for loss in result.lost:
            path = str(loss.path)
            if path not in warned:
                warned.add(path)
                log.warning("%s; it counts as missing, as will all later losses in this file", loss.reason)
            losses[path, loss.band] += loss.block.pixels
        self.lost.update(losses)
        return losses

    def add_sums(self, sums: tuple[int, ...]) -> None:
        """Add what a block adds to the digest of each band."""
        if sums:
            known = self.sums[0] if self.sums else (0,) * len(sums)
            self.sums = [tuple((a + b) % (1 << 64) for a, b in zip(known, sums, strict=True))]

    def warn_of_rounding(self, rounded: Iterable[Sequence[Any]]) -> None:
        """Warn once for each band with whole numbers that the type of the map cannot hold."""
        new = [(band, value) for band, value in rounded if band not in self.warned]
        self.warned.update(band for band, _ in new)
        # Not one line for each of a thousand layers.
        said = [say_rounded(band, value) for band, value in new[:MOST_BANDS]]
        if len(new) > MOST_BANDS:
            said.append(f"{len(new) - MOST_BANDS} more bands: float32 does not hold their whole numbers either")
        for text in said:
            log.warning(text)
        self.warnings += said

    def warn_at_end(self, *, whole: bool) -> None:
        """Warn about what concerns all blocks together; a part that is not the `whole` map may well be empty."""
        if whole and not self.answered:
            log.warning("no pixel has a result: the map holds nothing but status")
        if self.lost:
            log.warning(
                "%d pixels, counted over all dates, could not be read in %d file(s) and count as missing: affected "
                "where it matters",
                self.lost.total(),
                len({path for path, _ in self.lost}),
            )


def _restore(journal: Journal, sink: Sink, tally: _Tally, digests: int) -> None:
    """Take over the blocks of an earlier run that are intact; each adds to so many digests."""
    damaged = 0
    for done in journal.records():
        if len(done.sums) == digests and sink.restore(done):
            journal.confirm(done.block)
            tally.answered = tally.answered or done.answered
            tally.add_sums(done.sums)
            tally.warn_of_rounding(done.rounded)
            tally.lost.update({(path, band): count for path, band, count in done.lost})
        else:
            damaged += 1
    if damaged:
        log.warning("%d damaged block(s) of the unfinished map are computed again", damaged)


def check_unchanged(stacks: Sequence[Stack]) -> None:
    """Stop a job whose files changed while it ran: half of the map would come from other numbers."""
    for stack in stacks:
        if isinstance(stack, FileStack):
            stack.check_unchanged()


def check_travels(method: Method, stacks: Sequence[Stack], executor: object) -> None:
    """Refuse users' functions that an executor cannot send to its workers.

    Raises
    ------
    FunctionError
    """
    if shares_memory(executor):
        return
    reducers = [stack.reducer for stack in stacks if isinstance(stack, CompositeStack)]
    for function in (method, *(reducer.method for reducer in reducers if isinstance(reducer, FunctionReducer))):
        if isinstance(function, UserFunction):
            function.check_travels()


def executor_for(
    bound: BoundMethod,
    stacks: Sequence[Stack],
    execution: Execution,
) -> Any:
    """Return the requested executor, or the one that suits a job: threads if they can run all of it in parallel.

    Threads also if plain Python, or a library that decodes in one thread at a time, is likely to finish before
    processes would have started. That depends on the size of the job alone, because the next run of the same job has
    to choose the same executor.
    """
    if execution.executor is not None:
        return execution.executor
    pixels = stacks[0].grid.block.pixels
    method = bound.bound if isinstance(bound, PostProcessed) else bound
    small = isinstance(method, BoundPixelFunction) and pixels * len(stacks[0].axis) <= SMALL_JOB
    files = [stack for stack in stacks if isinstance(stack, FileStack)]
    serial = sum(pixels * stack.layout.stored_bytes_per_pixel for stack in files if stack.layout.serial)
    parallel = (bound.releases_gil or small) and all(stack.releases_gil for stack in files)
    return "threads" if parallel and serial <= MOST_SERIAL_BYTES else "processes"


def check_memory(stacks: Sequence[Stack], execution: Execution) -> None:
    """Refuse stacks when not even one block fits into memory, before anything is read; see `check_blocks`."""
    memory = execution.memory_bytes
    # What is free here says nothing about workers elsewhere.
    if memory is not None or not is_elsewhere(execution.executor):
        check_blocks([layout_of(stack) for stack in stacks], memory)


def engine_for(bound: BoundMethod, stacks: Sequence[Stack], execution: Execution) -> Engine:
    """Return the engine that computes a job; nothing is started yet.

    Raises
    ------
    ResourceError
        When a cluster does not answer, or has no workers.
    """
    jobs = execution.jobs
    if jobs is None:
        # Each worker decodes a block: use as many as fit, so that files with huge blocks can still be read.
        room = free_memory() // 2 // max(1, *(layout_of(stack).block_bytes for stack in stacks))
        jobs = usable_cores() if execution.memory is not None else min(usable_cores(), max(room, 1))
    executor = executor_for(bound, stacks, execution)
    return engine_of(executor, jobs, memory=execution.memory_bytes, address=execution.address)


def plan_job(
    stacks: Sequence[Stack],
    bound: BoundMethod,
    execution: Execution,
    engine: Engine | None = None,
    *,
    dtype: str = "float32",
    in_memory: bool = False,
    tile: tuple[int, int] | None = None,
) -> Plan:
    """Cut a job into blocks for the workers of an engine; see `make_plan`."""
    engine = engine or engine_for(bound, stacks, execution)
    # The threads of a team share the memory of one process and divide the files among themselves.
    team = engine.of_threads and not bound.halo and all(isinstance(stack, FileStack) for stack in stacks)
    return make_plan(
        stacks[0].grid,
        [Demand(len(stack.axis), layout_of(stack)) for stack in stacks],
        OutputDemand(len(bound.bands) + 1, np.dtype(dtype).itemsize, in_memory=in_memory, tile=tile),
        replace(engine.workers, teamwork=team),
        execution.limits,
        halo=bound.halo,
    )


def costs_of_chunks(plan: Plan, stacks: Sequence[Stack]) -> list[str]:
    """Warn of blocks or chunks that cost more time than decoding each once: one line at most."""
    layout = layout_of(stacks[0])
    if plan.redecode >= WORTH_REWRITING and plan.uncut:
        enough = f"{math.ceil(plan.uncut / (1 << 20))} MiB"
        allowed = plan.workers.memory
        room = "in the memory of this machine" if allowed is None else f"with {size_text(allowed)}"
        each = "" if plan.workers.local else " of each worker"
        what = "chunk" if layout.rewrite else "block of the files"
        text = f"{room}{each}, each {what} is decoded {plan.redecode:.3g} times; {enough} (--memory) avoids this"
        return [f"{text}, as does rewriting it in smaller chunks: {layout.rewrite}" if layout.rewrite else text]
    if layout.small_chunks >= MANY_CHUNKS:
        seconds = layout.small_chunks * SECONDS_PER_CHUNK
        time_ = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
        text = (
            f"{layout.small_chunks} chunks of {size_text(layout.block_bytes)} take longer to find than to decode, "
            f"about {time_}: rewrite them once in larger chunks: {layout.rewrite}"
        )
        return [text]
    return []


#: More bytes are decoded in processes if threads could only take turns: libhdf5 decodes 2 GiB in 8 s, and two processes
#: cost 5 s of CPU to start.
MOST_SERIAL_BYTES = 4 << 30
#: Chunks that are worth a warning, and how long finding one takes in zarr-python 3.
MANY_CHUNKS, SECONDS_PER_CHUNK = 10_000, 5e-4
#: How often chunks are decoded before rewriting them in other sizes pays, which decodes and encodes each once.
WORTH_REWRITING = 2.0
#: At most this many bands with rounded whole numbers are named.
MOST_BANDS = 5
