"""Where the parts of a figure go: measured, then placed, in inches."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = ["GAP", "LONG_EDGE", "NARROW_COLUMN", "SMALL", "Drawn", "Sizes", "fit", "take_literally"]

# Inches.
LONG_EDGE, PAD, GAP = 5.0, 0.12, 0.14


@dataclass(frozen=True)
class Sizes:
    """Sizes of texts, in points, and whether amounts have lines of their own in legends."""

    title: float = 10.0
    text: float = 8.0
    tick: float = 7.5
    broken: bool = False


#: For figures of several maps whose width is given: the smallest that journals accept.
SMALL = Sizes(8.5, 6.5, 6.0)
#: For the column of a journal, 85 mm.
NARROW_COLUMN = Sizes(8.5, 6.5, 6.0, broken=True)


@dataclass(eq=False)
class Drawn:
    """A panel on its figure, before it has its place."""

    axes: Axes
    legend: Any
    size: tuple[float, float]
    wide: bool
    bar: Any = None
    bar_size: tuple[float, float] = (0.0, 0.0)


def take_literally(text: Text) -> None:
    """Keep matplotlib from interpreting names in files as formulas."""
    text.set_parse_math(False)
    text.set_usetex(False)


@dataclass(eq=False)
class _Box:
    """What a panel needs, in inches: its axes within the panel, its legend, the whole, and above and below its bar."""

    drawn: Drawn
    left: float
    below: float
    key: tuple[float, float]
    width: float
    height: float
    around_bar: tuple[float, float] = (0.0, 0.0)


def _measured(drawn: Drawn, renderer: RendererAgg) -> _Box:
    """Measure a panel."""
    inches = 1 / renderer.dpi
    box, outer = drawn.axes.get_window_extent(renderer), drawn.axes.get_tightbbox(renderer) or drawn.axes.bbox
    left, right = (box.x0 - outer.x0) * inches, (outer.x1 - box.x1) * inches
    below, above = (box.y0 - outer.y0) * inches, (outer.y1 - box.y1) * inches
    width, height = box.width * inches, box.height * inches
    key = drawn.legend.get_window_extent(renderer)
    key_width, key_height = key.width * inches, key.height * inches
    around = 0.0, 0.0
    if drawn.bar is not None:
        # Its axes know where they are after the measuring of all.
        whole, own = drawn.bar.ax.get_tightbbox(renderer), drawn.bar.ax.get_window_extent(renderer)
        around = (whole.y1 - own.y1) * inches, (own.y0 - whole.y0) * inches
        key_width, key_height = max(key_width, whole.width * inches), key_height + whole.height * inches + GAP
    if drawn.wide:
        # Below the map, or from the edge of the panel if it is wider.
        key_left = max(0.0, min(left, left + width + right - key_width))
        return _Box(
            drawn, left, key_height + GAP + below, (key_left, key_height),
            max(left + width + right, key_left + key_width), key_height + GAP + below + height + above, around,
        )  # fmt: skip
    bottom = max(below, key_height - height)
    return _Box(
        drawn, left, bottom, (left + width + right + GAP, bottom + height),
        left + width + right + GAP + key_width, bottom + height + above,
    )  # fmt: skip


def fit(figure: Figure, drawn: Sequence[Drawn], heading: tuple[str, str], columns: int, sizes: Sizes) -> float:
    """Give the figure the size that maps, legends and title need, place them, and return the width in inches."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [_measured(one, renderer) for one in drawn]
    rows = [boxes[start : start + columns] for start in range(0, len(boxes), columns)]
    widths = [max(row[place].width for row in rows if place < len(row)) for place in range(len(rows[0]))]
    heights = [max(box.height for box in row) for row in rows]
    lefts = [boxes[0].left if len(boxes) == 1 else 0.0]
    content = sum(widths) + 2 * GAP * (len(widths) - 1)
    texts = _draw_heading(figure, heading, content - lefts[0], sizes, renderer)
    lines = [text.get_window_extent(renderer) for text in texts]
    inches = 1 / renderer.dpi
    full_width: float = max([content, *(lefts[0] + line.width * inches for line in lines)]) + 2 * PAD
    head = sum(line.height * inches + GAP / 3 for line in lines)
    full_height = sum(heights) + 2 * GAP * (len(rows) - 1) + GAP / 2 + head + 2 * PAD
    figure.set_size_inches(full_width, full_height)
    top = full_height - PAD
    for text, line in zip(texts, lines, strict=True):
        top -= line.height * inches
        text.set_position(((PAD + lefts[0]) / full_width, top / full_height))
        top -= GAP / 3
    top -= GAP / 2
    for row, height in zip(rows, heights, strict=True):
        x = PAD
        for box, width in zip(row, widths, strict=False):
            _put(figure, box, (x, top - box.height), (full_width, full_height))
            x += width + 2 * GAP
        top -= height + 2 * GAP
    return full_width


def _put(figure: Figure, box: _Box, corner: tuple[float, float], full: tuple[float, float]) -> None:
    """Place a panel whose lower left corner is known."""
    (x, y), (full_width, full_height) = corner, full
    width, height = box.drawn.size
    axes = box.drawn.axes
    axes.set_position(
        ((x + box.left) / full_width, (y + box.below) / full_height, width / full_width, height / full_height)
    )
    key_x, key_y = x + box.key[0], y + box.key[1]
    if box.drawn.bar is not None:
        # Its name is above it, what is not on it below.
        (above, below), (bar_width, bar_height) = box.around_bar, box.drawn.bar_size
        key_y -= above + bar_height
        box.drawn.bar.ax.set_position(
            (key_x / full_width, key_y / full_height, bar_width / full_width, bar_height / full_height)
        )
        key_y -= below + GAP
    box.drawn.legend.set_bbox_to_anchor((key_x / full_width, key_y / full_height), transform=figure.transFigure)


def _draw_heading(
    figure: Figure, heading: tuple[str, str], width: float, sizes: Sizes, renderer: RendererAgg
) -> list[Text]:
    """Write title and subtitle, broken into lines of about `width` inches."""
    styles = ((sizes.title, "bold", "black"), (sizes.text, "normal", "0.25"))
    texts = []
    for words, (size, weight, color) in zip(heading, styles, strict=True):
        if words.strip():
            text = figure.text(0, 0, words, size=size, weight=weight, color=color, va="bottom")
            take_literally(text)
            drawn = text.get_window_extent(renderer).width / renderer.dpi
            if drawn > width:
                longest = max(map(len, words.splitlines()))
                letters = max(24, int(longest * width / drawn))
                text.set_text("\n".join(textwrap.fill(line, letters) for line in words.splitlines()))
            texts.append(text)
    return texts
