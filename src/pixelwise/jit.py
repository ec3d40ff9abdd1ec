"""Numba for this package: how kernels are compiled and where the machine code is kept.

Numba is imported when the first kernel is decorated, which no module of this package does on import except
the kernel modules themselves (``_*_kernels.py``); those are imported when a block is computed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["compiling", "kernel", "kernel_folder", "readonly"]

log = logging.getLogger("pixelwise.jit")

Function = TypeVar("Function", bound=Callable[..., Any])
Scalar = TypeVar("Scalar", bound=np.generic)

# --------------------------------------------------------------------------------------------------------
# Our own kernels: compiled once per machine and version
# --------------------------------------------------------------------------------------------------------

#: Beside those of ``methods/_*.py``.
KERNEL_FILES = ("methods/pvalues.py", "unpack.py", "decode.py", "_composite_kernels.py", "_sort_kernels.py")

_decorating = threading.Lock()


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

    Kernels must not call NumPy's ``sort``, ``argsort``, ``median`` and what else numba makes of its quicksort: sorting
    numbers and sorting places of numbers get the same symbol there but for a counter of the process that compiled
    them. Where two kernels that were kept by different processes meet in a third, the linker takes either for both:
    seen as a crash, and as wrong ranks (numba 0.68.1). tests/test_jit.py looks for them.
    """

    def decorate(function: Function) -> Function:
        import numba

        _listen()
        settings = {"nogil": True, "error_model": "numpy", **options}
        if helper:
            helped: Function = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **settings)(function)
            return helped
        folder = cache_folder(numba.config.CACHE_DIR)
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

#: Names of the methods that are being computed, the innermost last.
_named: list[str] = []
#: What was said since the last job began.
_said: set[str] = set()
#: Modules whose kernels read files.
_READING = ("decode", "unpack", "_composite_kernels")


@contextmanager
def compiling(name: str, *, begins: bool = True) -> Iterator[None]:
    """Log it, once, where kernels of the method called `name` are compiled within; nothing where a cache has them.

    Unless it `begins` a job, what was said stays said.
    """
    if begins:
        _said.clear()
    _named.append(name)
    try:
        yield
    finally:
        _named.remove(name)


@cache
def _listen() -> None:
    """Hear of numba when it compiles; what is loaded from a cache is no such event."""
    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            _say(event.data["dispatcher"].py_func.__module__)  # None of what was made by exec

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Listener())


def _say(module: str | None) -> None:
    """Say what the kernels of a module are for, when the first one of them is compiled."""
    name = (module or "").removeprefix("pixelwise.")
    if name in _READING:
        label = "the reading of files"
    elif name.startswith("methods.") and name != module:
        label = _named[-1] if _named else "kernels"
    else:  # of numba, of a user's function, or a helper of one that was said
        return
    if label not in _said:
        _said.add(label)
        kept = kernel_folder() is not None
        log.info("compiling %s (%s)", label, "once on this machine" if kept else "no folder can be written to keep it")


def kernel_folder() -> Path | None:
    """Return the folder that compiled kernels are kept in, None where there is none."""
    import numba

    return cache_folder(numba.config.CACHE_DIR)


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
        candidates = [
            Path(preferred, "pixelwise") if preferred else None,
            Path(home, "pixelwise") if os.path.isabs(home) else None,  # noqa: PTH117
            Path(tempfile.gettempdir(), f"pixelwise-{owner}"),
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

    Machine code is code: it is taken only from the administrator's folders, or one's own, that nobody else can change.
    """
    if folder.exists() or not hasattr(os, "getuid"):
        return
    try:
        for place in (prepared.parent, prepared):
            facts = place.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in (0, os.getuid()) or facts.st_mode & 0o022:
                return
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            copy = Path(name, "kernels")
            shutil.copytree(prepared, copy, copy_function=shutil.copyfile)
            for place in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
                place.chmod(0o700)
            # Another process may have been faster: its folder is as good.
            copy.rename(folder)
    except OSError:  # nothing is prepared, or there is no room: kernels are compiled, as without it
        return


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
    """Return a digest of every file that kernels are compiled from."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(package.glob("methods/_*.py")), *(package / name for name in KERNEL_FILES)]:
        if path.exists():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
