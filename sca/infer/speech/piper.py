"""The engine piper: neural voices of Piper, run with onnxruntime, with phonemes from espeak-ng.

The code of Piper (GPL-3) is not used. A voice is a model of the catalogue (`sca models get piper-joe`) or the path of an
ONNX file in the format of Piper.
"""

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from sca.config import Settings
from sca.errors import InputError, unknown_name
from sca.infer.speech.base import SpeechEngine, SpeechVoice, VoiceInfo
from sca.infer.speech.espeak_library import EspeakLibrary, load_library
from sca.infer.speech.phoneme_voice import PhonemeVoice, Rendered
from sca.infer.speech.piper_model import PiperModel
from sca.models import models, resolve

__all__ = ["PiperEngine", "load"]

_DEFAULT_VOICE = "piper-joe"
_PREFIX, _SUFFIX = "piper-", ".onnx"
_MARKS = ".,;:!?"


def load(settings: Settings) -> "PiperEngine":
    """Return the engine; a model is loaded when a voice is opened."""
    return PiperEngine()


class PiperEngine(SpeechEngine):
    """Voices in the format of Piper. Voices that are open at the same time share the model."""

    name = "piper"
    default_voice = _DEFAULT_VOICE

    def __init__(self) -> None:
        self._models: dict[Path, PiperModel] = {}

    @override
    def voices(self) -> Sequence[VoiceInfo]:
        found = [model for name, model in models().items() if name.startswith(_PREFIX)]
        return [VoiceInfo(model.name, "en-us", model.title) for model in found]

    def check(self) -> None:
        """Return if espeak-ng and the default voice are here; raise `MissingToolError` otherwise."""
        load_library()
        resolve(f"pkg:{_DEFAULT_VOICE}")

    @override
    def open(self, voice: str | None = None) -> SpeechVoice:
        name = voice or _DEFAULT_VOICE
        library = load_library()
        if name.endswith(_SUFFIX):
            if not Path(name).is_file():
                raise InputError(f"{name} does not exist", hint="give the path of a Piper voice in ONNX")
            return _PiperVoice(library, self._model(Path(name)))
        names = [info.name for info in self.voices()]
        if name not in names:
            raise unknown_name(f"the engine piper has no voice {name}", name, names)
        folder = resolve(f"pkg:{name}")
        assert folder is not None
        return _PiperVoice(library, self._model(next(folder.glob(f"*{_SUFFIX}"))))

    def _model(self, path: Path) -> PiperModel:
        if path not in self._models:
            self._models[path] = PiperModel(path)
        return self._models[path]


class _PiperVoice(PhonemeVoice):
    def __init__(self, library: EspeakLibrary, model: PiperModel) -> None:
        super().__init__(library, model.language, model.sample_rate, marks=_MARKS)
        self._model = model

    @override
    def render(self, symbols: Sequence[str], owners: Sequence[int]) -> Rendered:
        audio, starts = self._model.synthesise(symbols, self.run)
        return audio, starts, owners
