"""A part of ``make torture``: jobs that are killed at any moment end with the map of an undisturbed run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torture
from torture import Difference, Ended, Kind, Scene, Trial, put

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked from one that is warm")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Scene.open(tmp_path_factory.mktemp("torture")) as made:
        yield made


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.long) for first in range(5, 40, 5))])
def test_killed_jobs_end_with_the_same_map(scene: Scene, first: int) -> None:
    survived: Counter[str] = Counter()
    for number in range(first, first + 5):
        torture.torture(scene, number, 1, survived, Counter())
    assert survived.total() >= 3, "the jobs end before they are killed"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.unlink(), "are new, and no journal knows"),
        (lambda path: path.with_name(".trend_n.partial.tif").touch(), r"it ended well, and left .*partial"),
        (lambda path: path.with_name("other.tif").touch(), "other.tif is neither"),
    ],
)
def test_what_must_not_be_is_found(scene: Scene, tmp_path: Path, harm: Callable[[Path], object], words: str) -> None:
    """Else nothing would be tested above."""
    kind = Kind("float32", per_band=True, old=True)
    scene.prepare(kind)
    trial = Trial(scene, kind, tmp_path)
    made, ended = scene.undisturbed(kind)
    for name, data in made.items():
        put(tmp_path / name, data)
    assert trial.check(ended)
    harm(tmp_path / "trend_n.tif")
    with pytest.raises(Difference, match=words):
        trial.check(ended)


def test_a_mixture_and_blocks_done_twice_are_found(scene: Scene, tmp_path: Path) -> None:
    kind = Kind("float32", per_band=True, old=True)
    scene.prepare(kind)
    trial = Trial(scene, kind, tmp_path)
    for name, data in {**trial.old, "trend_n.tif": scene.undisturbed(kind)[0]["trend_n.tif"]}.items():
        (tmp_path / name).write_bytes(data)
    killed = Ended(-9, 0.1, "", [(0, 0, 32, 64)], [(0, 0, 32, 64)], {})
    with pytest.raises(Difference, match=r"only \['trend_n.tif'\] of .* are new"):
        trial.check(killed)
    (tmp_path / "trend_n.tif").write_bytes(trial.old["trend_n.tif"])
    with pytest.raises(Difference, match="1 blocks that were done are not any more"):
        trial.check(killed)
    trial.recorded = {(16, 32, 16, 16)}
    with pytest.raises(Difference, match="1 cells were computed again"):
        trial.check(killed)
