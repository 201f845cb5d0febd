"""Word times from a CTC model (such as wav2vec 2.0): the best path of the known text through the model's emissions.

`best_path` needs numpy only. The model needs transformers and torch (extra `live`) and runs on the CPU.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.spans import Span
from sca.data.duplex.rows.text import split_words
from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, UpstreamError
from sca.models.pinned import revision_of
from sca.textutil import first_line
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from transformers import PreTrainedModel, SequenceFeatureExtractor

__all__ = ["CtcAligner", "best_path"]


def best_path(log_probs: NDArray[np.float32], labels: Sequence[int], blank: int) -> list[tuple[int, int]] | None:
    """Find the most probable CTC path of a label sequence.

    Blanks are allowed between labels and at both ends, and required between equal labels. All states advance by one
    frame at a time; memory is frames × labels × 2 bytes.

    Args:
        log_probs: Log probabilities `(frames, vocabulary)`.
        labels: The labels, without blanks.
        blank: The blank label.

    Returns:
        The frames `[first, last)` of each label, or None if there are too few frames.
    """
    frames, count = len(log_probs), len(labels)
    repeats = sum(a == b for a, b in pairwise(labels))
    if not count or frames < count + repeats:
        return None
    states = np.full(2 * count + 1, blank, np.int64)
    states[1::2] = labels
    steps, score = _viterbi(log_probs, states)
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    if not np.isfinite(score[state]):
        return None
    first, last = [0] * count, [0] * count
    for frame in range(frames - 1, -1, -1):
        if state % 2:
            first[state // 2] = frame
            last[state // 2] = max(last[state // 2], frame + 1)
        state -= int(steps[frame, state])
    return list(zip(first, last, strict=True))


def _viterbi(log_probs: NDArray[np.float32], states: NDArray[np.int64]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return how many states the best step to each state in each frame advances, and the final score of each state."""
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf, np.float64)
    score[:2] = log_probs[0, states[:2]]
    steps = np.zeros((len(log_probs), len(states)), np.int8)
    options = np.empty((3, len(states)))
    for frame in range(1, len(log_probs)):
        options[0] = score
        options[1, 0] = options[2, :2] = -np.inf
        options[1, 1:] = score[:-1]
        options[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        steps[frame] = options.argmax(axis=0)
        score = options.max(axis=0) + log_probs[frame, states]
    return steps, score


class CtcAligner:
    """Aligns with a CTC model that has letters as its vocabulary.

    Args:
        model: A hub id or a folder.
        cache_dir: The folder for downloaded models.

    Raises:
        MissingToolError: torch or transformers is not installed.
        UpstreamError: The model cannot be loaded.
        InputError: The model is not a CTC model.
    """

    def __init__(self, model: str, cache_dir: str | None = None) -> None:
        try:
            import torch
            from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer
        except ImportError as error:
            raise MissingToolError(
                f"--align ctc needs torch and transformers ({error.name} is not installed)", hint=install_extra("live")
            ) from error
        self._torch = torch
        try:
            revision = revision_of(model, cache_dir=cache_dir)
            self._model: PreTrainedModel = AutoModelForCTC.from_pretrained(
                model, revision=revision, cache_dir=cache_dir, trust_remote_code=False
            ).eval()
            self._features: SequenceFeatureExtractor = AutoFeatureExtractor.from_pretrained(
                model, revision=revision, cache_dir=cache_dir, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(
                model, revision=revision, cache_dir=cache_dir, trust_remote_code=False
            )
        except OSError as error:
            raise UpstreamError(
                f"the CTC model {model} cannot be loaded: {first_line(error)}",
                hint="give a hub id or a folder with --align-model",
            ) from error
        except ValueError as error:
            raise InputError(
                f"{model} is not a CTC model: {first_line(error)}", hint="give another with --align-model"
            ) from error
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._ids = {text: i for text, i in vocabulary.items() if len(text) == 1}
        self._blank = int(self._model.config.pad_token_id)
        self._delimiter = self._ids.get(getattr(tokenizer, "word_delimiter_token", None) or "|")
        self._hop = int(self._model.config.inputs_to_logits_ratio)

    def align(self, text: str, audio: NDArray[np.float32]) -> list[Span | None] | None:
        """Find the words of a text, see `WordAligner.align`. Words without letters of the vocabulary are not found."""
        labels, words = self._labels(text)
        if not labels:
            return None
        with self._torch.inference_mode():
            inputs = self._features(audio, sampling_rate=HEARD_HZ, return_tensors="pt")
            logits = self._model(inputs.input_values).logits[0]
            log_probs = self._torch.log_softmax(logits.float(), dim=-1).numpy()
        path = best_path(log_probs, labels, self._blank)
        if path is None:
            return None
        spans: list[Span | None] = [None] * len(split_words(text))
        for (first, last), word in zip(path, words, strict=True):
            if word is not None:
                before = spans[word]
                start = first * self._hop if before is None else before[0]
                spans[word] = (start, min(last * self._hop, len(audio)))
        return spans

    def _labels(self, text: str) -> tuple[list[int], list[int | None]]:
        """Return the labels of a text, and the word that each belongs to (None for a word delimiter)."""
        labels: list[int] = []
        words: list[int | None] = []
        for word, (start, end) in enumerate(split_words(text)):
            ids = [i for letter in text[start:end] if (i := self._id(letter)) is not None]
            if ids and labels and self._delimiter is not None:
                labels.append(self._delimiter)
                words.append(None)
            labels += ids
            words += [word] * len(ids)
        return labels, words

    def _id(self, letter: str) -> int | None:
        """Return the id of a letter in the case that the vocabulary has."""
        for form in (letter, letter.upper(), letter.lower()):
            if form in self._ids and self._ids[form] not in (self._blank, self._delimiter):
                return self._ids[form]
        return None
