"""What happens to an output that exists, or was begun: options of every command that runs a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["REPLACING_OPTIONS", "replacing_options"]

REPLACING_OPTIONS = (
    click.option("--overwrite", is_flag=True, help="Replace an existing map, or recipe, once the new one is complete."),
    click.option("--restart", is_flag=True, help="Discard the progress of an interrupted run."),
    click.option(
        "--trust-function",
        is_flag=True,
        help="Resume an interrupted job even if pixelwise cannot tell whether your function is still the same, "
        "because it reads files or looks up names at run time. Also needed for the first run.",
    ),
)


def replacing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--overwrite``, ``--restart``, ``--trust-function``."""
    for option in reversed(REPLACING_OPTIONS):
        command = option(command)
    return command
