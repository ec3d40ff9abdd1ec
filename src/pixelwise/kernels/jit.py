"""Numba for this package: how kernels are compiled and where the machine code is kept.

Numba is imported when the first kernel is decorated, which no module of this package does on import except
the kernel modules themselves (``kernels/``); those are imported when a block is computed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.regular_files import NO_FOLLOW, SAFELY
from pixelwise.surroundings import without_numba_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "closed_to_others",
    "compiling",
    "compiling_turn",
    "import_numba",
    "is_shared",
    "kernel",
    "kernel_folder",
    "readonly",
    "share",
]

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
Scalar = TypeVar("Scalar", bound=np.generic)

# --------------------------------------------------------------------------------------------------------
# Our own kernels: compiled once per machine and version
# --------------------------------------------------------------------------------------------------------

_decorating = threading.Lock()


def import_numba() -> Any:
    """Import numba, which reads no settings from the current folder then, and return it."""
    if "numba" in sys.modules:
        import numba
    else:
        with without_numba_file():
            import numba
    return numba


def kernel(*, helper: bool = False, **options: Any) -> Callable[[Function], Function]:
    """Compile a function that releases the GIL, and keep the result on disk where that is possible.

    Parameters
    ----------
    helper
        Whether only other kernels call it: what makes a function callable from Python and C, a sixth of the
        time to compile, is left out, and it is kept with its callers.
    **options
        Further options of `numba.njit`. Division follows IEEE 754 (``error_model="numpy"``) unless said
        otherwise: the test for zero that Python's rule needs keeps loops from being vectorised.

    Returns
    -------
    callable
        The decorator.

    Notes
    -----
    Numba compiles again when the decorated function's own file has changed, but not when a function that it
    calls has, and raises when it finds no place to write. So the folder is chosen here, and its name holds a
    digest of all kernels.

    Arrays and numbers that belong together come as one argument, a `typing.NamedTuple` of the kernel's module. What a
    loop uses is taken out of it before the loop: within, each look at a field counts references to all of its arrays,
    which took half of the time of `restrend`.

    A helper with ``fastmath`` needs ``forceinline=True``: the process that compiles has it twice, by itself and within
    its caller, where it may be optimised to other bits, and the linker takes either (numba 0.68.1: last digits differed
    between the process that had compiled and those that loaded what it kept).

    Kernels must not call NumPy's ``sort``, ``argsort``, ``median`` or anything else that numba builds on its
    quicksort: sorting numbers and sorting places of numbers get the same symbol there but for a counter of the
    process that compiled them. If two kernels that were kept by different processes meet in a third, the linker takes
    either for both: seen as a crash, and as wrong ranks (numba 0.68.1). tests/kernels/test_jit.py looks for them.
    """

    def decorate(function: Function) -> Function:
        numba = import_numba()
        _listen()
        settings = {"nogil": True, "error_model": "numpy", **options}
        if helper:
            helped: Function = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **settings)(function)
            return helped
        folder = kernel_folder()
        if folder is None:
            compiled: Function = numba.njit(**settings)(function)
            return compiled
        with _decorating:
            before = numba.config.CACHE_DIR
            numba.config.CACHE_DIR = str(folder)
            try:
                compiled = numba.njit(cache=True, **settings)(function)
            except (RuntimeError, OSError):  # no locator: the folder vanished or the disk is full
                compiled = numba.njit(**settings)(function)
            finally:
                numba.config.CACHE_DIR = before
        return compiled

    return decorate


# --------------------------------------------------------------------------------------------------------
# Saying that kernels are compiled, which takes seconds
# --------------------------------------------------------------------------------------------------------

#: A process waits so many seconds for another one that compiles.
COMPILING_SECONDS = 120.0

#: Names of the methods that are being computed, the innermost last.
_named: list[str] = []
#: What was said since the last job began.
_said: set[str] = set()
#: Modules whose kernels read files.
_READING = ("kernels.tiff", "kernels.unpack", "kernels.composites")
#: Those of kernels that others call.
_HELPERS = ("kernels.sorting",)


@contextmanager
def compiling(name: str, *, begins: bool = True) -> Iterator[list[str]]:
    """Log it, once, where kernels of the method called `name` are compiled within; nothing where a cache has them.

    Unless it `begins` a job, what was said stays said. Yields a list of what was said, filled at the end.
    """
    if begins:
        _said.clear()
    before, new = set(_said), list[str]()
    _named.append(name)
    try:
        yield new
    finally:
        _named.remove(name)
        new += sorted(_said - before)


@contextmanager
def compiling_turn(what: str) -> Iterator[None]:
    """Let one process compile first: others that need the same find on disk what it kept, and wait for it only.

    Parameters
    ----------
    what
        What is compiled within. If that was kept before, nobody waits; a kernel that is missing nevertheless is
        compiled without a turn.
    """
    folder = kernel_folder()
    mark = None if folder is None else folder / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.compiled"
    # Windows has no such locks.
    lock = None if mark is None or mark.exists() or fcntl is None else _open_lock(mark.with_name("compiling.lock"))
    if lock is None or mark is None:
        yield
        return
    with lock:
        if not _locked(lock):
            log.info("waiting for another process that compiles")
            until = time.monotonic() + COMPILING_SECONDS
            while not _locked(lock) and time.monotonic() < until:
                time.sleep(0.05)
            lock.close()
        yield
        with suppress(OSError):
            mark.touch(mode=0o644)


def _open_lock(path: Path) -> BinaryIO | None:
    """Open the file by which processes wait for each other; None where it cannot be written."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | SAFELY | NO_FOLLOW, 0o644), "r+b")
    except OSError:
        return None


def _locked(file: BinaryIO) -> bool:
    """Lock a file unless another process has it; true as well on a network disk without locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@cache
def _listen() -> None:
    """Have numba report when it compiles; loading from a cache is not reported."""
    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            _say(event.data["dispatcher"].py_func.__module__)  # None of what was made by exec

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Listener())


def _say(module: str | None) -> None:
    """Log what the kernels of a module are for when the first of them is compiled."""
    name = (module or "").removeprefix("pixelwise.")
    if name in _READING:
        label = "the code that reads files"
    elif name.startswith("kernels.") and name not in (module, *_HELPERS):
        label = _named[-1] if _named else "kernels"
    else:  # of numba, of a user's function, or a helper of one that was said
        return
    if label not in _said:
        _said.add(label)
        kept = kernel_folder() is not None
        log.info("compiling %s (%s)", label, "once on this machine" if kept else "no writable folder to keep it in")


def kernel_folder() -> Path | None:
    """Return the folder that compiled kernels are kept in; None if there is none."""
    return cache_folder(_preferred(os.environ.get("NUMBA_CACHE_DIR", "")))


@cache
def _preferred(named: str) -> str:
    """Return the folder that ``NUMBA_CACHE_DIR`` names; nothing where that depends on the current folder.

    Machine code is run: one that lies in an unpacked archive must not be.
    """
    if named and not Path(named).is_absolute():
        log.warning("NUMBA_CACHE_DIR=%s is not used for kernels: it must be an absolute path", named)
        return ""
    return named


def readonly(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return a read-only view: to numba, writable and read-only arrays are two types, each compiled."""
    view = array.view()
    view.flags.writeable = False
    return view


@cache
def cache_folder(preferred: str = "") -> Path | None:
    """Return the folder for machine code, or None where nothing can be written.

    Tried in turn: `preferred` (``NUMBA_CACHE_DIR``), the user's cache folder, one of the user's under the
    temporary folder. A read-only install without a home ends at the last. Where `preferred` is there but not ours to
    write to, as in the image of a container, the folder taken instead begins with what `preferred` holds.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  (never raises)
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        digest = sources_digest()
        temporary = Path(tempfile.gettempdir())
        candidates = [
            Path(preferred, "pixelwise") if preferred else None,
            Path(home, "pixelwise") if os.path.isabs(home) else None,  # noqa: PTH117
            # Where no temporary folder can be written to, Python takes the current one.
            None if temporary.samefile(os.curdir) else temporary / f"pixelwise-{owner}",
        ]
    except OSError:  # a zipped package has no files to read; a machine may have no temporary folder
        return None
    for candidate in candidates:
        if candidate is None or not is_private(candidate):
            continue
        if preferred and candidate != candidates[0]:
            _take_over(Path(preferred, "pixelwise", digest), candidate / digest)
        if is_writable(candidate / digest):
            return candidate / digest
    return None


def _take_over(prepared: Path, folder: Path) -> None:
    """Copy machine code that was prepared for all users to `folder`, unless that is there.

    Machine code is code, and its index is a pickle: it is taken only where each folder and file belongs to the
    administrator or to oneself, and nobody else can change it. Else kernels are compiled, as where nothing is prepared.
    """
    if folder.exists() or not hasattr(os, "getuid"):
        return
    try:
        _check_trusted(prepared.parent.lstat(), prepared.parent)
        _check_trusted(prepared.lstat(), prepared)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            copy = Path(name, "kernels")
            _copy_trusted(prepared, copy)
            # Another process may have been faster: its folder is as good.
            copy.rename(folder)
    except PermissionError as error:
        log.info("compiled kernels in %s are not used: %s", prepared, error)
    except OSError:  # nothing is prepared, or there is no room
        return


def _copy_trusted(source: Path, target: Path) -> None:
    """Copy a folder; what was checked is what is read, even if names change meanwhile.

    Raises
    ------
    PermissionError
        When another user can change a part of it, or it has links.
    OSError
    """
    for place, folders, files, descriptor in os.fwalk(source):
        _check_trusted(os.fstat(descriptor), Path(place))
        for name in folders:  # links to folders are among them, and are not followed
            _check_trusted(os.stat(name, dir_fd=descriptor, follow_symlinks=False), Path(place, name))
        here = target / Path(place).relative_to(source)
        here.mkdir(mode=0o700)
        for name in files:
            path = Path(place, name)
            _check_trusted(os.stat(name, dir_fd=descriptor, follow_symlinks=False), path)
            with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=descriptor), "rb") as file:  # noqa: PTH123
                _check_trusted(os.fstat(file.fileno()), path)
                (here / name).write_bytes(file.read())


def _check_trusted(facts: os.stat_result, path: Path) -> None:
    """Refuse what is no folder or file, or what anybody but the administrator and this user can change."""
    if not (stat.S_ISDIR(facts.st_mode) or stat.S_ISREG(facts.st_mode)):
        raise PermissionError(f"{path} is neither a folder nor a file")
    if facts.st_uid not in (0, os.getuid()):
        raise PermissionError(f"{path} belongs to another user (uid {facts.st_uid})")
    if facts.st_mode & 0o022:
        raise PermissionError(f"other users can change {path} (mode {stat.S_IMODE(facts.st_mode):04o})")


def is_shared(folder: Path) -> bool:
    """Whether kernels in `folder` are kept where ``NUMBA_CACHE_DIR`` says, which is for all users."""
    preferred = _preferred(os.environ.get("NUMBA_CACHE_DIR", ""))
    return bool(preferred) and folder.is_relative_to(preferred)


def share(folder: Path) -> None:
    """Let all users read the kernels in `folder`, which `kernel_folder` gave, and only this one change them."""
    for path in (folder.parent, folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def closed_to_others(folder: Path) -> list[Path]:
    """Return the folders on the way to `folder` that other users cannot enter."""
    return [place for place in reversed(folder.resolve().parents) if not place.stat().st_mode & 0o001]


def is_private(folder: Path) -> bool:
    """Create `folder` for this user alone; False where that fails or somebody else could write code into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(facts.st_mode):
        return False
    return not hasattr(os, "getuid") or (facts.st_uid == os.getuid() and not facts.st_mode & 0o022)


def is_writable(folder: Path) -> bool:
    """Create `folder` and say whether a file can be written into it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def sources_digest() -> str:
    """Return a digest of all that machine code of kernels is made from: `kernel_sources`, and what compiles them.

    Raises
    ------
    OSError
        When the files cannot be read.
    """
    numba = import_numba()
    import llvmlite

    from pixelwise._version import __version__

    made_by = (__version__, numba.__version__, llvmlite.__version__, np.__version__)
    digest = hashlib.sha256(repr(made_by).encode())
    for name, content in sorted(kernel_sources().items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def kernel_sources() -> dict[str, bytes]:
    """Return the files whose numbers are compiled in, by name within the package: this folder, and the status codes.

    Raises
    ------
    OSError
        When the files cannot be read.
    """
    folder = Path(__file__).parent
    files = [folder.parent / "bands.py", *folder.glob("*.py")]
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in files}
