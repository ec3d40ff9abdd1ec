"""Say what a release still lacks: ``python tests/release.py``, which is ``make release-check``.

Where HEAD is tagged vX.Y.Z, anything that is missing is an error. Otherwise it is listed, and the status is 0.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: Stands for the address of the repository. In two parts, so that replacing it everywhere keeps this line.
PLACEHOLDER = "repository" + ".invalid"
#: The version in each file that has it.
VERSIONS = {
    "src/pixelwise/_version.py": r'^__version__ = "(.+)"$',
    "CITATION.cff": r"^version: (.+)$",
    "CHANGELOG.md": r"^## (\d+\.\d+\.\d+\S*) \(\d{4}-\d\d-\d\d\)$",
    "conda/recipe.yaml": r'^  version: "(\d.*)"$',
}


def git(root: Path, *arguments: str) -> list[str]:
    """Return the lines that git prints."""
    result = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def tagged_version(root: Path) -> str | None:
    """Return the version of the tag at HEAD."""
    tags = [tag for tag in git(root, "tag", "--points-at", "HEAD") if re.fullmatch(r"v\d+\.\d+\.\d+\S*", tag)]
    if len(tags) > 1:
        raise SystemExit(f"HEAD has several tags of releases: {', '.join(tags)}")
    return tags[0].removeprefix("v") if tags else None


def problems(root: Path, version: str | None) -> Iterator[str]:
    """Yield what is missing for a release of a version; None is the version that the package has."""
    for name, pattern in VERSIONS.items():
        found = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        version = version or (found[1] if found else None)
        if not found:
            yield f"{name}: no version, expected {version} in a line like {pattern}"
        elif found[1] != version:
            yield f"{name}: version {found[1]}, expected {version}"
    heading = re.search(r"^## .*$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if heading and "unreleased" in heading[0].lower():
        yield f"CHANGELOG.md: the first heading is '{heading[0]}', expected '## {version} (YYYY-MM-DD)'"
    for name in git(root, "ls-files"):
        path = root / name
        count = path.read_bytes().count(PLACEHOLDER.encode()) if path.is_file() else 0
        if count:
            yield f"{name}: {count} x {PLACEHOLDER}, expected the address of the repository"


def main(root: Path) -> int:
    """Print what is missing."""
    tag = tagged_version(root)
    missing = list(problems(root, tag))
    if tag is None:
        print(f"HEAD has no tag vX.Y.Z: not a release. {len(missing)} to be filled in before one:")
    else:
        print(f"release {tag}: {f'{len(missing)} to be filled in' if missing else 'nothing is missing'}")
    print("".join(f"  {line}\n" for line in missing), end="")
    return int(tag is not None and bool(missing))


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
