"""Load an audio backend by name."""

from sca.errors import UsageError
from sca.infer.audio_io.base import AudioBackend
from sca.infer.audio_io.quiet import silence_libraries

__all__ = ["BACKENDS", "load_backend"]


BACKENDS = ("miniaudio", "sounddevice")


def load_backend(name: str) -> AudioBackend:
    """Load the backend with a name.

    Raises:
        UsageError: The name is unknown.
        MissingToolError: The backend is not installed.
    """
    silence_libraries()
    if name == "miniaudio":
        from sca.infer.audio_io.miniaudio import MiniaudioBackend

        return MiniaudioBackend()
    if name == "sounddevice":
        from sca.infer.audio_io.sounddevice import SounddeviceBackend

        return SounddeviceBackend()
    raise UsageError(f"audio backend {name} does not exist", hint=f"available: {', '.join(BACKENDS)}")
