"""A model of the catalogue is accepted wherever a model is named: by its bare name, and with `pkg:`."""

import pytest

from sca.config import DuplexConfig, LlmConfig, Settings
from sca.config.sections.recognition import RecognitionConfig
from sca.data.duplex.align.registry import load_aligner
from sca.data.media.enhancers import load_enhancer
from sca.data.reactions.registry import load_detector
from sca.data.speakers.registry import load_speaker
from sca.data.speakers.windows import load_window_model
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.errors import MissingToolError
from sca.infer.language.llama_server import check_local
from sca.infer.language.registry import load_language_model
from sca.infer.recognition.whisper import WhisperEngine
from sca.infer.speech.registry import open_voice


def aligner(name):
    return load_aligner(Settings(duplex=DuplexConfig(align="whisper", align_model=name)))


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
}


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


def test_default_voice_of_piper_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    with pytest.raises(MissingToolError) as caught:
        open_voice("piper")
    assert "sca models get piper-joe" in f"{caught.value.message} {caught.value.hint}"
