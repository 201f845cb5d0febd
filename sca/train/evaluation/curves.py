"""Curves over optimiser steps as an SVG picture."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

__all__ = ["Curve", "curves_svg"]

Curve = Sequence[tuple[float, float]]
"""Points (step, value) in the order of steps."""

_WIDTH, _HEIGHT = 600, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 190, 34, 40  # margins; the names of the curves are on the right
_COLOURS = ("#1f6f8b", "#c1442e", "#4f8f3a", "#8a5fb0", "#b07d1e", "#5b6770", "#c2568f", "#2a9d8f")
_MOST_POINTS = 400
_TICKS = 4


def curves_svg(
    title: str, curves: Mapping[str, Curve], *, low: float | None = None, high: float | None = None
) -> ET.Element:
    """Return a picture of curves with a common axis, each with its name and its last value.

    Points that are not finite are left out, and long curves are thinned: each point is then the mean of its neighbours.

    Args:
        title: The title.
        curves: The curves by name.
        low: The lower end of the axis; None is the smallest value.
        high: The upper end; None is the largest value.
    """
    shown = {name: _thinned([(x, y) for x, y in curve if math.isfinite(y)]) for name, curve in curves.items()}
    shown = {name: curve for name, curve in shown.items() if curve}
    svg = ET.Element("svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")
    svg.set("aria-label", f"{title}: {', '.join(shown)}")
    _text(svg, _LEFT, 18, title, size=14)
    if not shown:
        _text(svg, _LEFT, _HEIGHT / 2, "no values yet", size=12)
        return svg
    values = [y for curve in shown.values() for _, y in curve]
    steps = [x for curve in shown.values() for x, _ in curve]
    axis = _Axes(min(steps), max(steps), min(values) if low is None else low, max(values) if high is None else high)
    _grid(svg, axis)
    for place, (name, curve) in enumerate(shown.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        points = [axis.place(x, y) for x, y in curve]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        ET.SubElement(svg, "polyline", {"points": drawn, "fill": "none", "stroke": colour, "stroke-width": "1.6"})
        if len(points) <= 40:
            for x, y in points:
                ET.SubElement(svg, "circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "2.4", "fill": colour})
        label = f"{name} {curve[-1][1]:.3g}"
        _text(svg, _WIDTH - _RIGHT + 10, _TOP + 10 + 17 * place, label, size=12, colour=colour)
    return svg


class _Axes:
    """The scales of a picture."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        self.first, self.last = first, last if last > first else first + 1
        self.low, self.high = low, high if high > low else low + 1

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.first) / (self.last - self.first)
        up = min(max((y - self.low) / (self.high - self.low), 0), 1)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)


def _grid(svg: ET.Element, axis: _Axes) -> None:
    for k in range(_TICKS + 1):
        value = axis.low + (axis.high - axis.low) * k / _TICKS
        x, y = axis.place(axis.first, value)
        line = {"x1": f"{x:.1f}", "x2": f"{_WIDTH - _RIGHT}", "y1": f"{y:.1f}", "y2": f"{y:.1f}"}
        ET.SubElement(svg, "line", line | {"class": "grid"})
        _text(svg, x - 6, y + 4, f"{value:.3g}", size=11, anchor="end")
        step = axis.first + (axis.last - axis.first) * k / _TICKS
        _text(svg, axis.place(step, axis.low)[0], _HEIGHT - _BOTTOM + 16, f"{step:.0f}", size=11, anchor="middle")
    _text(svg, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, "optimiser step", size=11, anchor="middle")


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    """Return a curve with at most `_MOST_POINTS` points."""
    size = max(1, math.ceil(len(curve) / _MOST_POINTS))
    parts = [curve[at : at + size] for at in range(0, len(curve), size)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _text(
    svg: ET.Element, x: float, y: float, text: str, *, size: int, anchor: str = "start", colour: str | None = None
) -> None:
    given = {"x": f"{x:.1f}", "y": f"{y:.1f}", "font-size": str(size), "text-anchor": anchor}
    ET.SubElement(svg, "text", given | ({"style": f"fill:{colour}"} if colour else {})).text = text
