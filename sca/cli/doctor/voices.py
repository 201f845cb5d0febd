"""Checks of `sca doctor` for speech and conversation: espeak-ng, the engine csm, and the server of a local language model."""

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sca.cli.doctor.checks import Check, Status
from sca.distribution import install_extra
from sca.errors import MissingToolError

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["csm", "espeak_ng", "llama_cpp"]


def espeak_ng() -> Check:
    """Check the library of espeak-ng, which speaks, and gives the phonemes of the engines piper and kokoro."""
    from sca.infer.speech.espeak_api import open_espeak

    use = "the voices of sca say, sca chat and sca synth"
    try:
        version = open_espeak().espeak_Info(None)
    except MissingToolError as error:
        return Check("espeak-ng", Status.warn, f"not installed: {use} need it", error.hint)
    return Check("espeak-ng", Status.ok, f"{(version or b'').decode(errors='replace').split()[0]}: {use}")


def llama_cpp() -> Check:
    """Check the package of the llama.cpp server, which is the extra `llm`."""
    use = "the local language model of sca chat, sca synth --topic and the engine cascade"
    try:
        return Check("llama.cpp", Status.ok, f"xllamacpp {metadata.version('xllamacpp')}: {use}")
    except metadata.PackageNotFoundError:
        fix = install_extra("llm")
        return Check("llama.cpp", Status.warn, f"xllamacpp is not installed: no server for {use}", fix)


def csm(settings: "Settings") -> Check:
    """Check the packages of the engine csm, which are the extra `speech`, and its model, which is optional."""
    from sca.infer.speech.registry import engine_state

    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        fix = install_extra("speech")
        return Check("engine csm", Status.warn, f"missing: {', '.join(missing)}", fix)
    state = engine_state("csm", settings)
    found = "ready" if state.problem is None else f"{state.problem} ({state.hint})"
    return Check("engine csm", Status.ok, f"packages are here; {found}")
