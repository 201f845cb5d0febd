"""Fingerprints: copies of a recording share their landmarks, other recordings do not."""

import io
from itertools import combinations

import numpy as np
import pytest
import soundfile as sf
import soxr

from sca.data.duplex.evidence.copies import decode_voice, encode_voice, find_copies, find_same_voices
from sca.data.duplex.model.evidence import TrackEvidence
from sca.data.quality.fingerprint import Fingerprinter, decode_fingerprint
from sca.data.quality.matching import compare
from sca.resources import demo_corpus

RATE = 16_000


def fingerprint(samples, block=60 * RATE):
    prints = Fingerprinter()
    for at in range(0, len(samples), block):
        prints.push(np.ascontiguousarray(samples[at : at + block], np.float32))
    return prints.finish()


def encoded(samples, kind, subtype, rate=RATE):
    """Write and read samples in a format, at a rate."""
    file = io.BytesIO()
    sf.write(file, soxr.resample(samples, RATE, rate) if rate != RATE else samples, rate, format=kind, subtype=subtype)
    file.seek(0)
    found, rate = sf.read(file, dtype="float32")
    return soxr.resample(found, rate, RATE) if rate != RATE else found


CHANGES = {
    "as it is": lambda samples: samples,
    "quiet": lambda samples: samples * np.float32(0.3),
    "mp3": lambda samples: encoded(samples, "MP3", "MPEG_LAYER_III"),
    "mp3 at 44.1 kHz": lambda samples: encoded(samples, "MP3", "MPEG_LAYER_III", 44_100),
    "opus": lambda samples: encoded(samples, "OGG", "OPUS", 24_000),
    "telephone": lambda samples: encoded(samples, "WAV", "ULAW", 8_000),
    "cut by 0.337 s": lambda samples: samples[5469:],
    "cut by 10 s": lambda samples: samples[160_033:],
    "all of it": lambda samples: encoded(samples[5000:] * np.float32(0.4), "MP3", "MPEG_LAYER_III"),
}


@pytest.fixture(scope="module")
def speech():
    with demo_corpus() as folder:
        return [sf.read(path, dtype="float32")[0] for path in sorted((folder / "WAV").iterdir())]


@pytest.mark.parametrize("name", CHANGES)
def test_a_copy_is_found_with_its_offset(speech, name):
    for samples in speech:
        changed = CHANGES[name](samples)
        match = compare(decode_fingerprint(fingerprint(samples)), decode_fingerprint(fingerprint(changed)))
        assert match.is_copy, match
        cut = {"cut by 0.337 s": 5469, "cut by 10 s": 160_033, "all of it": 5000}.get(name, 0)
        assert match.offset_s == pytest.approx(-cut / RATE, abs=0.1)


def test_other_recordings_are_no_copies(speech):
    random = np.random.default_rng(0)
    others = [*speech, *(samples[::-1] for samples in speech)]
    others += [random.normal(0, 0.05, 60 * RATE).astype(np.float32) for _ in range(2)]
    others += [random.integers(-1, 2, 60 * RATE).astype(np.float32) / 32768 for _ in range(2)]
    prints = [decode_fingerprint(fingerprint(samples)) for samples in others]
    assert max(compare(a, b).shared for a, b in combinations(prints, 2)) < 6


def test_one_phrase_in_two_recordings_is_no_copy(speech):
    first, second = (samples[8 * RATE : 40 * RATE] for samples in speech)
    phrase = speech[0][: 8 * RATE]
    a = np.concatenate([phrase, first])
    b = np.concatenate([second, phrase])
    match = compare(decode_fingerprint(fingerprint(a)), decode_fingerprint(fingerprint(b)))
    assert not match.is_copy, match


@pytest.mark.parametrize("samples", [np.zeros(RATE * 20), np.zeros(10), 0.1 * np.sin(np.arange(RATE * 20) * 0.1)])
def test_silence_and_tones_have_no_landmarks(samples):
    assert fingerprint(samples) == ""


def test_blocks_do_not_change_it_and_its_size_is_limited(speech):
    whole = fingerprint(speech[0])
    assert fingerprint(speech[0], block=10_001) == whole
    assert len(fingerprint(np.concatenate(speech))) == len(whole)
    assert len(decode_fingerprint(whole).hashes) == 64


def track(session, speaker, **values):
    shown = dict.fromkeys(
        ("words_s", "words_gap_at_s", "past_end_s", "unlabelled_s", "unlabelled_at_s", "same_speech"), 0.0
    )
    shown |= dict.fromkeys(("fit", "best_fit", "offset_s", "drift"), 0.0)
    shown |= {"words_in_own": None, "words_in_other": None, "speech_without_words": None, "speech_s": 9.0, "peak": 0.5}
    shown |= {"audio": f"{session} {speaker}", "words": ""}
    return TrackEvidence(session=session, speaker=speaker, **(shown | values))


def test_copies_are_found_across_sessions_only(speech):
    sound, again = fingerprint(speech[0]), fingerprint(CHANGES["mp3"](speech[0]))
    tracks = [track("a", "1", sound=sound), track("a", "2", sound=again), track("b", "3", sound=again)]
    tracks += [track("c", "4", sound=""), track("d", "5")]
    (copy,) = find_copies(tracks)
    assert (copy.track.session, copy.first.session, copy.first.speaker) == ("b", "a", "1")


def voice(seed, like=None, share=0.0):
    own = np.random.default_rng(seed).normal(size=192)
    mixed = own / np.linalg.norm(own)
    if like is not None:
        mixed = share * like + np.sqrt(1 - share**2) * mixed
    return mixed / np.linalg.norm(mixed)


def test_a_stored_voice_keeps_its_cosines():
    first, second = voice(1), voice(2, voice(1), 0.8)
    stored = decode_voice(encode_voice(first)) @ decode_voice(encode_voice(second))
    assert stored == pytest.approx(first @ second, abs=0.01)
    assert encode_voice(None) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_vector_without_direction_is_no_voice(value):
    assert encode_voice([value] * 192) == ""


def test_one_voice_under_two_names():
    one = voice(1)
    texts = {
        name: encode_voice(value) for name, value in (("one", one), ("again", voice(2, one, 0.9)), ("two", voice(3)))
    }
    tracks = [track("a", "Ann", voice=texts["one"]), track("a", "Bob", voice=texts["two"])]
    tracks += [track("b", "Ann", voice=texts["again"]), track("b", "Cid", voice=texts["two"])]
    (found,) = find_same_voices(tracks, 0.75)
    assert (found.track.speaker, found.other, found.session) == ("Cid", "Bob", "a")
    tracks[-1] = track("b", "Cid", voice=encode_voice(voice(4, voice(3), 0.5)))
    assert list(find_same_voices(tracks, 0.75)) == []


def test_sides_of_a_session_and_mixed_names_are_not_compared():
    one = encode_voice(voice(1))
    assert list(find_same_voices([track("a", "Ann", voice=one), track("a", "Bob", voice=one)], 0.75)) == []
    left = [track(name, "left", voice=encode_voice(voice(seed))) for seed, name in enumerate("abc", 1)]
    assert list(find_same_voices([*left, track("d", "Dan", voice=one)], 0.75)) == []
