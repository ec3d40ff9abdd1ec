"""Journals that somebody changed: a job ends in one line, or computes again what it cannot trust."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.maps.journal import Journal
from support.limits import set_limits
from support.rasters import MakeStack, random_series
from support.stopping import Stop
from support.tampered import decode, encode, mutate

BANDS = ["slope", "n"]


class Begun:
    """A job that was stopped after some blocks, and what it left."""

    def __init__(self, stack: pw.RasterStack, out: Path, name: str, blocks: int, *, complete: bool = False) -> None:
        self.stack, self.out, self.output = stack, out, out / name
        wanted = self.pixels(pw.apply(stack, "ols", bands=BANDS))
        calls: list[int] = []

        def progress(done: int, total: int) -> None:
            calls.append(done)
            if len(calls) == blocks:
                raise Stop

        def fail(*_: Any, **__: Any) -> None:
            raise Stop

        with pytest.MonkeyPatch.context() as patched:
            if complete:
                patched.setattr("pixelwise.maps.files.publish", fail)
            with pytest.raises(Stop):
                pw.apply(stack, "ols", self.output, bands=BANDS, executor="inline", progress=progress)
        self.left = {path.name: path.read_bytes() for path in out.iterdir()}
        self.wanted = wanted
        (self.journal,) = (name for name in self.left if name.endswith(".journal"))

    @staticmethod
    def pixels(map_: pw.Map) -> dict[str, bytes]:
        return {name: map_[name].tobytes() for name in map_}

    def resume(self, journal: bytes) -> str:
        """Resume from another journal; return what came of it: an error of one line, or nothing where all is right."""
        for path in self.out.iterdir():
            path.unlink()
        for name, data in {**self.left, self.journal: journal}.items():
            (self.out / name).write_bytes(data)
        text = ""
        try:
            pw.apply(self.stack, "ols", self.output, bands=BANDS, executor="inline")
        except pw.PixelwiseError as error:
            text = str(error)
        if text:
            assert not set(text) & {"\n", "\x1b"}
            assert str(self.out) in text
            assert not list(self.out.glob("[!.]*.tif")), "a map came to be although the job failed"
            return text
        assert self.pixels(pw.open_map(self.output)) == self.wanted, "the map is another"
        return ""


@pytest.fixture
def begin(make_stack: MakeStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Begun]:
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=1)
    stack = pw.open_stack(make_stack(random_series((4, 48, 40), seed=4), tiled=True, blockxsize=16, blockysize=16))

    def made(name: str = "trend.tif", blocks: int = 5, **options: Any) -> Begun:
        return Begun(stack, out, name, blocks, **options)

    return made


@pytest.mark.parametrize(("name", "seeds"), [("trend.tif", range(50)), ("trend_{band}.tif", range(1000, 1030))])
def test_mutated_journals(begin: Callable[..., Begun], name: str, seeds: range) -> None:
    """Of the first 250, 80 ended in a traceback once, and 11 in a wrong map."""
    begun, ends = begin(name), Counter[str]()
    for seed in seeds:
        ends["refused" if begun.resume(mutate(random.Random(seed), begun.left[begun.journal])) else "right"] += 1
    # Both happen, or the mutations are none.
    assert min(ends["refused"], ends["right"]) > 0, ends


def test_mutated_journals_of_complete_maps(begin: Callable[..., Begun]) -> None:
    begun, ends = begin(blocks=1 << 20, complete=True), Counter[str]()
    assert begun.resume(begun.left[begun.journal]) == ""
    for seed in range(2000, 2030):
        ends["refused" if begun.resume(mutate(random.Random(seed), begun.left[begun.journal])) else "right"] += 1
    assert ends["right"] > 3, ends


def change(record: dict[str, Any], how: str, other: dict[str, Any]) -> dict[str, Any]:
    """Return a line that is of the right form, and lies."""
    begin, checksum, counts = record["files"][0]
    flat = counts[0][0]
    return {
        "moved": {**record, "block": other["block"]},
        "of another block": {**record, "files": other["files"]},
        "begin of another": {**record, "files": [[other["files"][0][0], checksum, counts]]},
        "sizes": {**record, "files": [[begin, checksum, [[[flat[0] + 1]], [[counts[1][0][0] - 1]], *counts[2:]]]]},
        "answered": {**record, "answered": False},
        "lost": {**record, "lost": [["x.tif", 1, 5]]},
        "rounded": {**record, "rounded": [["slope", 16777217.0]]},
        "in the head": {**record, "files": [[0, checksum, counts]]},
        "behind the end": {**record, "files": [[1 << 50, checksum, counts]]},
        "beyond memory": {**record, "files": [[begin, checksum, [[[1 << 50]], *counts[1:]]]]},
        "beyond the grid": {**record, "block": [1 << 20, 0, 16, 16]},
        "across cells": {**record, "block": [1, 0, 16, 16]},
        "too large": {**record, "block": [0, 0, 48, 40]},
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "moved", "of another block", "begin of another", "sizes", "answered", "lost", "rounded", "in the head",
        "behind the end", "beyond memory", "beyond the grid", "across cells", "too large",
    ],
)  # fmt: skip
def test_lines_that_lie(begin: Callable[..., Begun], how: str, caplog: pytest.LogCaptureFixture) -> None:
    begun = begin()
    head, *lines = begun.left[begun.journal].split(b"\n")[:-1]
    records = [decode(line) for line in lines]
    # The other block is none that was done, so that nothing contradicts the lie.
    records[1] = change(records[1], how, records[2])
    journal = b"".join(line + b"\n" for line in (head, *map(encode, [records[0], records[1], *records[3:]])))
    assert begun.resume(journal) == ""
    assert "1 damaged" in caplog.text
    assert pw.open_map(begun.output).provenance.get("lost") is None


def test_what_was_done_is_taken_all_the_same(begin: Callable[..., Begun], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the above would fail if all were computed again each time."""
    begun, added = begin(), []
    add = Journal.add
    monkeypatch.setattr(Journal, "add", lambda self, done: (added.append(done.block), add(self, done)))
    head, *lines = begun.left[begun.journal].split(b"\n")[:-1]
    assert begun.resume(begun.left[begun.journal]) == ""
    whole = len(added)
    added.clear()
    record = {**decode(lines[0]), "answered": 7}
    assert begun.resume(b"".join(line + b"\n" for line in (head, encode(record), *lines[1:]))) == ""
    assert len(added) == whole + 1
    added.clear()
    # Of another job that had the same key: its layout differs.
    other = decode(head)
    other["layout"]["reserve"] = [other["layout"]["reserve"][0] + 1]
    assert begun.resume(b"".join(line + b"\n" for line in (encode(other), *lines))) == ""
    assert len(added) == whole + len(lines)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"tile": [16, 16], "reserve": [1 << 40]}, "its journal is damaged; --restart"),
        ({"tile": [16, 16], "reserve": [16]}, "its journal is damaged; --restart"),
        ({"tile": [16, 16], "reserve": []}, "its journal is damaged; --restart"),
        ({"tile": [1 << 30, 1 << 30], "reserve": [70_000]}, ""),
        ({"tile": [17, 16], "reserve": [70_000]}, ""),
        ({"tile": 16}, ""),
        (None, ""),
    ],
)
def test_layouts_that_lie(begin: Callable[..., Begun], layout: Any, words: str) -> None:
    begun = begin()
    head, *lines = begun.left[begun.journal].split(b"\n")[:-1]
    text = begun.resume(b"".join(line + b"\n" for line in (encode({**decode(head), "layout": layout}), *lines)))
    assert words in text
    assert bool(text) == bool(words)


@pytest.mark.parametrize(
    "key", [None, [], "x", {"x\n\x1b[2J": 1}, {"method": {"a": "\x1b[2J"}}, {"input": [[[]]]}, {"method": [[]] * 9999}]
)
def test_keys_that_lie(begin: Callable[..., Begun], key: Any) -> None:
    begun = begin()
    head, *lines = begun.left[begun.journal].split(b"\n")[:-1]
    text = begun.resume(b"".join(line + b"\n" for line in (encode({**decode(head), "key": key}), *lines)))
    assert "a different unfinished job left" in text
    assert len(text) < 600
