"""Small jobs that are cut, checked and written down as large ones are."""

from contextlib import AbstractContextManager
from dataclasses import replace
from unittest import mock

import pytest

from pixelwise.jobs import limits

__all__ = ["limited", "set_limits"]


def set_limits(patch: pytest.MonkeyPatch, **values: float) -> None:
    """Replace some of the limits of jobs until the test ends."""
    patch.setattr(limits, "LIMITS", replace(limits.LIMITS, **values))  # type: ignore[arg-type]


def limited(**values: float) -> AbstractContextManager[object]:
    """Replace some of the limits of jobs within a ``with`` statement."""
    return mock.patch.object(limits, "LIMITS", replace(limits.LIMITS, **values))  # type: ignore[arg-type]
