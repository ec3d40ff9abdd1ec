"""constraints-oldest.txt holds the lower bounds of pyproject.toml: `make oldest` tests what is promised."""

from __future__ import annotations

import re
import tomllib

from support.places import ROOT


def test_each_lower_bound_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(one for name in extras for one in extras[name])]
    lowest = {one.replace(">=", "==") for one in asked if not one.startswith("pixelwise[")}
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    pinned = {line for line in lines if re.match(r"[\w-]+==", line)} - {"pyparsing==3.1.0", "scipy==1.17"}
    # mpi4py has no wheels of that age, and needs an MPI library.
    assert pinned == {one for one in lowest if not one.startswith("mpi4py")}
