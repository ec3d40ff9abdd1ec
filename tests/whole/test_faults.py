"""Disks, folders and executors that fail at any call: an error in one line, the old map, and a job that goes on."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import rasterio
from torture import POLE

import pixelwise as pw
from pixelwise.cli.report import _not_printed, _status_of
from pixelwise.errors import RESOURCES
from pixelwise.maps.disk import refusal
from pixelwise.maps.journal import journal_of
from support.limits import set_limits
from support.rasters import MakeStack, random_series
from support.stopping import hidden, visible

BANDS = ["slope"]


class Killed(BaseException):
    """Ends a job as nothing that it could catch."""


@pytest.fixture
def stack(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> pw.RasterStack:
    """A stack of 5 dates in three strips, each a block; every job keeps a journal."""
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=1)
    return pw.open_stack(make_stack(random_series((5, 48, 40), seed=4), blockysize=16))


def job(stack: pw.RasterStack, output: Path, **options: Any) -> pw.Map:
    return pw.apply(stack, "ols", output, bands=BANDS, **{"executor": "inline", **options})


def values(map_: pw.Map) -> list[bytes]:
    return [map_[band].tobytes() for band in map_]


def pixels(folder: Path) -> dict[str, Any]:
    """Return all numbers of all files, by plain rasterio."""
    found = {}
    for path in folder.glob("[!.]*.tif"):
        with rasterio.open(path) as dataset:
            found[path.name] = dataset.read().tobytes()
    return found


# --- the file system -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", RESOURCES)
def test_what_runs_out_ends_with_one_status_wherever_it_is_met(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert isinstance(refusal("x", error), pw.ResourceError)
    assert _status_of(error) == _status_of(_not_printed(error)) == 75


NUMBERS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Faults:
    """Lets a call that touches files below a folder fail: one, or that and all that follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.expect(0, 0)
        for name in ("pixelwise.maps.disk.os", "pixelwise.maps.geotiff.os", "pixelwise.maps.publish.os"):
            monkeypatch.setattr(name, _System(self))
        monkeypatch.setattr("pixelwise.regular_files.os", _SystemOfFilesToWrite(self))
        for name in ("replace", "unlink", "write_text"):
            monkeypatch.setattr(Path, name, self._failing(name, getattr(Path, name)))

    def expect(self, at: int, number: int, *, for_ever: bool = False, most: int = 1 << 30) -> None:
        """Fail at call `at`; write at most so many bytes at once."""
        self.at, self.number, self.for_ever, self.most = at, number, for_ever, most
        self.calls.clear()

    @property
    def failed(self) -> bool:
        return 0 < self.at <= len(self.calls)

    def next(self, name: str) -> None:
        self.calls.append(name)
        if self.fails(len(self.calls)):
            raise OSError(self.number, os.strerror(self.number))

    def fails(self, call: int) -> bool:
        return self.at > 0 and (call == self.at or (self.for_ever and call > self.at))

    def _failing(self, name: str, function: Any) -> Any:
        def called(path: Path, *args: Any, **kwargs: Any) -> Any:
            if self.folder in path.parents:
                self.next(f"{name} {path.name}")
            return function(path, *args, **kwargs)

        return called


class _System:
    """Stands where a module finds `os`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, *args: Any) -> int:
        self._faults.next(f"open {path.name}")
        return os.open(path, *args)

    def fdopen(self, *args: Any, **kwargs: Any) -> Any:
        return _File(os.fdopen(*args, **kwargs), self._faults)

    def fsync(self, descriptor: int) -> None:
        self._faults.next("fsync")
        os.fsync(descriptor)

    def link(self, *paths: Path) -> None:
        self._faults.next(f"link {paths[1].name}")
        os.link(*paths)


class _SystemOfFilesToWrite(_System):
    """Of a module that also opens files to read them, which are not below the folder."""

    def open(self, path: Path, flags: int) -> int:
        return super().open(path, flags) if flags & os.O_RDWR else os.open(path, flags)

    def fdopen(self, descriptor: int, mode: str, **kwargs: Any) -> Any:
        return super().fdopen(descriptor, mode, **kwargs) if "+" in mode else os.fdopen(descriptor, mode, **kwargs)


class _File:
    """An open file on a disk that fails; it may write less than it is asked to before."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        if self._faults.fails(len(self._faults.calls) + 1):
            self._file.write(data[: len(data) // 2])
        self._faults.next("write")
        return int(self._file.write(data[: self._faults.most]))

    def truncate(self, size: int) -> int:
        self._faults.next("truncate")
        return int(self._file.truncate(size))

    def read(self, *size: int) -> bytes:
        self._faults.next("read")
        data: bytes = self._file.read(*size)
        return data

    def close(self) -> None:
        self._file.close()  # else it would stay locked
        self._faults.next("close")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, stack: pw.RasterStack, out: Path) -> Faults:
    return Faults(monkeypatch, out)


@pytest.mark.parametrize(
    ("name", "before", "begun", "for_ever"),
    [
        ("trend.tif", False, False, False),
        pytest.param("trend.tif", False, True, True, marks=pytest.mark.long),
        pytest.param("trend.tif", True, True, False, marks=pytest.mark.long),
        pytest.param("trend_{band}.tif", True, False, False, marks=pytest.mark.long),
        ("trend_{band}.tif", True, True, True),
    ],
)
def test_any_call_may_fail(
    stack: pw.RasterStack,
    tmp_path: Path,
    out: Path,
    faults: Faults,
    name: str,
    before: bool,
    for_ever: bool,
    begun: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "old").mkdir()
    if before:
        job(stack, tmp_path / "old" / name, dtype="float64")
    (tmp_path / "new").mkdir()
    job(stack, tmp_path / "new" / name)
    old, new = visible(tmp_path / "old"), pixels(tmp_path / "new")
    numbers = itertools.cycle(NUMBERS)
    for at in itertools.count(1):
        for path in out.iterdir():
            path.unlink()
        faults.expect(0, 0)
        for file, data in old.items():
            (out / file).write_bytes(data)
        if begun:
            with pytest.raises(Killed):
                job(stack, out / name, overwrite=before, progress=kill)
        caplog.clear()
        number = next(numbers)
        faults.expect(at, number, for_ever=for_ever)
        try:
            job(stack, out / name, overwrite=before)
        except pw.PixelwiseError as error:
            text, ended = str(error), False
        else:
            text, ended = "", True
        where, failed = f"call {at}, {faults.calls[at - 1 :][:1]}: {text}", faults.failed
        faults.expect(0, 0)
        now, found = visible(out), pixels(out)  # reads all of each file
        assert all(data == old.get(file) or found[file] == new[file] for file, data in now.items()), where
        kept = any(file.endswith(".journal") for file in hidden(out))
        if ended:
            assert found == new, where
            assert not hidden(out) or "cannot be removed" in caplog.text, where
        else:
            assert "\n" not in text, where
            assert str(out / "trend") in text, where
            assert os.strerror(number) in text, where
            assert now == old or "is complete, but its folder" in text or for_ever, where
            assert set(now) >= set(old), where
            # A mixture is ended by the same command; nothing could be put back.
            assert len({file in old and data == old[file] for file, data in now.items()}) < 2 or kept, where
        # The same command; what has its map by now refuses to replace it without being told.
        done = job(stack, out / name, overwrite=before or ended)
        assert pixels(out) == new, where
        assert set(done.paths) == {out / file for file in new}, where
        assert not hidden(out), where
        if not failed:
            assert ended, where
            assert at > 20
            return


def kill(done: int, total: int) -> None:
    raise Killed


def test_short_writes(stack: pw.RasterStack, out: Path, tmp_path: Path, faults: Faults) -> None:
    """A file may take only a part of what it is given."""
    faults.expect(0, 0, most=7)
    found = job(stack, out / "trend.tif")
    assert len(faults.calls) > 1000
    faults.expect(0, 0)
    wanted = job(stack, tmp_path / "trend.tif")
    assert values(found) == values(wanted)


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("name", ["trend.tif", "trend_{band}.tif"])
def test_a_folder_that_cannot_be_synced_loses_no_map(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, short: bool, before: bool, name: str
) -> None:
    """The map had its name by then; it was taken back, and a job without a journal removed it then."""
    from pixelwise.maps import publish

    if before:
        job(stack, out / name, dtype="float64")
    if short:
        set_limits(monkeypatch, journal_seconds=1e9)

    def fail(path: Path, sync: Callable[[Path], None] = publish.sync) -> None:
        if path.is_dir():
            raise OSError(errno.EIO, "Input/output error")
        sync(path)

    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.maps.publish.sync", fail)
        with pytest.raises(pw.OutputError, match=r"is complete, but its folder .* \(Input/output error\)"):
            job(stack, out / name, overwrite=before)
    assert pw.open_map(out / name)["slope"].tobytes() == job(stack, out / "x.tif")["slope"].tobytes()
    assert [file for file in hidden(out) if "journal" not in file] == []


def test_sidecars_of_the_old_map_come_back(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overviews, statistics, or a CRS that a GeoTIFF cannot hold: they were gone when the rename failed."""
    job(stack, out / "trend.tif")
    for suffix in (".aux.xml", ".ovr", ".msk"):
        (out / f"trend.tif{suffix}").write_text("<PAMDataset></PAMDataset>")
    old = visible(out)
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target.name == "trend.tif":
            raise PermissionError(errno.EACCES, "open in another program")
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(pw.OutputError, match=r"cannot be renamed to its final name \(open in another program\)"):
            job(stack, out / "trend.tif", overwrite=True)
    assert visible(out) == old
    job(stack, out / "trend.tif", overwrite=True)
    assert list(visible(out)) == ["trend.tif"]
    assert not hidden(out)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), Killed()], ids=["error", "killed"])
@pytest.mark.parametrize("before", [False, True], ids=["new", "overwrite"])
def test_a_crs_beside_the_map_stays_with_it(
    make_stack: MakeStack, stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch, error: Any, before: bool
) -> None:
    """Rotated poles are in a sidecar. A run that stopped after that had its name lost it with the next."""
    folder = make_stack(random_series((5, 48, 40)), folder="rotated", crs=POLE, blockysize=16)
    rotated = pw.open_stack(folder)
    output = out / "trend.tif"
    if before:
        job(rotated, output)
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == output:
            raise error
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises((pw.OutputError, Killed)):
            job(rotated, output, overwrite=before)
    if before:
        assert pw.open_map(output).grid.crs == rotated.grid.crs
    assert job(rotated, output, overwrite=before).grid.crs == rotated.grid.crs
    assert not hidden(out)


def test_what_was_complete_is_looked_at_before_it_gets_its_name(
    stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another output may share a file: it writes over what a killed run left complete."""
    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.maps.files.publish", kill_now)
        with pytest.raises(Killed):
            job(stack, out / "trend_{band}.tif")
    with pytest.raises(Killed):
        job(stack, out / "trend_slope.tif", progress=kill)
    with pytest.raises(pw.OutputError, match=r"trend_slope\.tif: was complete, but is gone or changed; --restart"):
        job(stack, out / "trend_{band}.tif")
    assert not visible(out)
    journal_of(out / "trend_slope.tif").unlink()
    job(stack, out / "trend_{band}.tif", restart=True)
    assert not hidden(out)


def kill_now(*_: Any, **__: Any) -> None:
    raise Killed


# --- a disk of its own ---------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; to mount one takes a privileged user of Linux."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True).returncode
    ):
        pytest.skip("no file system may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def leave_room(disk: Path, size: int) -> Path:
    """Fill a disk but for some bytes."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - size))
    return filler


def test_a_full_disk(stack: pw.RasterStack, disk: Path, out: Path) -> None:
    wanted = job(stack, out / "trend.tif", compress="none")
    words: set[str] = set()
    for room in range(0, 200_000, 4096):
        filler = leave_room(disk, room)
        try:
            job(stack, disk / "trend.tif", compress="none")
        except pw.ResourceError as error:
            text = str(error)
            assert text.startswith(str(disk / "trend.tif"))
            assert "(No space left on device)" in text
            assert "\n" not in text
            words.add("journal" if "its journal" in text else "head" if "completed" in text else "tiles")
            assert not (disk / "trend.tif").exists()
            filler.unlink()
            found = job(stack, disk / "trend.tif", compress="none")
        else:
            filler.unlink()
            break
        assert values(found) == values(wanted)
        assert not hidden(disk)
        (disk / "trend.tif").unlink()
    else:
        raise AssertionError("200 kB are not enough")
    assert words == {"journal", "tiles", "head"}


def test_a_disk_that_becomes_read_only(stack: pw.RasterStack, disk: Path, out: Path) -> None:
    wanted = job(stack, out / "trend.tif")
    job(stack, disk / "trend.tif", dtype="float64")
    old = visible(disk)
    with pytest.raises(Killed):
        job(stack, disk / "trend.tif", overwrite=True, progress=kill)
    left = hidden(disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        with pytest.raises(pw.OutputError, match=rf"^{disk}/trend.tif: the folder {disk} is not writable$"):
            job(stack, disk / "trend.tif", overwrite=True)
        assert (visible(disk), hidden(disk)) == (old, left)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert job(stack, disk / "trend.tif", overwrite=True)["slope"].tobytes() == wanted["slope"].tobytes()
    assert not hidden(disk)


# --- executors -----------------------------------------------------------------------------------------------


class Failing(ThreadPoolExecutor):
    """Two threads; `submit` number `at` fails, or what comes of it."""

    def __init__(self, at: int, error: BaseException, when: str) -> None:
        super().__init__(2)
        self.at, self.error, self.when, self.count = at, error, when, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        if self.count != self.at:
            return super().submit(fn, *args, **kwargs)
        if self.when == "submit":
            raise self.error
        future: Future[Any] = Future()
        if isinstance(self.error, CancelledError):
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(self.error)
        return future


ERRORS = (RuntimeError, BrokenExecutor, CancelledError, MemoryError, KeyboardInterrupt, OSError)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("when", ["submit", "result"])
def test_an_executor_that_fails(
    stack: pw.RasterStack, out: Path, tmp_path: Path, error: type[BaseException], when: str
) -> None:
    """Whatever it says: what is done is kept, and the same command ends it."""
    job(stack, out / "trend.tif", dtype="float64")
    old = visible(out)
    wanted = values(job(stack, tmp_path / "wanted.tif"))
    for at in (1, 2, 3):
        with Failing(at, error("no more"), when) as pool, pytest.raises((error, pw.PixelwiseError)):
            job(stack, out / "trend.tif", overwrite=True, executor=pool, jobs=1)
        assert visible(out) == old
        assert hidden(out) in ([], [".trend.partial.tif", ".trend.tif.journal"])
        assert values(job(stack, out / "trend.tif", overwrite=True)) == wanted
        assert not hidden(out)
        for file, data in old.items():
            (out / file).write_bytes(data)
