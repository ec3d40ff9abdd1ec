"""The progress bar, on a terminal and not."""

from __future__ import annotations

import io
import sys

import pytest

from pixelwise.cli.report import progress_bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_with_speed_and_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not in a fixture: pytest puts its own stderr back before the test is called.
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar(quiet=False) as update:
        assert update is not None
        for done in range(0, 2_000_001, 500_000):
            update(done, 2_000_000)
    shown = terminal.getvalue()
    assert "pixels" in shown
    assert "100%" in shown
    assert "Mpx/s" in shown
    assert "0:00:00" in shown


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(quiet=True) as update:
        assert update is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(quiet=False) as update:
        assert update is None
