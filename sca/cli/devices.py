"""`sca devices`: list microphones and loudspeakers."""

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Backend, Json

__all__ = ["devices"]


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

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("", "", "direction", "rate", "channels", "system", "name"):
        table.add_column(heading, no_wrap=True, overflow="fold" if heading == "name" else "ellipsis")
    for device in found:
        rate = f"{device.rate_hz} Hz" if device.rate_hz else "any"
        mark = "default" if device.default else ""
        channels = str(device.channels or "any")
        table.add_row(str(device.index), mark, device.direction, rate, channels, device.system, Text(device.name))
    console = out()
    console.print(table)
    for direction in ("input", "output"):
        if not any(device.direction == direction for device in found):
            console.print(f"no {direction} device found")
