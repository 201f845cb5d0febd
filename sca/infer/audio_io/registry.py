"""Load an audio backend by name."""

from sca.errors import unknown_name
from sca.infer.audio_io.base import AudioBackend
from sca.infer.audio_io.quiet import silence_libraries

__all__ = ["BACKENDS", "check_backend", "load_backend"]


BACKENDS = ("miniaudio", "sounddevice")


def check_backend(name: str) -> None:
    """Return if a backend has the name.

    Raises:
        UnknownNameError: None has it.
    """
    if name not in BACKENDS:
        raise unknown_name(f"audio backend {name} does not exist", name, BACKENDS)


def load_backend(name: str) -> AudioBackend:
    """Load the backend with a name.

    Raises:
        UnknownNameError: The name is unknown.
        MissingToolError: The backend is not installed.
    """
    check_backend(name)
    silence_libraries()
    if name == "miniaudio":
        from sca.infer.audio_io.miniaudio import MiniaudioBackend

        return MiniaudioBackend()
    from sca.infer.audio_io.sounddevice import SounddeviceBackend

    return SounddeviceBackend()
