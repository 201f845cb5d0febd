"""A window of audio recognized with faster-whisper: one encoding, the words that continue the prefix, and their times.

The encoder gets the window alone, and not 30 s, so a short window is cheap. The decoder is greedy and starts after the
committed tokens, so only new words are generated. The times are those of CTranslate2's aligner, on the same encoding.
"""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.errors import ScaError, UsageError
from sca.infer.recognition.hypotheses import HeardWord, Hypothesis, WindowDecoder, WindowPrompt, repeat_start
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import ctranslate2
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

__all__ = ["WhisperWindowDecoder"]

_FEATURE_SAMPLES = 160
_PAD_SAMPLES = HEARD_HZ // 2
"""Silence after the window, without which the last word is often lost."""
_MAX_TOKENS = 448  # of the decoder, with its prompt
_TOKENS_PER_S, _FREE_TOKENS = 7, 6
"""The most tokens of new audio: fast English has 5 per second. A loop of the decoder ends there."""
_MORE_TOKENS = 4
"""The factor for speech that has more: a syllable of some scripts is several tokens."""
_SHORTEST_WORD_S = 0.12
"""A repetition is spoken if there is this much sound for each of its words."""
_MIN_LANGUAGE_SAMPLES = HEARD_HZ
_MAX_NO_SPEECH, _MIN_AVG_LOGPROB = 0.6, -1.0
"""Whisper's own thresholds for a window without speech (openai/whisper, `transcribe`)."""
_OPENING = "\"'“¿([{-"
_CLOSING = "\"'.。,，!！?？:：”)]}、"


class _TimedWord(TypedDict):
    word: str
    tokens: list[int]
    start: float
    end: float
    probability: float


class _Generated(Protocol):
    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float


class WhisperWindowDecoder(WindowDecoder):
    """The decoder of one stream; streams may share a model.

    Args:
        model: The loaded model.
        language: The language code; None detects it in the first window of at least 1 s.

    Raises:
        UsageError: The model does not support the language.
    """

    def __init__(self, model: "WhisperModel", language: str | None) -> None:
        if language is not None and language not in model.supported_languages:
            raise UsageError(
                f"the model does not support the language {language!r}",
                hint=f"one of {', '.join(model.supported_languages[:12])}, …; without a language, it is detected",
            )
        self._model = model
        is_known = language is not None or not model.model.is_multilingual
        self._tokenizer = _tokenizer(model, language) if is_known else None

    @override
    def decode(self, window: NDArray[np.float32], prompt: WindowPrompt) -> Hypothesis:
        try:
            return self._decode(window, prompt)
        except RuntimeError as error:  # CTranslate2's only class: out of memory, a lost device, a broken model
            raise ScaError(f"the recognizer failed: {error}") from error

    def _decode(self, window: NDArray[np.float32], prompt: WindowPrompt) -> Hypothesis:
        padded = np.concatenate([window, np.zeros(_PAD_SAMPLES, np.float32)])
        encoded = self._model.encode(self._model.feature_extractor(padded)[..., :-1])
        tokenizer = self._tokenizer or self._detected(encoded, len(window))
        for more in (1, _MORE_TOKENS):  # languages differ in their tokens per second
            generated, is_cut = self._generated(encoded, tokenizer, prompt, more)
            tokens = [*prompt.prefix, *generated]
            words = self._aligned(encoded, tokenizer, tokens, len(window))
            first = _word_at(words, len(prompt.prefix))
            count = repeat_start([word.text for word in words], first)
            if count < len(words) or not is_cut:
                break
        if count < len(words):
            kept = self._aligned(encoded, tokenizer, [*chain(*(word.tokens for word in words[:count]))], len(window))
            spoken_s = (prompt.speech_end_sample - max(word.end_sample for word in kept)) / HEARD_HZ
            if spoken_s < _SHORTEST_WORD_S * (len(words) - count):
                return Hypothesis(kept[first:])
        return Hypothesis(words[first:-1] if is_cut else words[first:])  # the last word may be incomplete

    def _generated(
        self, encoded: "ctranslate2.StorageView", tokenizer: "Tokenizer", prompt: WindowPrompt, more: int
    ) -> tuple[list[int], bool]:
        """Return the tokens after the prefix, and whether there are more than the limit allows, which `more` widens."""
        before = [tokenizer.sot_prev, *prompt.context] if prompt.context else []
        special = [*before, *tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = len(prompt.prefix) + more * (_FREE_TOKENS + prompt.open_samples * _TOKENS_PER_S // HEARD_HZ)
        limit = min(limit, (_MAX_TOKENS - len(prompt.context)) // 2)
        results: list[_Generated] = self._model.model.generate(
            encoded,
            [[*special, *prompt.prefix]],
            beam_size=1,
            # CTranslate2 generates min(max_length / 2, max_length - special tokens), of which the prefix is a part.
            max_length=max(2 * limit, len(special) + limit),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=not prompt.prefix,
            suppress_tokens=[-1],
        )
        found = results[0]
        if found.no_speech_prob > _MAX_NO_SPEECH and found.scores[0] < _MIN_AVG_LOGPROB:
            return [], False
        tokens = found.sequences_ids[0]
        return [token for token in tokens[len(prompt.prefix) :] if token < tokenizer.eot], len(tokens) >= limit

    def _aligned(
        self, encoded: "ctranslate2.StorageView", tokenizer: "Tokenizer", tokens: list[int], samples: int
    ) -> tuple[HeardWord, ...]:
        """Return the words of all tokens, with their times in the window."""
        from faster_whisper.transcribe import merge_punctuations

        if not tokens:
            return ()
        timed: list[_TimedWord]
        (timed,) = self._model.find_alignment(tokenizer, [tokens], encoded, samples // _FEATURE_SAMPLES)
        merge_punctuations(timed, _OPENING, _CLOSING)
        words = []
        for word in timed:
            start, end = (min(max(int(time_s * HEARD_HZ), 0), samples) for time_s in (word["start"], word["end"]))
            if word["tokens"]:  # punctuation is merged into the word beside it
                words.append(HeardWord(word["word"], tuple(word["tokens"]), start, end, float(word["probability"])))
        return tuple(words)

    def _detected(self, encoded: "ctranslate2.StorageView", samples: int) -> "Tokenizer":
        ((found, *_),) = self._model.model.detect_language(encoded)
        tokenizer = _tokenizer(self._model, found[0].strip("<|>"))
        if samples >= _MIN_LANGUAGE_SAMPLES:
            self._tokenizer = tokenizer
        return tokenizer


def _word_at(words: Sequence[HeardWord], tokens: int) -> int:
    """Return the number of the first word that starts after so many tokens."""
    starts = accumulate((len(word.tokens) for word in words), initial=0)
    return next((number for number, start in enumerate(starts) if start >= tokens), len(words))


def _tokenizer(model: "WhisperModel", language: str | None) -> "Tokenizer":
    from faster_whisper.tokenizer import Tokenizer

    return Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language)
