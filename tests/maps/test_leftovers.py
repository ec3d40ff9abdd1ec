"""`pixelwise clean`: what stopped jobs left goes; what runs, or is somebody else's, stays."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.jobs import task
from pixelwise.maps.disk import open_locked
from pixelwise.maps.leftovers import _locked, remove_leftovers
from support.limits import set_limits
from support.stopping import hidden
from support.tampered import encode

unix_only = pytest.mark.skipif(os.name == "nt", reason="FIFOs, links and owners of Unix")
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


class Stop(BaseException):
    """Ends a job as a killed process ends: nobody tidies up."""


def clean(folder: Path) -> Result:
    result = CliRunner().invoke(main, ["clean", str(folder)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def leave(stack: pw.RasterStack, output: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Leave what a job that is killed after some blocks leaves."""

    def stop(done: int, total: int) -> None:
        if done > total // 4:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.run.FileSink.abort", lambda self, *, keep: [o.file.close() for o in self._outputs])
        patched.setattr("pixelwise.jobs.task.Journal.close", lambda self, *, finished: self._file.close())
        with pytest.raises(Stop):
            pw.apply(stack, "ols", output, **{"progress": stop, "executor": "inline", **options})


def test_all_that_a_stopped_job_left_goes(
    stack: pw.RasterStack, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside").mkdir()
    leave(stack, out / "trend.tif", monkeypatch, write={"residuals": tmp_path / "beside" / "left.tif"})
    leave(stack, out / "one_{band}.tif", monkeypatch, bands=["slope"])
    assert hidden(out) == [
        ".one_slope.partial.tif", ".one_status.partial.tif", ".one_{band}.tif.journal", ".trend.partial.tif",
        ".trend.tif.journal",
    ]  # fmt: skip
    names = hidden(out)
    result = clean(out)
    assert result.exit_code == 0
    assert all(name in result.stdout for name in names)
    assert hidden(out) == []
    assert hidden(tmp_path / "beside") == [".left.partial.tif"]
    assert "left.partial.tif" in clean(tmp_path / "beside").stdout
    assert hidden(tmp_path / "beside") == []
    assert "no leftovers of interrupted jobs" in clean(out).stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".mydb.journal", encode({"format": 3, "key": {}})),
        (".notes.partial.backup.tif", b""),
        (".notes.partial", b""),
        (".notes.partial.png", b"\x89PNG"),
        ("trend.tif.journal", b""),
        (".trend.tif.journal.bak", b""),
    ],
)
def test_other_names_are_nobodys_business(out: Path, name: str, content: bytes) -> None:
    (out / name).write_bytes(content)
    result = clean(out)
    assert (out / name).read_bytes() == content
    assert name not in result.output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".a.tif.journal", b"my notes\nof years\n"),
        (".a.tif.journal", b"my notes"),
        (".a.tif.journal", b"01234567 my notes\n"),
        (".a.tif.journal", b"SQLite format 3\x00" + bytes(5000)),
        (".a.tif.journal", b"deadbeef"),
        (".a.tif.journal", b"deadbeef {my notes"),
        (".a.tif.journal", bytes(5000) + b"my notes"),
        (".a.partial.tif", b"my notes"),
        (".a.partial.tif", b"II*\x00" + bytes(5000)),
        (".a.partial.tif", b"half-written by pixelwise for [[["),
        (".a.partial.tif.aux.xml", b"<PAMDataset><Metadata>"),
        (".a.partial.tif.ovr", b"II*\x00"),
        (".a.partial.replaced.tif", b"II*\x00"),
        (".a.partial.replaced.tif.msk", b"II*\x00"),
    ],
)
def test_foreign_content_under_names_of_ours_stays(out: Path, name: str, content: bytes) -> None:
    (out / name).write_bytes(content)
    (out / "a.tif.msk").touch()
    result = clean(out)
    assert result.exit_code == 0
    assert (out / name).read_bytes() == content
    assert f"{out / name}: kept, since it is not a pixelwise file" in result.stderr
    assert not result.stdout


def test_a_raster_of_somebody_else_stays(stack: pw.RasterStack, out: Path) -> None:
    shutil.copy(stack.paths[0], out / ".a.partial.tif")
    assert ".a.partial.tif: kept, since it is not a pixelwise file" in clean(out).stderr
    assert hidden(out) == [".a.partial.tif"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".a.tif.journal", encode({"format": 3})),
        (".a.tiff.journal", encode({"format": 1, "key": {}})),
        (".A.TIF.journal", encode({"format": 2, "key": {}}) + b"\n"),
        (".a.tif.journal", b"damaged\n" + encode({"block": [0, 0, 16, 16]}) + b"\n"),
        (".a.tif.journal", b'01234567 {"format":3,"ke'),
        (".a.partial.tif.aux.xml", b"<PAMDataset><SRS>GEOGCS..."),
        (".a\n\x1b[2J.tif.journal", encode({"format": 3})),
    ],
)
def test_what_says_that_it_is_ours_goes(out: Path, name: str, content: bytes) -> None:
    if content.endswith(b"}"):
        content += b"\n"
    (out / name).write_bytes(content)
    result = clean(out)
    assert hidden(out) == []
    assert "\x1b" not in result.output
    assert len(result.stdout.splitlines()) == 1


MARKED = b'half-written by pixelwise for "a.tif"\n' + bytes(70_000)


@pytest.mark.parametrize(
    ("name", "content", "beside"),
    [
        (".a.tif.journal", b"", ".a.partial.tif"),
        (".a.tif.journal", bytes(1000), ".a.partial.tif"),
        (".a.partial.tif", b"", ".a.tif.journal"),
        (".a.partial.tif", bytes(70_000) + b"tiles", ".a.tif.journal"),
        (".a.partial.tif.aux.xml", b"", ".a.partial.tif"),
        (".a.partial.tif.aux.xml", b"<PAMDa", ".a.partial.tif"),
        (".a.partial.tif.aux.xml", b"", ".a.tif.journal"),
    ],
)
def test_what_says_nothing_goes_only_beside_what_does(out: Path, name: str, content: bytes, beside: str) -> None:
    """A power failure leaves it, and anybody may make it."""
    (out / name).write_bytes(content)
    known = {".a.tif.journal": encode({"format": 3}) + b"\n", ".a.partial.tif": MARKED}[beside]
    # Of another job.
    (out / beside.replace(".a.", ".b.")).write_bytes(known.replace(b"a.tif", b"b.tif"))
    result = clean(out)
    assert hidden(out) == [name]
    assert (out / name).read_bytes() == content
    assert result.stderr == f"{out / name}: kept, since nothing in it shows that pixelwise made it\n"
    (out / beside).write_bytes(known)
    assert len(clean(out).stdout.splitlines()) == 2
    assert not hidden(out)


def test_two_that_say_nothing_do_not_speak_for_each_other(out: Path) -> None:
    names = [".a.partial.tif", ".a.partial.tif.aux.xml", ".a.tif.journal"]
    for name in names:
        (out / name).touch()
    assert clean(out).stdout == ""
    assert hidden(out) == names


@pytest.mark.parametrize("restart", [False, True])
def test_a_job_killed_before_it_was_planned(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    """Its journal says whose it is from the moment on that it is there, however short the job would have been."""

    def stop(*_: Any, **__: Any) -> None:
        raise Stop

    with monkeypatch.context() as patched:
        set_limits(patched, journal_seconds=5.0)
        patched.setattr(task, "plan_job", stop)
        leave(stack, out / "trend.tif", monkeypatch, restart=restart)
    assert hidden(out) == [".trend.tif.journal"]
    assert ".trend.tif.journal" in clean(out).stdout
    assert not hidden(out)


def kinds_of(folder: Path) -> dict[str, Callable[[Path], Any]]:
    victim = folder / "victim"
    return {
        "a FIFO": os.mkfifo,
        "a folder": Path.mkdir,
        "a link": lambda path: path.symlink_to(victim),
    }


@unix_only
@pytest.mark.parametrize("kind", ["a FIFO", "a folder", "a link"])
@pytest.mark.parametrize(
    "name", [".a.tif.journal", ".a.partial.tif", ".a.partial.tif.aux.xml", ".a.partial.replaced.tif"]
)
def test_what_is_no_file_stays(out: Path, tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "victim").touch()
    kinds_of(tmp_path)[kind](out / name)
    result = clean(out)
    assert result.exit_code == 0
    assert not result.stdout
    assert os.path.lexists(out / name)
    assert (tmp_path / "victim").exists()
    assert f"{out / name}: kept, since it is {kind}" in result.stderr


@root_only
def test_files_of_other_users_stay(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(stack, out / "trend.tif", monkeypatch)
    for path in out.iterdir():
        os.chown(path, 12345, -1)
    result = clean(out)
    assert result.stderr.count("kept, since it belongs to another user (uid 12345)") == 2
    assert len(hidden(out)) == 2


@pytest.mark.parametrize("journal", [False, True])
def test_a_complete_map_stays_whatever_its_name(stack: pw.RasterStack, out: Path, journal: bool) -> None:
    """Written with -o .best.partial.tif, as was possible; its sidecar may hold its CRS."""
    path = pw.apply(stack, "ols", out / "best.tif").paths[0].rename(out / ".best.partial.tif")
    (out / ".best.partial.tif.aux.xml").write_text("<PAMDataset><SRS>GEOGCS...")
    if journal:
        (out / ".best.tif.journal").write_bytes(encode({"format": 3}) + b"\n")
    before = path.read_bytes()
    result = clean(out)
    assert f"{path}: kept, since it is a complete map: rename it, or remove it yourself" in result.stderr
    assert f"{path}.aux.xml: kept, since it belongs to a complete map" in result.stderr
    assert hidden(out) == [".best.partial.tif", ".best.partial.tif.aux.xml"]
    assert path.read_bytes() == before


def test_a_second_name_of_a_file_is_only_a_name(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b'half-written by pixelwise for "a.tif"\n' + bytes(5000))
    os.link(precious, out / ".a.partial.tif")
    before = precious.read_bytes()
    clean(out)
    assert hidden(out) == []
    assert precious.read_bytes() == before


@pytest.mark.parametrize("moment", ["planned", "computing", "publishing"])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("name", ["trend.tif", "trend_{band}.tif"])
def test_a_running_job_loses_nothing(
    stack: pw.RasterStack,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    begun: bool,
    name: str,
) -> None:
    """Before it opens its files, too: it holds its journal then, and a half-written file says whose it is."""
    beside = tmp_path / "beside"
    beside.mkdir()
    options: dict[str, Any] = {"write": {"residuals": beside / "left.tif"}, "bands": ["slope"], "executor": "inline"}
    if begun:
        leave(stack, out / name, monkeypatch, **options)
    seen: list[list[str]] = []

    def look() -> None:
        if seen:
            return
        before = [hidden(folder) for folder in (out, beside)]
        for folder in (out, beside):
            result = clean(folder)
            assert result.stdout == ""
            assert result.stderr.count("kept, since a running job uses it") == len(hidden(folder))
        assert [hidden(folder) for folder in (out, beside)] == before
        seen.extend(before)

    if moment == "planned":
        plan_job = task.plan_job
        monkeypatch.setattr(task, "plan_job", lambda *a, **o: (look(), plan_job(*a, **o))[1])
    elif moment == "publishing":
        from pixelwise.maps import files

        publish = files.publish
        monkeypatch.setattr(files, "publish", lambda *a, **o: (look(), publish(*a, **o))[1])
    calls: list[int] = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if moment == "computing":
            look()

    found = pw.apply(stack, "ols", out / name, progress=progress, **options)
    assert seen
    assert len(seen[1]) == (0 if moment == "planned" and not begun else 1)
    if begun:
        assert calls[0] > 150 * 130 // 4, "what was done was computed again"
    wanted = pw.apply(stack, "ols", bands=["slope"])
    assert found["slope"].tobytes() == wanted["slope"].tobytes()
    assert hidden(out) == hidden(beside) == []


def test_beside_a_running_job_others_are_cleaned(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(stack, out / "old.tif", monkeypatch)

    def progress(done: int, total: int) -> None:
        clean(out)
        assert hidden(out) == [".trend.partial.tif", ".trend.tif.journal"]

    pw.apply(stack, "ols", out / "trend.tif", progress=progress)
    assert [path.name for path in out.iterdir()] == ["trend.tif"]


@pytest.mark.parametrize("seconds", [1.9, 2.1])
def test_a_job_that_starts_meanwhile_waits_two_seconds(
    out: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    path, clock = out / ".trend.tif.journal", [100.0]
    path.write_bytes(encode({"format": 3}) + b"\n")
    with contextlib.ExitStack() as held:
        held.enter_context(_locked(path))

        def sleep(pause: float) -> None:
            clock[0] += pause
            if clock[0] >= 100.0 + seconds:
                held.close()

        monkeypatch.setattr("pixelwise.maps.disk.time.monotonic", lambda: clock[0])
        monkeypatch.setattr("pixelwise.maps.disk.time.sleep", sleep)
        if seconds < 2:
            open_locked(path, out / "trend.tif").close()
        else:
            with pytest.raises(pw.OutputError, match="another run is writing it"):
                open_locked(path, out / "trend.tif")
    assert clock[0] == pytest.approx(100.0 + min(seconds, 2.0), abs=0.03)


@pytest.mark.parametrize("number", [1, 2])
def test_a_job_killed_while_it_wrote_the_head(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from pixelwise.maps import geotiff

    write, calls = geotiff.write, []

    def stop(file: Any, data: bytes) -> None:
        calls.append(data)
        if len(calls) == 1 + number:  # the first is the mark
            raise Stop
        write(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(geotiff, "write", stop)
        leave(stack, out / "trend.tif", monkeypatch, progress=None)
    assert ".trend.partial.tif" in clean(out).stdout
    assert not list(out.iterdir())


@pytest.mark.parametrize("restart", [False, True])
def test_another_job_gives_an_old_map_its_name_back(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    """A job was killed while it replaced it, where links are impossible; the next one may not replace anything."""
    output = out / "trend_{band}.tif"
    pw.apply(stack, "ols", output, bands=["slope"], dtype="float64")
    before = (out / "trend_slope.tif").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.maps.files.publish", lambda *_, **__: (_ for _ in ()).throw(Stop()))
        leave(stack, output, monkeypatch, bands=["slope"], overwrite=True, progress=None)
    (out / "trend_slope.tif").rename(out / ".trend_slope.partial.replaced.tif")
    if not restart:
        (out / ".trend_{band}.tif.journal").unlink()
    with pytest.raises(pw.OutputError, match=r"trend_slope\.tif: already exists; --overwrite replaces it"):
        pw.apply(stack, "ols", output, bands=["slope"], min_valid=1.0, restart=restart)
    assert (out / "trend_slope.tif").read_bytes() == before
    assert (out / ".trend_{band}.tif.journal").exists() == restart


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_the_old_map_is_never_removed(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, links: bool, count: int
) -> None:
    """A job was killed while it replaced it: without links it has but the name that it was given meanwhile."""
    output = out / "trend_{band}.tif"
    pw.apply(stack, "ols", output, bands=["slope"], dtype="float64")
    (out / "trend_slope.tif.aux.xml").write_text("<PAMDataset><Metadata></Metadata></PAMDataset>")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    replace, unlink, calls = Path.replace, Path.unlink, []

    def stop(self: Path, target: Path) -> Path:
        if not target.name.startswith("."):
            calls.append(target)
            if len(calls) == count:
                raise Stop
        refuse_once_killed()
        return replace(self, target)

    def refuse_once_killed(*_: Any) -> None:
        if len(calls) >= count:
            raise OSError(5, "killed")

    def refuse(*_: Any) -> None:
        raise OSError(95, "Not supported")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        patched.setattr(Path, "unlink", lambda self, **o: (refuse_once_killed(), unlink(self, **o)))
        if not links:
            patched.setattr("os.link", refuse)
        leave(stack, output, monkeypatch, bands=["slope"], overwrite=True, progress=None)
    result = clean(out)
    # What is left tells where it belongs; the remedy gives all of the old map back.
    new = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    for line in result.stderr.splitlines():
        path, _, complete = line.partition(": kept, since it is a complete map")
        if complete:  # the new one
            Path(path).unlink()
            continue
        assert "which an interrupted job was replacing: rename it to that" in line
        aside = Path(line.partition(": kept, since it is the old ")[0])
        aside.rename(out / line.partition("it is the old ")[2].partition(",")[0])
    assert hidden(out) == []
    now = {path.name: path.read_bytes() for path in out.iterdir()}
    changed = {name for name in before if now.get(name) != before[name]}
    if count == 1:
        assert not changed
    else:
        assert changed == {"trend_slope.tif", "trend_slope.tif.aux.xml"} or changed == {"trend_status.tif"}, new


def test_a_folder_that_may_be_listed_but_not_entered(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode is r--: names are told, and nothing else of the files."""
    names = (".a.tif.journal", ".a.partial.tif", ".b.partial.tif.aux.xml")
    for name in names:
        (out / name).touch()

    def refuse(self: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "lstat", refuse)
        result = clean(out)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: {out / '.a.partial.tif'}: cannot be removed (Permission denied), and 2 more files"
    ]
    assert sorted(hidden(out)) == sorted(names)


def test_what_cannot_be_removed_is_told_in_one_line(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        (out / f".m{number:03}.tif.journal").write_bytes(encode({"format": 3}) + b"\n")

    def fail(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", fail)
        result = clean(out)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: {out / '.m000.tif.journal'}: cannot be removed (Read-only file system), and 299 more files"
    ]
    assert len(list(remove_leftovers(out))) == 300
    assert not list(out.iterdir())
