"""The engine kokoro: the 54 voices of Kokoro-82M, run with onnxruntime, with phonemes from espeak-ng.

The model is in the catalogue (`sca models get kokoro`). Its training used other phonemisers (misaki) for most texts.
Phonemes of espeak-ng are converted to their notation. Japanese and Chinese are spoken with an accent, because
espeak-ng's phonemes of these languages differ more.
"""

from collections.abc import Sequence

from typing_extensions import override

from sca.config import Settings
from sca.errors import unknown_name
from sca.infer.speech.base import SpeechEngine, SpeechVoice, VoiceInfo
from sca.infer.speech.espeak_library import EspeakLibrary, load_library
from sca.infer.speech.kokoro_model import MARKS, RATE_HZ, KokoroModel
from sca.infer.speech.kokoro_symbols import notation
from sca.infer.speech.phoneme_voice import PhonemeVoice, Rendered
from sca.models import models, resolve

__all__ = ["KokoroEngine", "load"]

_MODEL, _DEFAULT_VOICE = "kokoro", "af_heart"
_FOLDER, _SUFFIX = "voices/", ".bin"
_LANGUAGES = {
    "a": "en-us",
    "b": "en-gb",
    "e": "es",
    "f": "fr-fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-br",
    "z": "cmn",
}
"""The language of a voice, by the first letter of its name, as a voice of espeak-ng."""
_SEXES = {"f": "female", "m": "male"}


def load(settings: Settings) -> "KokoroEngine":
    """Return the engine; the model is loaded when a voice is opened."""
    return KokoroEngine()


class KokoroEngine(SpeechEngine):
    """Voices of Kokoro-82M. Voices that are open at the same time share the model."""

    name = "kokoro"
    default_voice = _DEFAULT_VOICE

    def __init__(self) -> None:
        self._model: KokoroModel | None = None

    @override
    def voices(self) -> Sequence[VoiceInfo]:
        files = [file.path for file in models()[_MODEL].files if file.path.startswith(_FOLDER)]
        return [_info(path.removeprefix(_FOLDER).removesuffix(_SUFFIX)) for path in sorted(files)]

    def check(self) -> None:
        """Return if espeak-ng and the model are here; raise `MissingToolError` otherwise."""
        load_library()
        resolve(f"pkg:{_MODEL}")

    @override
    def open(self, voice: str | None = None) -> SpeechVoice:
        name = voice or _DEFAULT_VOICE
        known = {info.name: info.language for info in self.voices()}
        if name not in known:
            raise unknown_name(f"the engine kokoro has no voice {name}", name, known, all_in="sca say --list")
        library = load_library()
        folder = resolve(f"pkg:{_MODEL}")
        assert folder is not None
        if self._model is None:
            self._model = KokoroModel(folder / "model.onnx")
        model = self._model.with_voice(folder / f"{_FOLDER}{name}{_SUFFIX}")
        return _KokoroVoice(library, known[name], model)


def _info(name: str) -> VoiceInfo:
    language, sex = _LANGUAGES[name[0]], _SEXES[name[1]]
    return VoiceInfo(name, language, f"{name[3:].capitalize()}, {sex}")


class _KokoroVoice(PhonemeVoice):
    def __init__(self, library: EspeakLibrary, language: str, model: KokoroModel) -> None:
        super().__init__(library, language, RATE_HZ, marks=MARKS)
        self._model = model

    @override
    def render(self, symbols: Sequence[str], owners: Sequence[int]) -> Rendered:
        written, owners = notation(symbols, owners, self._language)
        audio, starts = self._model.synthesise(written, self.run)
        return audio, starts, owners
