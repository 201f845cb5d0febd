"""`sca say --list`: the engines with their state, and their voices."""

from sca.cli.shared.console import emit_json, print_line
from sca.config import Settings
from sca.infer.speech.base import VoiceInfo
from sca.infer.speech.registry import EngineState, engine_state, load_speech_engine, speech_engine_names

__all__ = ["list_voices"]


def list_voices(engine: str | None, settings: Settings, *, json: bool) -> None:
    """Write the list to stdout.

    Args:
        engine: The only engine to list; None lists all.
        settings: The settings of the engines.
        json: Whether to write one JSON document.

    Raises:
        ScaError: The engine that is named is not ready.
    """
    if engine is not None:
        load_speech_engine(engine, settings).voices()  # raises what is missing
    states = [engine_state(name, settings) for name in ([engine] if engine else speech_engine_names())]
    rows = [(state.name, voice) for state in states for voice in _voices(state, settings)]
    if json:
        engines = [{"engine": s.name, "ready": s.problem is None, "problem": s.problem, "hint": s.hint} for s in states]
        voices = [{"engine": n, "voice": v.name, "language": v.language, "title": v.title} for n, v in rows]
        emit_json({"engines": engines, "voices": voices}, "list")
        return
    for state in states:
        print_line(f"{state.name:<8} {_line(state)}")
    print_line("")
    for name, info in rows:
        print_line(f"{name:<8} {info.name:<22} {info.language:<16} {info.title}")


def _line(state: EngineState) -> str:
    return "ready" if state.problem is None else f"not ready: {state.problem}; {state.hint or ''}".rstrip("; ")


def _voices(state: EngineState, settings: Settings) -> list[VoiceInfo]:
    """Return the voices of an engine; none if it must be ready to list them, and is not."""
    from sca.errors import MissingToolError

    try:
        return list(load_speech_engine(state.name, settings).voices())
    except MissingToolError:
        return []
