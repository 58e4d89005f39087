"""A probe's charts and pictures as PNG files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from condistill.files import write_atomic
from condistill.probes.kinds import Chart, Pictures


def write_chart(path: Path, chart: Chart) -> Path:
    """`path`, now the chart's curves over u."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for curve in chart.curves:
            (line,) = axes.plot(curve.x, curve.y, marker=".", label=curve.name)
            if len(curve.low):
                axes.fill_between(curve.x, curve.low, curve.high, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set(title=chart.title, xlabel="noise level u", xlim=(0, 1), ylim=(0, None))
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        return _saved(path, figure, dots=144)


def write_pictures(path: Path, pictures: Pictures) -> Path:
    """`path`, now the grid: rows under their labels, columns under theirs."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False, "font.size": 7}):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rows = list(pictures.rows.items())
        across = len(pictures.columns)
        figure = Figure(figsize=(1.2 * across, 1.5 * len(rows)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = np.atleast_2d(figure.subplots(len(rows), across, squeeze=False))
        for (label, images), line in zip(rows, grid, strict=True):
            for image, column, axes in zip(images, pictures.columns, line, strict=True):
                axes.imshow(image)
                axes.set_axis_off()
                axes.set_title(column, fontsize=6)
            # a long label is to run on below the pictures, not to widen their column
            line[0].text(0, -0.08, label, transform=line[0].transAxes, va="top").set_in_layout(False)
        return _saved(path, figure, dots=150)


def _saved(path: Path, figure: object, *, dots: int) -> Path:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dots)  # type: ignore[attr-defined]
    return write_atomic(path, stream.getvalue())
