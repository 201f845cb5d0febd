"""`sca devices`: list microphones and loudspeakers."""

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Backend, Json
from sca.textutil import printable

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
    from rich.text import Text

    from sca.cli.shared.terminal import data_table, print_table

    console = out()
    # A name is never cut, because it is what --input-device takes. A narrow terminal has the details below it.
    details = ("rate", "channels", "system") if console.width >= _WIDE or not console.is_terminal else ()
    table = data_table("", "", "direction", *details, "name")
    for column in table.columns[:-1]:
        column.no_wrap = True
    for device in found:
        rate = f"{device.rate_hz} Hz" if device.rate_hz else "any"
        facts = (rate, str(device.channels or "any"), device.system)
        name = printable(device.name)
        name = name if details else f"{name}\n{rate}, {facts[1]} channels, {device.system}"
        mark = "default" if device.default else ""
        table.add_row(str(device.index), mark, device.direction, *(facts if details else ()), Text(name))
    print_table(table)
    for direction in ("input", "output"):
        if not any(device.direction == direction for device in found):
            console.print(f"no {direction} device found")
