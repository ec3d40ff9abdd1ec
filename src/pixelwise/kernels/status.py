"""The statuses of pixels as plain numbers: numba takes these from a module, not members of an enumeration."""

from __future__ import annotations

from pixelwise.bands import Status

OK = int(Status.OK)
NO_OBSERVATION = int(Status.NO_OBSERVATION)
TOO_FEW = int(Status.TOO_FEW)
CONSTANT = int(Status.CONSTANT)
DEGENERATE = int(Status.DEGENERATE)
TEST_UNDEFINED = int(Status.TEST_UNDEFINED)
