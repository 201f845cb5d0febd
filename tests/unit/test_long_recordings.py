"""Recordings that are read and recognized in parts: the results are those of the whole."""

import itertools

import faster_whisper.vad
import numpy as np
import pytest
import soundfile
from faster_whisper.vad import VadOptions, get_speech_timestamps

from sca.audio import decode
from sca.audio import samples as samples_module
from sca.audio.samples import SampleFile, read_samples
from sca.cli.shared import progress as progress_module
from sca.cli.shared.progress import audio_progress
from sca.data.reactions import energy, tagger
from sca.data.reactions.energy import EnergyDetector
from sca.data.runs.progress import ItemProgress
from sca.data.transcription.hallucinations import Evidence, RecognizedWord
from sca.data.transcription.speech import JoinedSpeech, SpeechDetector, detect_speech, speech_spans
from sca.data.transcription.windows import PartialWork, WindowResult, cut_at_pauses
from sca.errors import InputError

HZ = 16_000


def theirs(samples):
    options = VadOptions(max_speech_duration_s=29.2, min_silence_duration_ms=160, speech_pad_ms=0)
    return [(int(span["start"]), int(span["end"])) for span in get_speech_timestamps(samples, options)]


@pytest.mark.parametrize("seed", range(20))
def test_speech_spans_are_those_of_faster_whisper(monkeypatch, seed):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, draw.choice([3, 6, 12, 1500], 200) + 1)
    values = draw.choice([0.0, 0.2, 0.34, 0.35, 0.4, 0.5, 0.9], 200, p=[0.2, 0.1, 0.05, 0.05, 0.1, 0.1, 0.4])
    probabilities = np.repeat(values, lengths).astype(np.float32)
    total = len(probabilities) * 512 - int(draw.integers(1, 512))
    monkeypatch.setattr(faster_whisper.vad, "get_vad_model", lambda: lambda audio: probabilities)
    expected = theirs(np.zeros(total, np.float32))
    assert len(expected) > 5
    assert speech_spans(probabilities, total) == expected


@pytest.mark.parametrize("length", [0, 100, 512, 513, 512 * 300, 512 * 300 + 460])
def test_detector_in_blocks_finds_what_faster_whisper_finds(speech_with_pauses, length):
    samples = speech_with_pauses[:length]
    detector = SpeechDetector()
    for start in range(0, length, 7001):
        detector.push(samples[start : start + 7001])
    assert detector.finish() == detect_speech(samples) == (theirs(samples.copy()) if length else [])


@pytest.fixture
def speech_with_pauses(trial_data):
    from sca.audio.decode import read_audio

    clip = read_audio(trial_data / "clips" / "jfk.flac", HZ)
    return np.concatenate([clip, np.zeros(HZ, np.float32), clip])


def test_samples_beyond_the_memory_are_in_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(samples_module, "_IN_MEMORY_BYTES", 4000)
    whole = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    with SampleFile(tmp_path) as samples:
        for start in range(0, 5000, 700):
            samples.append(whole[start : start + 700])
        assert len(samples) == 5000
        for span in (slice(0, 10), slice(4990, 6000), slice(3000, 2000), slice(None, None), slice(-5, None)):
            assert np.array_equal(samples[span], whole[span])
        with pytest.raises(ValueError, match="step"):
            samples[::2]
    assert not list(tmp_path.iterdir())


def test_recording_beyond_the_limits_is_refused(monkeypatch, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(3 * HZ, np.float32), HZ)
    monkeypatch.setattr(samples_module, "LONGEST_S", 1)
    with SampleFile(tmp_path) as samples, pytest.raises(InputError, match=r"a\.wav is longer than 0 h"):
        read_samples(tmp_path / "a.wav", HZ // 2, samples)
    monkeypatch.setattr(decode, "MAX_WHOLE_SAMPLES", HZ)
    for rate in (None, HZ, 8000, 48_000):
        with pytest.raises(InputError, match=r"longer than 0\.0 h, the most that is read as a whole"):
            decode.read_audio(tmp_path / "a.wav", rate)


def test_joined_speech_equals_the_concatenation():
    whole = np.arange(1000, dtype=np.float32)
    spans = [(10, 60), (100, 101), (200, 500)]
    joined = np.concatenate([whole[start:end] for start, end in spans])
    speech = JoinedSpeech(whole, spans)
    for first, last in ((0, 351), (0, 50), (49, 52), (50, 51), (51, 300), (350, 351), (20, 20)):
        assert np.array_equal(speech.between(first, last), joined[first:last])


def test_detectors_find_the_same_in_parts(monkeypatch):
    draw = np.random.default_rng(1)
    samples = (0.001 * draw.standard_normal(40 * HZ)).astype(np.float32)
    for start in (3, 11, 12, 25, 38):
        samples[start * HZ : start * HZ + HZ] *= 200
    speech = [(11 * HZ, 12 * HZ)]
    loud = EnergyDetector().find(samples, speech)
    assert len(loud) >= 3
    monkeypatch.setattr(energy, "_HOPS_AT_ONCE", 37)
    assert EnergyDetector().find(samples, speech) == loud
    assert tagger._HOPS_AT_ONCE * 0.24 == 600


def test_sequence_is_cut_in_the_longest_pause():
    total = 25 * 60 * HZ
    speech = [(n * 10 * HZ, n * 10 * HZ + 9 * HZ) for n in range(150) if n != 55]
    windows = cut_at_pauses(speech, total)
    assert [windows[0][0], windows[-1][1]] == [0, total]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(windows))
    assert windows[0][1] == 549 * HZ + 11 * HZ // 2  # between the 54th and the 56th
    assert all(end - start <= 600 * HZ for start, end in windows)
    assert cut_at_pauses(speech, 600 * HZ) == [(0, 600 * HZ)]
    assert cut_at_pauses([(0, total)], total)[0] == (0, 600 * HZ)


def test_windows_survive_an_interruption_and_a_cut_line(tmp_path):
    word = RecognizedWord(" hi", 0.1, 0.30000000000000004, 1 / 3, Evidence(-0.1, 0.2, 1.3))
    results = [WindowResult([[word], [word, word]], "en", 0.7, 1.1, n) for n in range(3)]
    path = tmp_path / ".o.partial" / "key.jsonl"
    work = PartialWork(path)
    for result in results:
        work.add(result)
    path.write_bytes(path.read_bytes()[:-10])
    again = PartialWork(path)
    assert [again.known(n) for n in range(3)] == [*results[:2], None]
    again.add(results[2])
    assert [PartialWork(path).known(n) for n in range(3)] == results


def test_progress_counts_the_audio_of_items_in_progress(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    with audio_progress("transcribe") as progress:
        progress.on_start(3, 2, 7200.0)
        now[0] = 20.0
        progress.on_progress(ItemProgress("long", 1800.0, 5400.0))
    line = capsys.readouterr().err
    assert line == "transcribe: 0 of 2 done (long), 0.50 of 2.00 h of audio, 90 × real time, about 60 s left\n"
