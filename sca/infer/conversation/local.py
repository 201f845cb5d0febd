"""Which parts of a conversation are on this machine, and settings that use no other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sca.errors import MissingToolError, ScaError
from sca.models import find, models, resolve

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["PartStatus", "offline_settings", "part_statuses"]

_RECOGNIZERS = ("whisper-base", "whisper-tiny-en")
_LOCAL_VOICES = ("piper", "kokoro", "espeak")


@dataclass(frozen=True, slots=True)
class PartStatus:
    """Whether a part can be used.

    Attributes:
        part: What the part does.
        name: The part that the settings select.
        problem: Why it cannot be used; None if it can.
        fix: What to do about it.
    """

    part: str
    name: str
    problem: str | None = None
    fix: str | None = None


def offline_settings(settings: "Settings") -> "Settings":
    """Return settings with a recognizer, a language model, a voice and a turn model that work without a network.

    Models that the settings name are used if they are in the catalogue or are paths; otherwise those of the catalogue
    that are on this machine.
    """
    from sca.infer.speech.registry import split_voice

    recognition = settings.recognition
    is_local = find(recognition.model) is not None or Path(recognition.model).exists()
    recognizer = recognition.model if is_local and _is_here(recognition.model) else _first_here(_RECOGNIZERS)
    llm, voice, turn_model = settings.llm, settings.chat.voice, settings.live.turn_model
    is_local_llm = llm.model is not None and (find(llm.model) is not None or llm.model.endswith(".gguf"))
    speaks_here = voice is not None and split_voice(voice)[0] in _LOCAL_VOICES
    if turn_model is None or turn_model.startswith(("http://", "https://")):
        turn_model = "auto" if find_spec("pipecat") and settings.turn.model_id is None else None
    changes: dict[str, dict[str, object]] = {
        "recognition": {"engine": "whisper", "model": recognizer},
        "llm": {"base_url": None, "model": llm.model if is_local_llm else None},
        "chat": {"voice": voice if speaks_here else None},
        "live": {"turn_model": turn_model},
    }
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=change) for name, change in changes.items()}
    )


def _is_here(model: str) -> bool:
    try:
        resolve(model)
    except MissingToolError:
        return False
    return True


def _first_here(names: tuple[str, ...]) -> str:
    return next((name for name in names if name in models() and _is_here(name)), names[0])


def part_statuses(settings: "Settings") -> Iterator[PartStatus]:
    """Yield the parts that the settings select. Models are looked up, and servers are not contacted."""
    recognition, llm = settings.recognition, settings.llm
    is_whisper = recognition.engine == "whisper"
    hears = recognition.model if is_whisper else recognition.base_url or recognition.engine
    yield _status(
        "recognizer", f"{recognition.engine} {hears}", lambda: resolve(recognition.model) if is_whisper else None
    )
    yield _status("language model", llm.base_url or llm.model or "smollm2", lambda: _check_llm(settings))
    yield _status("voice", settings.chat.voice or "the best one", lambda: _check_voice(settings))
    turns = settings.live.turn_model
    yield _status("end of turn", turns or "silence", lambda: _check_turns(settings))


def _status(part: str, name: str, check: Callable[[], object]) -> PartStatus:
    try:
        check()
    except ScaError as error:
        return PartStatus(part, name, error.message, error.hint)
    return PartStatus(part, name)


def _check_llm(settings: "Settings") -> None:
    from sca.infer.language.chat_api import chat_url
    from sca.infer.language.llama_server import check_local

    if settings.llm.base_url is not None:
        chat_url(settings.llm.base_url)
    else:
        check_local(settings.llm.model, settings.paths.resolved_cache_dir)


def _check_voice(settings: "Settings") -> None:
    from sca.infer.speech.registry import check_voice, split_voice

    check_voice(*split_voice(settings.chat.voice or ""), settings)


def _check_turns(settings: "Settings") -> None:
    from sca.infer.turn.models.weights import bundled_file

    if settings.live.turn_model == "auto" and settings.turn.model_id is None:
        bundled_file()
