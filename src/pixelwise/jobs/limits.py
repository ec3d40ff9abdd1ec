"""Sizes from which a job is cut, checked and journalled: one value, which tests replace with smaller numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "Limits"]


@dataclass(frozen=True)
class Limits:
    """Sizes from which a job is cut, checked and journalled.

    Attributes
    ----------
    block_bytes
        Input and output of one block: larger blocks are no faster (measured between 8 and 64 MB).
    window_bytes
        Least bytes of one layer in a block: reading less than about 64 kB of a file at a time is dominated by the
        overhead of the call (69 us).
    journal_seconds
        Jobs that take fewer seconds keep no journal.
    check_seconds
        How often files are checked for changes.
    task_seconds
        How long a task in another process should last: Dask needs some 5 ms for each.
    """

    block_bytes: int = 48 << 20
    window_bytes: int = 64 << 10
    journal_seconds: float = 5.0
    check_seconds: float = 5.0
    task_seconds: float = 2.0


#: The limits that jobs use.
LIMITS = Limits()
