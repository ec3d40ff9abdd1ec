"""What a worker makes of a job and of errors."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.grid import Block
from pixelwise.jobs import worker
from pixelwise.jobs.job import Job
from pixelwise.jobs.worker import Failure, compute_elsewhere, shared
from support.limits import set_limits


class Odd(Exception):
    """Cannot be pickled and come back: its constructor takes two values."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        pw.InputError("a.tif: is empty", "b.tif: is empty"), pw.OutputError("full"), pw.FunctionError("f: fails"),
        pw.ResourceError("too many files"), MemoryError("a.tif"), ValueError("7"), KeyError("x"), RuntimeError(),
    ],
)  # fmt: skip
def test_errors_keep_type_and_text(error: Exception) -> None:
    found = Failure.of(raised(error)).error()
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert getattr(found, "problems", ()) == getattr(error, "problems", ())
    assert "in raised" in found.__notes__[0]


@pytest.mark.parametrize(("error", "text"), [(Odd("a", "b"), "Odd: a and b"), (SystemExit(3), "SystemExit: 3")])
def test_what_cannot_be_pickled_keeps_its_name_and_text(error: BaseException, text: str) -> None:
    found = Failure.of(raised(error)).error()
    assert type(found) is RuntimeError
    assert str(found) == text


def test_another_machine_is_named() -> None:
    failure = replace(Failure.of(raised(pw.InputError("a.tif: is gone", "b.tif: is gone"))), host="node17")
    found = failure.error()
    assert isinstance(found, pw.InputError)
    assert found.problems == ("a.tif: is gone (on node17)", "b.tif: is gone (on node17)")
    assert socket.gethostname() not in str(Failure.of(raised(pw.OutputError("full"))).error())


def nothing(block: Block, values: Any, status: Any) -> int:
    """Encode a block as nothing; those below the first row cannot be."""
    if block.row:
        raise pw.OutputError(f"row {block.row}: full")
    return block.pixels


@pytest.fixture
def job(stack: pw.RasterStack) -> Job:
    return Job((stack,), pw.methods.ols().bind(stack.axis, None, {}), "float32", nothing)


def test_a_job_arrives_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    known = shared(job, "ols", in_process=False)
    block = Block(0, 0, 32, 32)
    first = compute_elsewhere(known, (block,))
    assert first.failure is None
    # Without its payload, it is known by its name.
    second = compute_elsewhere(replace(known, payload=b""), (block, block))
    assert second.failure is None
    assert [one.encoded for one in second.results] == [1024, 1024]
    for _ in range(3):  # the last few are kept
        compute_elsewhere(shared(job, "ols", in_process=False), ())
    assert len(worker._ARRIVED) == 2


def test_blocks_before_an_error_come_back_with_it(job: Job, stack: pw.RasterStack) -> None:
    known = shared(job, "ols", in_process=False)
    found = compute_elsewhere(known, (Block(0, 0, 32, 32), Block(32, 0, 32, 32), Block(0, 32, 32, 32)))
    assert len(found.results) == 1
    assert found.failure is not None
    assert found.failure.text == "row 32: full"


def test_a_job_of_other_versions_is_refused(job: Job) -> None:
    known = shared(job, "ols", in_process=False)
    found = compute_elsewhere(replace(known, versions={**known.versions, "numpy": "0.1", "numba": "0.2"}), ())
    assert found.failure is not None
    error = found.failure.error()
    assert isinstance(error, pw.ParameterError)
    assert f"the worker on {socket.gethostname()} has numpy" in str(error)
    assert "(here 0.1), numba" in str(error)


def test_paths_travel_whole(stack: pw.RasterStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker may be in another folder."""
    monkeypatch.chdir(stack.paths[0].parent)
    near = pw.open_stack("*.tif")
    known = shared(
        Job((near,), pw.methods.ols().bind(near.axis, None, {}), "float32", nothing), "ols", in_process=False
    )
    monkeypatch.chdir(tmp_path)
    found = compute_elsewhere(known, (Block(0, 0, 32, 32),))
    assert found.failure is None


def test_errors_of_a_run_reach_the_caller(stack: pw.RasterStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """From processes too, with what the message says."""
    set_limits(monkeypatch, window_bytes=4096, journal_seconds=0)
    stack.paths[1].write_bytes(stack.paths[1].read_bytes()[:-4000])
    monkeypatch.setattr("pixelwise.rasters.windows.RETRY_SECONDS", ())
    with pytest.raises(pw.InputError) as caught:
        pw.apply(pw.open_stack(list(stack.paths)), "ols", executor="processes", jobs=2)
    assert str(stack.paths[1]) in str(caught.value)
    assert "Traceback" in caught.value.__notes__[0]
