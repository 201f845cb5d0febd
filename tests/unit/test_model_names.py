"""A model of the catalogue is accepted wherever a model is named: by its bare name, and with `pkg:`."""

import pytest

from sca.config import ChatConfig, DuplexConfig, LlmConfig, Settings, load_settings
from sca.config.sections.recognition import RecognitionConfig
from sca.data.duplex.align.registry import load_aligner
from sca.data.media.enhancers import load_enhancer
from sca.data.reactions.registry import load_detector
from sca.data.speakers.registry import load_speaker
from sca.data.speakers.windows import load_window_model
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.errors import InputError, MissingToolError, UsageError
from sca.infer.conversation.local import offline_settings, part_statuses
from sca.infer.language.llama_server import check_local
from sca.infer.language.registry import load_language_model
from sca.infer.recognition.whisper import WhisperEngine
from sca.infer.speech.registry import open_voice, split_voice
from sca.infer.turn.models.weights import find_weights
from sca.synth.voices import Voices, parse_voices


def parts(section, **values):
    """The parts of a conversation, which `sca chat` and the engine cascade of `sca live` and `sca serve` load."""
    usual = {"recognition": {"model": "whisper-tiny-en"}, "chat": {"voice": "piper"}, "llm": {}}
    changed = {name: options | (values if name == section else {}) for name, options in usual.items()}
    settings = load_settings()
    sections = {name: getattr(settings, name).model_copy(update=options) for name, options in changed.items()}
    statuses = part_statuses(settings.model_copy(update=sections))
    status = next(one for one in statuses if one.part == PARTS[section])
    if status.problem is not None:
        raise MissingToolError(status.problem, hint=status.fix)


def aligner(name):
    return load_aligner(Settings(duplex=DuplexConfig(align="whisper", align_model=name)))


def open_first(names):
    with Voices(16_000) as voices:
        return voices.open(names[0])


PARTS = {"recognition": "recognizer", "llm": "language model", "chat": "voice"}
DOORS = {
    "transcribe --model": ("whisper-base", lambda name: Recognizer(RecognizerOptions(name, "cpu"))),
    "transcribe --reactions": ("yamnet", load_detector),
    "transcribe --diarize": ("dvector", load_window_model),
    "build-duplex --speaker": ("dvector", load_speaker),
    "build-duplex --align-model": ("whisper-base", aligner),
    "convert --enhance": ("dtln", load_enhancer),
    "recognition.model": ("whisper-base", lambda name: WhisperEngine(RecognitionConfig(model=name))),
    "llm.model": ("smollm2", lambda name: load_language_model(LlmConfig(model=name))),
    "chat --llm": ("smollm2", check_local),
    "live: recognition.model": ("whisper-tiny-en", lambda name: parts("recognition", model=name)),
    "live: llm.model": ("smollm2", lambda name: parts("llm", model=name)),
    "live: chat.voice": ("piper-joe", lambda name: parts("chat", voice=name)),
    "live: chat.voice with the engine": ("piper-joe", lambda name: parts("chat", voice=f"piper:{name}")),
    "say --voice": ("piper-joe", lambda name: open_voice(None, name)),
    "say --engine --voice": ("piper-joe", lambda name: open_voice("piper", name)),
    "say --voice kokoro": ("kokoro", lambda name: open_voice(*split_voice(name))),
    "synth --voices": ("piper-joe", lambda name: open_first(parse_voices(f"{name},espeak:en-us"))),
}
SAME = {"live: chat.voice with the engine", "say --engine --voice"}
"""Doors that open a voice as others do."""
SLOW = {
    *("say --voice", "say --voice kokoro", "synth --voices", "live: chat.voice"),
    *("transcribe --model", "recognition.model", "build-duplex --align-model"),
}
"""Doors that load for a second or more. One form of the name is enough where the model is there."""


@pytest.mark.parametrize("prefix", ["", "pkg:"])
@pytest.mark.parametrize("door", DOORS)
def test_name_that_was_not_fetched_names_the_command(door, prefix, tmp_path, monkeypatch):
    """Without the model, every door knows that the name is of the catalogue, and how to fetch it."""
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    name, load = DOORS[door]
    with pytest.raises(MissingToolError) as caught:
        load(f"{prefix}{name}")
    assert f"sca models get {name}" in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.weights
@pytest.mark.parametrize("door", sorted(DOORS.keys() - SAME))
def test_name_of_a_model_that_is_there_is_accepted(door, weights, tmp_path, monkeypatch):
    name, load = DOORS[door]
    for needed in {name, "whisper-tiny-en"}:
        weights(needed)
    monkeypatch.chdir(tmp_path)
    for prefix in ("pkg:",) if door in SLOW else ("", "pkg:"):
        if door == "build-duplex --speaker":  # rows have embeddings of another length
            with pytest.raises(InputError, match=r"embedder\.int8\.onnx is not a speaker model"):
                load(f"{prefix}{name}")
        else:
            load(f"{prefix}{name}")


@pytest.mark.parametrize("text", ["pkg:whisper-base", "pkg:yamnet"])
def test_model_that_is_no_voice_is_refused(text):
    for door in (split_voice, lambda name: open_voice(None, name), lambda name: parse_voices(f"{name},espeak")):
        with pytest.raises(UsageError, match=f"the model {text.removeprefix('pkg:')} is not a voice"):
            door(text)


@pytest.mark.parametrize("door", DOORS)
def test_name_that_is_not_in_the_catalogue_is_refused(door):
    with pytest.raises(UsageError if not door.startswith("live:") else MissingToolError, match="no model 'nope'"):
        DOORS[door][1]("pkg:nope")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (None, None)),
        ("piper", ("piper", None)),
        ("kokoro", ("kokoro", None)),
        ("piper-joe", ("piper", "piper-joe")),
        ("pkg:piper-joe", ("piper", "piper-joe")),
        ("piper:pkg:piper-joe", ("piper", "piper-joe")),
        ("pkg:kokoro", ("kokoro", None)),
        ("kokoro:bf_emma", ("kokoro", "bf_emma")),
        ("espeak:en-us+m3", ("espeak", "en-us+m3")),
        ("openai:yamnet", ("openai", "yamnet")),
    ],
)
def test_engine_and_voice_of_a_text(text, found):
    assert split_voice(text) == found


def test_voice_of_the_catalogue_stays_in_offline_settings():
    settings = Settings(chat=ChatConfig(voice="pkg:piper-joe"))
    assert offline_settings(settings).chat.voice == "pkg:piper-joe"


@pytest.mark.parametrize(
    ("name", "message"), [("pkg:nope", "no model 'nope'"), ("pkg:yamnet", "yamnet is not a turn model")]
)
def test_turn_model_is_no_model_of_the_catalogue(name, message):
    with pytest.raises(UsageError, match=message):
        find_weights(name)


def test_default_voice_of_piper_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    with pytest.raises(MissingToolError) as caught:
        open_voice("piper")
    assert "sca models get piper-joe" in f"{caught.value.message} {caught.value.hint}"
