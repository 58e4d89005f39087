"""The charts, as inline SVG with the page's CSS variables for colours, so that they follow its light and dark theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# matplotlib is given these and the page's variables are put in their place
_INK, _FAINT = "#010203", "#040506"
_SERIES = tuple(f"#0a0b{k:02x}" for k in range(8))
NUM_COLOURS = len(_SERIES)  # --s0 (teacher, grey), --s1 (without, orange), --s2 (with, blue), then others
WIDTH, SINGLE_WIDTH, HEIGHT = 9.0, 5.6, 2.5  # inches; the page shows them at 96 dots each

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.6,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Line:
    """One curve: x and y (n,), optionally the interval around y; `points` draws marks without a line."""

    colour: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    points: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """One set of axes."""

    title: str
    lines: tuple[Line, ...]
    x_label: str
    y_label: str = ""
    log: bool = False
    from_zero: bool = False
    x_limits: tuple[float, float] | None = None


def draw(panels: Sequence[Panel], *, name: str, share_y: bool = False) -> str:
    """The panels side by side as an SVG element.

    Args:
        panels: one or more.
        name: unique in the page; keeps the charts' inner references apart.
        share_y: whether all panels have the same y axis.
    """
    import matplotlib

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH if len(panels) > 1 else SINGLE_WIDTH, HEIGHT), layout="constrained")
        FigureCanvasSVG(figure)
        all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=share_y)[0]
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_panel(axes, panel)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    title = "; ".join(panel.title for panel in panels)
    return _inline(buffer.getvalue(), name, title)


def _draw_panel(axes: Any, panel: Panel) -> None:
    for line in panel.lines:
        colour = _SERIES[line.colour % NUM_COLOURS]
        x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
        if len(line.low):
            axes.fill_between(x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
        if line.points:
            axes.plot(x, y, linestyle="none", marker="o", markersize=4, color=colour, clip_on=False)
        else:
            alone = len(x) == 1
            axes.plot(x, y, color=colour, alpha=0.3 if line.faint else 1, marker="o" if alone else None)
    if panel.log and any(v > 0 for line in panel.lines for v in line.y):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    elif panel.from_zero:
        axes.set_ylim(bottom=0)
    if panel.x_limits:
        axes.set_xlim(*panel.x_limits)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)


def _plain_ticks(axis: Any) -> None:
    """Ticks at 1, 2 and 5 of each decade, written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _inline(svg: str, name: str, title: str) -> str:
    """The bare svg element: no prolog, ids of its own, the page's colours and fonts, a label for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|xlink:href=\"#)([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"(url\(#|xlink:href=\"#)", rf"\g<1>{name}-", svg)
    for colour, variable in {_INK: "--ink", _FAINT: "--faint", **{c: f"--s{k}" for k, c in enumerate(_SERIES)}}.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"(font: [^;\"]*?)(?:'DejaVu Sans'|sans-serif)[^;\"]*", r"\1var(--font)", svg)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]+)"[^>]*>', _opening(title), svg, count=1, flags=re.DOTALL)
    return svg


def _opening(title: str) -> Callable[[re.Match[str]], str]:
    from html import escape

    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return lambda found: (
        f'<svg {space} viewBox="{found[1]}" style="max-width: {float(found[1].split()[2]) / 72:.2f}in" '
        f'role="img" aria-label="{escape(title)}">'
    )


def smooth(values: Sequence[float], width: int) -> list[float]:
    """A running mean over the last `width` values.

    >>> smooth([0.0, 2.0, 4.0], 2)
    [0.0, 1.0, 3.0]
    """
    return [float(np.mean(values[max(0, k + 1 - width) : k + 1])) for k in range(len(values))]
