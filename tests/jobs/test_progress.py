"""The progress bar, on a terminal and not."""

from __future__ import annotations

import io
import sys

import pytest

from pixelwise.cli.report import emit, progress_bar


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


def test_a_warning_stands_on_a_line_of_its_own_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    long = "warning: [bold]no markup[/bold] \x1b[2J " + "x" * 80
    with progress_bar(quiet=False) as update:
        assert update is not None
        update(1, 2)
        emit(long, error=True)
    emit("after", error=True)
    shown = terminal.getvalue()
    # Rich clears the line of the bar (CSI 2 K) before it prints.
    assert "\x1b[2K" + long.replace("\x1b", "\\x1b") + "\n" in shown
    assert shown.endswith("after\n")


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(quiet=True) as update:
        assert update is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(quiet=False) as update:
        assert update is None
