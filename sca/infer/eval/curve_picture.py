"""An operating curve as an SVG picture: take-over against false barge-ins, and both and the latency for each value."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from sca.infer.eval.operating_curve import CurveReport

__all__ = ["curve_svg"]

_WIDTH, _HEIGHT = 860, 400
_SIDE, _TOP, _GAP = 300, 50, 420  # size of a panel, its top edge, and from one panel to the next
_LEFT = 70
_TAKE_OVER, _FALSE, _LATENCY, _INK, _GRID = "#1f6f8b", "#c1442e", "#7a7a7a", "#222222", "#dddddd"


def curve_svg(report: CurveReport) -> str:
    """Return the picture of a curve, the same text for the same curve.

    On the left, each value is a point, false barge-ins to the right and take-over upwards: the upper left corner is the
    best. On the right, the values are on the horizontal axis in their order. A rate that no item has is left out.
    """
    svg = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", width=str(_WIDTH), role="img"
    )
    ET.SubElement(svg, "title").text = f"Operating curve of {report['setting']} with the engine {report['engine']}"
    ET.SubElement(svg, "rect", width="100%", height="100%", fill="#ffffff")
    _text(svg, _LEFT, 24, f"{report['engine']}: {report['setting']}", size=15)
    _panel(svg, 0, "false barge-in rate", "take-over rate")
    _curve(svg, report)
    _panel(svg, _GAP, report["setting"], "rate")
    _by_value(svg, report)
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _curve(svg: ET.Element, report: CurveReport) -> None:
    known = [
        (point["false_barge_in_rate"], point["take_over_rate"], str(point["value"]))
        for point in report["points"]
        if point["false_barge_in_rate"] is not None and point["take_over_rate"] is not None
    ]
    _line(svg, [_place(0, x, y) for x, y, _ in known], _TAKE_OVER)
    labels: dict[tuple[float, float], list[str]] = {}
    for x, y, value in known:
        labels.setdefault(_place(0, x, y), []).append(value)
    for (x, y), values in labels.items():
        _text(svg, x + 8, y - 8, values[0] if len(values) == 1 else f"{values[0]} … {values[-1]}", size=11)
    for rate in (0, 0.5, 1):
        _text(svg, *_below(0, rate), f"{rate:g}", size=11, anchor="middle")


def _by_value(svg: ET.Element, report: CurveReport) -> None:
    points = report["points"]
    places = [(i + 0.5) / len(points) for i in range(len(points))]
    latest = max((point["response_latency_s"] or 0 for point in points), default=0) or 1
    for label, colour, row, values in (
        ("take-over", _TAKE_OVER, 0, [point["take_over_rate"] for point in points]),
        ("false barge-in", _FALSE, 1, [point["false_barge_in_rate"] for point in points]),
        (
            f"latency (1 is {latest:.2f} s)",
            _LATENCY,
            2,
            [_part(point["response_latency_s"], latest) for point in points],
        ),
    ):
        _line(svg, [_place(_GAP, x, y) for x, y in zip(places, values, strict=True) if y is not None], colour)
        _text(svg, _LEFT + _GAP + 120 * row, _TOP - 10, label, size=11, colour=colour)
    every = -(-len(points) // 10)  # at most ten labels
    for x, point in list(zip(places, points, strict=True))[::every]:
        _text(svg, *_below(_GAP, x), str(point["value"]), size=11, anchor="middle")


def _part(value: float | None, whole: float) -> float | None:
    return None if value is None else value / whole


def _place(offset: int, x: float, y: float) -> tuple[float, float]:
    """Return the position of a point of a panel, with coordinates from 0 to 1."""
    return round(_LEFT + offset + x * _SIDE, 1), round(_TOP + (1 - y) * _SIDE, 1)


def _below(offset: int, x: float) -> tuple[float, float]:
    return _place(offset, x, 0)[0], _TOP + _SIDE + 16


def _panel(svg: ET.Element, offset: int, horizontal: str, vertical: str) -> None:
    left, middle = _LEFT + offset, _TOP + _SIDE / 2
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = _place(offset, 0, value)[1]
        line = {"x1": left, "x2": left + _SIDE, "y1": y, "y2": y}
        ET.SubElement(svg, "line", {name: str(at) for name, at in line.items()}, stroke=_GRID)
        _text(svg, left - 8, y + 4, f"{value:g}", size=11, anchor="end")
    _text(svg, left + _SIDE / 2, _TOP + _SIDE + 36, horizontal, size=12, anchor="middle")
    turned = {"transform": f"rotate(-90 {left - 42} {middle})"}
    _text(svg, left - 42, middle, vertical, size=12, anchor="middle", **turned)


def _line(svg: ET.Element, places: Sequence[tuple[float, float]], colour: str) -> None:
    points = " ".join(f"{x},{y}" for x, y in places)
    ET.SubElement(svg, "polyline", {"points": points, "fill": "none", "stroke": colour, "stroke-width": "1.5"})
    for x, y in places:
        ET.SubElement(svg, "circle", {"cx": str(x), "cy": str(y), "r": "3.5", "fill": colour})


def _text(
    svg: ET.Element,
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "start",
    colour: str = _INK,
    **attributes: str,
) -> None:
    given = {"x": str(x), "y": str(y), "font-size": str(size), "text-anchor": anchor, "fill": colour}
    ET.SubElement(svg, "text", given | {"font-family": "sans-serif"} | attributes).text = text
