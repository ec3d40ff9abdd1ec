"""Progress of a job as a bar below the cell of a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["notebook_bar"]

#: Seconds without a bar: short jobs need none.
PATIENCE = 1.0
#: Seconds between two pictures of it: each is a message to the browser.
INTERVAL = 0.25


def notebook_bar() -> Callable[[int, int], None] | None:
    """Return what shows the numbers of pixels done and in total; None where no notebook shows this program's output."""
    # Whoever runs in a notebook has imported IPython; nobody else has to wait for it.
    interactive = sys.modules.get("IPython")
    shell: Any = None if interactive is None else interactive.get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    return _Bar(interactive)


class _Bar:
    """A bar that is shown after a while, and removed at the end."""

    def __init__(self, interactive: Any) -> None:
        self._display = interactive.display
        self._began = self._shown = time.monotonic()
        self._handle: Any = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and (now - self._began < PATIENCE or now - self._shown < INTERVAL):
            return
        self._shown = now
        left = (now - self._began) / max(done, 1) * (total - done)
        # Numbers only: nothing from a file is in it.
        words = f"{100 * done // max(total, 1)} % of {total} pixels" + (f", {left:.0f} s left" if done < total else "")
        html = f'<progress value="{done}" max="{total}" style="width: 24em"></progress> {words}'
        if self._handle is not None:
            self._handle.update(self._display.HTML(html if done < total else ""))
        elif done < total:
            self._handle = self._display.display(self._display.HTML(html), display_id=True)
