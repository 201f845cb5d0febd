"""`sca devices`: list microphones and loudspeakers."""

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Backend, Json

__all__ = ["devices"]

_WIDE = 100
"""Columns of a terminal in which a device is one line."""


def devices(backend: Backend = "miniaudio", as_json: Json = False) -> None:
    """List microphones and loudspeakers, with their names for --input-device and --output-device."""
    from sca.infer.audio_io.base import device_to_dict
    from sca.infer.audio_io.registry import load_backend

    found = load_backend(backend).devices()
    if as_json:
        emit_json([device_to_dict(device) for device in found])
        return
    from rich.table import Table
    from rich.text import Text

    console = out()
    table = Table(box=None, pad_edge=False, show_edge=False)
    # A name is never cut, because it is what --input-device takes. A narrow terminal has the details below it.
    details = ("rate", "channels", "system") if console.width >= _WIDE or not console.is_terminal else ()
    for heading in ("", "", "direction", *details, "name"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "name")
    for device in found:
        rate = f"{device.rate_hz} Hz" if device.rate_hz else "any"
        facts = (rate, str(device.channels or "any"), device.system)
        name = device.name if details else f"{device.name}\n{rate}, {facts[1]} channels, {device.system}"
        mark = "default" if device.default else ""
        table.add_row(str(device.index), mark, device.direction, *(facts if details else ()), Text(name))
    console.print(table)
    for direction in ("input", "output"):
        if not any(device.direction == direction for device in found):
            console.print(f"no {direction} device found")
