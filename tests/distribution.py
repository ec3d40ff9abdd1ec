"""Check what `make dist` built: ``python tests/distribution.py dist``.

The sdist holds every file of the repository, so that it can build the docs and run the tests. The wheel holds what lies
in src, and nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked(*folders: str) -> set[str]:
    """Return the files of the repository."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in names if (ROOT / name).is_file()}


def differences(what: str, found: set[str], expected: set[str]) -> Iterator[str]:
    """Yield a line for each file that is missing or too many."""
    yield from (f"{what}: {name} is missing" for name in sorted(expected - found))
    yield from (f"{what}: {name} is not expected" for name in sorted(found - expected))


def problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the sdist and the wheel in a folder."""
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    yield from differences(sdist.name, names - {"PKG-INFO"}, tracked())
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    package = {name for name in names if ".dist-info/" not in name}
    yield from differences(wheel.name, package, {name.removeprefix("src/") for name in tracked("src")})
    if "pixelwise/py.typed" not in package:
        yield f"{wheel.name}: pixelwise/py.typed is missing"
    for link in re.findall(r"\]\((?!https?://|#)[^)]*\)", text):
        yield f"{wheel.name}: the description has a relative link {link}, which is broken outside the repository"


def main() -> int:
    """Print what is wrong."""
    found = list(problems(Path(sys.argv[1])))
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
