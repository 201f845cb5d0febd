"""Load an audio backend by name."""

from sca.errors import UsageError
from sca.infer.audio_io.base import AudioBackend

__all__ = ["BACKENDS", "load_backend"]


BACKENDS = ("miniaudio", "sounddevice")


def load_backend(name: str) -> AudioBackend:
    """The backend of that name. Raises `UsageError` for another name, `MissingToolError` when it is not installed."""
    if name == "miniaudio":
        from sca.infer.audio_io.miniaudio import MiniaudioBackend

        return MiniaudioBackend()
    if name == "sounddevice":
        from sca.infer.audio_io.sounddevice import SounddeviceBackend

        return SounddeviceBackend()
    raise UsageError(f"there is no audio backend called {name}", hint=f"there are: {', '.join(BACKENDS)}")
