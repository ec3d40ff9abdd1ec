"""Tell modules of Python and of installed packages, with their versions, from the user's own."""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

__all__ = ["versions_of", "where_installed"]

#: Folder of the standard library, whose version is that of Python.
STANDARD = Path(functools.__file__).parent

#: Requirements in the metadata of a package: the other package, and the condition under which it is needed.
REQUIRED = re.compile(r"^Requires-Dist: *([\w.-]+)([^\r\n]*)", re.MULTILINE)

#: Lines of a RECORD that are made by the installer, or do not matter for importing the package.
MADE_ON_INSTALLING = re.compile(
    r'^"?(\.\./|/|[A-Za-z]:|[^/,]+\.(dist|egg)-info/|__editable__)|^[^/,]+\.pth,|(^|/)__pycache__/'
)


def where_installed(module: types.ModuleType) -> tuple[str, Path] | None:
    """Return the package of a module, and the folder where it is installed; None for a user's own module.

    A package counts as installed if its folder has metadata, as every installer leaves it: a copied folder, or an
    editable installation, is the user's own. Python's own modules, and this package, are ``""``.
    """
    name = str(getattr(module, "__name__", ""))
    top = name.partition(".")[0]
    if top == "pixelwise":
        return "", STANDARD
    if top in ("__main__", "__mp_main__") or sys.modules.get(name) is not module or top not in sys.modules:
        return None
    # A user's random.py may shadow Python's, and a user's utils.py that of a package.
    places = list(_places(sys.modules[top]))
    if top in sys.stdlib_module_names and (not places or any(place.is_relative_to(STANDARD) for place in places)):
        return "", STANDARD
    found = ((_distribution_of(top, str(place.parent)), place.parent) for place in places)
    return next(((package, folder) for package, folder in found if package), None)


def _places(module: types.ModuleType) -> Iterator[Path]:
    """Yield the location of a top-level module: its file, or its folder; several for a namespace package."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        yield Path(file).parent if Path(file).name.startswith("__init__.") else Path(file)
    else:
        yield from map(Path, getattr(module, "__path__", ()))


@functools.lru_cache(maxsize=256)
def _distribution_of(top: str, folder: str) -> str:
    """Return the name of the distribution that installed a module into a folder; empty if there is no metadata."""
    if any(_is_installed(found, folder) for found in distributions(name=top, path=[folder])):
        return top
    # python-dateutil installs dateutil, scikit-learn installs sklearn.
    for found in distributions(path=[folder]):
        if not _is_installed(found, folder):
            continue
        names = (found.read_text("top_level.txt") or "").split()
        record = found.read_text("RECORD") or ""
        if top in names or re.search(rf"^{re.escape(top)}(/|\.py,|\.\w+-[\w-]+\.so,)", record, re.MULTILINE):
            return str(found.name)
    return ""


def _is_installed(found: Distribution, folder: str) -> bool:
    """Whether metadata belongs to an installed package, not to a source tree after `pip install -e`."""
    return found.read_text("RECORD") is not None or Path(folder).name in ("site-packages", "dist-packages")


def versions_of(packages: Iterable[tuple[str, Path]]) -> Mapping[str, str]:
    """Return the versions of packages, and of all their requirements, by name.

    If the installer left a list of files with checksums, a digest of them follows the version: a package that a
    colleague keeps reinstalling as 0.1 changes all the same.
    """
    versions: dict[str, str] = {}
    waiting = sorted({(name, str(folder)) for name, folder in packages if name})
    while waiting:
        name, folder = waiting.pop()
        found = next(iter(distributions(name=name, path=[folder, *sys.path])), None)
        key = re.sub(r"[-_.]+", "-", name).lower()
        if found is None or key in versions:  # requirements for other systems or extras are not installed
            continue
        # By regular expressions, because `found.version` parses the metadata as e-mail, which takes 2 ms each.
        head = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").partition("\n\n")[0]
        version = re.search(r"^Version: *(\S+)", head, re.MULTILINE)
        versions[key] = (version[1] if version else "unknown") + _digest_of(found.read_text("RECORD") or "")
        waiting += [(other, folder) for other, where in REQUIRED.findall(head) if "extra" not in where]
    return dict(sorted(versions.items()))


def _digest_of(record: str) -> str:
    """Return, in brackets, a digest of the files of a package that is the same in every environment.

    It omits what depends on environment and installer: commands, which name their interpreter; metadata, such as the
    installer and the origin; links to source trees; compiled files, which have no checksums.
    """
    lines = [line for line in record.splitlines() if "," in line and not MADE_ON_INSTALLING.search(line)]
    files = sorted(line for line in lines if line.rsplit(",", 2)[1])
    return f" ({hashlib.sha256(repr(files).encode()).hexdigest()[:8]})" if files else ""
