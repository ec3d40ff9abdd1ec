"""Print the path of every Python from 3.11 on that is found, one per minor version."""

import os
import subprocess
from pathlib import Path

FIRST, LAST = 11, 20


def version_of(python: Path) -> str | None:
    """Return the minor version of an interpreter that starts, else None (a shim may not)."""
    code = "import sys, venv; print(sys.version_info[1])"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def main() -> None:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders += sorted(root.glob("versions/*/bin"))
    found = {}
    for minor in range(FIRST, LAST):
        for folder in folders:
            python = folder / f"python3.{minor}"
            if python.is_file() and version_of(python) == str(minor):
                found[minor] = python
                break
    print("\n".join(str(python) for python in found.values()))


if __name__ == "__main__":
    main()
