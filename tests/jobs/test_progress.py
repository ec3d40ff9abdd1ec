"""The progress bar, on a terminal and not."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.cli.report import emit, progress_bar
from pixelwise.jobs import notebook
from support.rasters import random_series


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


#: What a user writes in a cell; blocks of a few rows, so that there is something to show.
CELL = """
import pixelwise as pw
from pixelwise.jobs import notebook
notebook.PATIENCE = notebook.INTERVAL = 0
stack = pw.open_stack({folder!r})
trend = pw.apply(stack, "ols", executor="inline"{more})
stack
"""


def displayed(folder: object, more: str = "") -> list[tuple[str, str]]:
    """Run the cell in a kernel as notebooks do; return each message that a page would draw, and its HTML."""
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    try:
        found: list[tuple[str, str]] = []

        def note(message: Any) -> None:
            kind, content = message["msg_type"], message["content"]
            if kind == "error":
                raise AssertionError(content["evalue"])
            if "data" in content:
                found.append((kind, content["data"].get("text/html", "")))

        client.execute_interactive(CELL.format(folder=str(folder), more=more), output_hook=note, timeout=120)
        return found
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def test_notebooks_show_a_bar_and_remove_it_at_the_end(make_stack: Any) -> None:
    folder = make_stack(random_series((3, 900, 1000)))
    shown = displayed(folder)
    assert [kind for kind, _ in shown][:1] == ["display_data"]
    assert 'max="900000"' in shown[0][1]
    bars = [html for kind, html in shown if kind == "update_display_data"]
    assert bars[-1] == ""
    assert shown[-1][0] == "execute_result"
    assert "<caption>pixelwise RasterStack</caption>" in shown[-1][1]
    assert [kind for kind, _ in displayed(folder, ", progress=False")] == ["execute_result"]


def test_programs_show_no_bar(make_stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebook.notebook_bar() is None
    monkeypatch.setattr(notebook, "notebook_bar", lambda: pytest.fail("asked for although there is a callback"))
    seen: list[tuple[int, int]] = []
    pw.apply(pw.open_stack(make_stack(np.ones((3, 4, 5)))), "ols", progress=lambda *done: seen.append(done))
    assert seen == [(20, 20)]
