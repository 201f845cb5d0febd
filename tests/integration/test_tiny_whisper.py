"""The scripted Whisper returns its sentence from faster-whisper's pipelines, with times of the words."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.tiny_whisper import SENTENCE, scripted_whisper

RATE_HZ = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_whisper(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("batched", [False, True])
def test_model_transcribes_its_sentence_with_times(folder: Path, batched: bool) -> None:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=2)
    sound = np.random.default_rng(0).normal(0, 0.1, 5 * RATE_HZ).astype(np.float32)
    options = {"language": "en", "word_timestamps": True, "beam_size": 1}
    if batched:
        clips = [{"start": 0.0, "end": 5.0}]
        found, _ = BatchedInferencePipeline(model).transcribe(
            sound, vad_filter=False, clip_timestamps=clips, without_timestamps=False, **options
        )
    else:
        found, _ = model.transcribe(sound, condition_on_previous_text=False, **options)
    first = next(iter(found))
    assert first.text == SENTENCE
    assert [word.word.strip() for word in first.words] == SENTENCE.split()
    assert all(0 <= word.start <= word.end <= 5.0 for word in first.words)


def test_each_sentence_has_one_model(folder: Path, tmp_path: Path) -> None:
    from faster_whisper import WhisperModel

    other = scripted_whisper(tmp_path, " Good night.", 2.0)
    assert scripted_whisper(tmp_path) == folder != other
    model = WhisperModel(str(other), device="cpu", compute_type="float32", cpu_threads=2)
    sound = np.zeros(3 * RATE_HZ, np.float32)
    found, _ = model.transcribe(
        sound,
        language="en",
        beam_size=1,
        condition_on_previous_text=False,
        no_speech_threshold=None,
    )
    first = next(iter(found))
    assert (first.text, first.end) == (" Good night.", 2.0)
