"""The demo conversation that ships with the package has the documented properties, in its files and as it is read."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sca.data.corpora.base import Conversation, Track, Utterance
from sca.data.corpora.magichub import read, scan
from sca.resources import demo_corpus
from sca.units import HEARD_HZ


@pytest.fixture(scope="module")
def folder():
    with demo_corpus() as path:
        yield path


@pytest.fixture(scope="module")
def conversation(folder: Path) -> Conversation:
    found = scan(folder)
    assert found.issues == ()
    assert [session.session_id for session in found.sessions] == ["D0001_S0001_0"]
    conversation = read(found.sessions[0])
    assert conversation.issues == ()
    return conversation


@pytest.fixture(scope="module", params=[0, 1], ids=["G0001", "G0002"])
def track(request, conversation: Conversation) -> Track:
    return conversation.tracks[request.param]


def samples(track: Track) -> np.ndarray:
    return soundfile.read(track.audio, dtype="float32")[0]


def spoken(text: str) -> list[str]:
    return re.sub(r"\[[^\]]*\]", " ", text).split()


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def overlaps(conversation: Conversation) -> list[tuple[Utterance, Utterance]]:
    """Return pairs of lines, one of each speaker, that overlap."""
    first, second = (track.utterances for track in conversation.tracks)
    return [(a, b) for a in first for b in second if a.start < b.end and b.start < a.end]


def test_is_small_enough_to_ship(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(path.parent.name for path in files) == ["TXT", "TXT", "WAV", "WAV", "WORDS", "WORDS"]
    assert sum(path.stat().st_size for path in files) <= 2_000_000


def test_both_tracks_are_one_minute_of_16_bit_mono(conversation):
    infos = [soundfile.info(track.audio) for track in conversation.tracks]
    assert {(i.samplerate, i.channels, i.subtype, i.format) for i in infos} == {(HEARD_HZ, 1, "PCM_16", "FLAC")}
    assert infos[0].frames == infos[1].frames
    assert 50 <= infos[0].frames / HEARD_HZ <= 75


def test_level_is_sufficient_and_does_not_clip(track):
    assert 0.2 <= np.abs(samples(track)).max() <= 0.95


def test_words_equal_the_words_of_the_transcript(track):
    assert track.words is not None
    assert [word.text for word in track.words] == [word for line in track.utterances for word in spoken(line.text)]


def test_words_are_consecutive_and_inside_their_line(track):
    words = list(track.words or ())
    assert words[0].start >= 0
    assert words[-1].end <= soundfile.info(track.audio).frames
    assert all(word.start < word.end for word in words)
    assert all(a.end <= b.start for a, b in pairwise(words))
    millisecond = HEARD_HZ // 1000  # lines are written to the millisecond
    for line in track.utterances:
        own, words = words[: len(spoken(line.text))], words[len(spoken(line.text)) :]
        if own:
            assert abs(own[0].start - line.start) <= millisecond
            assert abs(own[-1].end - line.end) <= millisecond


def test_words_are_audible_and_gaps_are_quiet(track):
    sound = samples(track)
    silent = np.ones(len(sound), bool)
    slack = HEARD_HZ // 100  # the resampler rings a little around the edges
    for line in track.utterances:
        silent[max(line.start - slack, 0) : line.end + slack] = False
    floor = rms(sound[silent])
    assert 1e-5 < floor < 2e-4  # -100 to -74 dBFS: quiet, but not digital silence
    assert np.abs(sound[silent]).max() < 1e-3
    assert all(rms(sound[word.start : word.end]) > 100 * floor for word in track.words or ())


def test_word_times_match_the_pauses(track):
    # espeak pauses inside a line only at punctuation; the recording must be quiet there.
    sound, words = samples(track), list(track.words or ())
    pauses = [(a, b) for a, b in pairwise(words) if 0.1 < (b.start - a.end) / HEARD_HZ < 0.6]
    assert len(pauses) >= 5
    assert all(rms(sound[a.end + 160 : b.start - 160]) < 0.005 for a, b in pauses)


def test_each_speaker_takes_many_turns(track):
    assert sum(len(spoken(line.text)) >= 3 for line in track.utterances) >= 6


def test_has_backchannels_over_the_other_speaker(conversation):
    pairs = [pair for a, b in overlaps(conversation) for pair in ((a, b), (b, a))]
    backchannels = [x.text for x, y in pairs if y.start < x.start < x.end < y.end and len(spoken(x.text)) <= 2]
    assert len(backchannels) >= 3
    assert len(overlaps(conversation)) >= 5


def test_has_one_interruption(conversation):
    cut = [(a, b) for a, b in overlaps(conversation) if a.start < b.start < a.end < b.end and a.text[-1].isalpha()]
    assert len(cut) == 1
    overlap_s = (cut[0][0].end - cut[0][1].start) / HEARD_HZ
    assert 0.2 <= overlap_s <= 0.8


def test_pauses_have_conversational_lengths(conversation):
    lines = sorted((line for track in conversation.tracks for line in track.utterances), key=lambda line: line.start)
    pauses, until = [], lines[0].end
    for line in lines[1:]:
        pauses.append((line.start - until) / HEARD_HZ)
        until = max(until, line.end)
    heard = [pause for pause in pauses if pause > 0]
    assert 0.149 <= min(heard) <= max(heard) <= 1.2
    assert len(heard) >= 10


def test_has_one_line_with_only_a_tag(conversation):
    tags = [line.text for track in conversation.tracks for line in track.utterances if not spoken(line.text)]
    assert tags == ["[SONANT]"]


def test_voices_differ_in_pitch(conversation):
    def pitch_hz(track: Track) -> float:
        sound, lags = samples(track), range(HEARD_HZ // 400, HEARD_HZ // 60)
        found = []
        for word in track.words or ():
            middle = (word.start + word.end) // 2
            piece = sound[middle - 400 : middle + 400]
            found.append(HEARD_HZ / max(lags, key=lambda lag: float(piece[lag:] @ piece[:-lag])))
        return float(np.median(found))

    low, high = (pitch_hz(track) for track in conversation.tracks)
    assert high > 1.4 * low
