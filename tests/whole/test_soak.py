"""A part of ``make soak``: nothing but memory may be left of any job, and that is measured there."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import soak
from soak import Left, Scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Files, after one job of each kind: drivers, kernels and threads that stay are there."""
    made = Scene.write(tmp_path_factory.mktemp("soak"))
    with soak.many_blocks():
        for kind in soak.QUICK:
            kind(made)
        yield made


@pytest.mark.parametrize("kind", soak.QUICK, ids=lambda kind: kind.__name__)
def test_nothing_is_left_of_a_job(scene: Scene, kind: soak.Kind) -> None:
    # `goes_on` starts where `stopped` ended, whichever test runs first.
    if kind is soak.goes_on:
        soak.stopped(scene)
    gc.collect()
    before = replace(Left.now(scene), hidden=2 * (kind is soak.stopped))
    gc.disable()
    try:
        kind(scene)
        # Without a collection: files that wait for one stay open for as long as the program is busy elsewhere.
        left = Left.now(scene)
        # A thread that Python has joined ends a moment later.
        end = time.monotonic() + 5.0
        while left.more_than(before) and time.monotonic() < end:
            time.sleep(0.01)
            left = Left.now(scene)
    finally:
        gc.enable()
    assert replace(left, memory=0) == replace(before, memory=0)
    for path in scene.output.glob(".*"):
        path.unlink()


@pytest.mark.long
def test_processes_are_stopped_without_a_word_and_to_the_last(
    scene: Scene, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """loky's thread failed at futures that had been cancelled, and said so in 14 lines."""
    soak.processes_stopped(scene)  # starts loky's tracker, which stays
    before = Left.settled(scene)
    soak.processes_stopped(scene)
    assert Left.settled(scene).more_than(before) == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert "Traceback" not in "".join(capfd.readouterr())


def test_growth_is_told() -> None:
    scene_less = Left(memory=100, threads=1, system_threads=3, handles=9, children=0, hidden=0, workspaces=0)
    more = replace(scene_less, memory=70, handles=10, workspaces=1)
    assert more.more_than(scene_less) == ["handles: 10 instead of 9", "workspaces: 1 instead of 0"]
    assert replace(scene_less, memory=900).more_than(scene_less) == []
    assert soak.growth([(30, scene_less), (60, replace(scene_less, memory=400))]) == pytest.approx(10)


@pytest.mark.parametrize(("per_job", "growing"), [(10_000, True), (0, False)])
def test_what_each_job_keeps_is_growth_and_noise_is_not(per_job: int, growing: bool) -> None:
    less = Left(memory=0, threads=1, system_threads=3, handles=9, children=0, hidden=0, workspaces=0)
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(150e6, 0.3e6, 11)
        checkpoints = [
            (jobs, replace(less, memory=int(level) + per_job * jobs))
            for jobs, level in zip(range(30, 360, 30), noise, strict=True)
        ]
        assert (soak.growth(checkpoints) > soak.MOST_GROWTH) == growing, seed
