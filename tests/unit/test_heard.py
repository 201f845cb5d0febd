"""Who is heard in a row: names of mixes, joint speech, words of several tracks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.audio.stored_samples import mix
from sca.data.duplex.load.heard_words import unlabelled_within, words_within
from sca.data.duplex.model.heard import heard_groups, heard_speakers, joint_speech, listener_name
from sca.data.duplex.storage.tracks import StoredTrack
from sca.errors import InputError

names = st.lists(st.text("a+b>", min_size=1, max_size=4), min_size=2, max_size=6, unique=True)


@given(names, st.booleans())
def test_listeners_are_found_by_name_even_if_names_contain_plus(speakers, mixes):
    for speaker in speakers:
        groups = heard_groups(speaker, speakers, mixes=mixes)
        assert [name for heard in groups for name in heard] == [name for name in speakers if name != speaker]
        for heard in groups:
            assert heard_speakers(listener_name(heard), speaker, speakers) == heard


@pytest.mark.parametrize(
    ("listener", "speaker"), [("b", "d"), ("a", "a"), ("b+a", "c"), ("a+b+c", "c"), ("", "a"), ("b+d", "a")]
)
def test_listeners_that_the_session_does_not_have(listener, speaker):
    with pytest.raises(InputError, match="has no track of"):
        heard_speakers(listener, speaker, ["a", "b", "c"])


def test_a_speaker_alone_hears_nobody():
    assert heard_groups("a", ["a"], mixes=True) == heard_groups("a", ["a"], mixes=False) == []


def test_joint_speech():
    touching = [(0, 5), (5, 9)]
    assert joint_speech([touching]) is touching  # as it is, so that rows of two speakers do not change
    assert joint_speech([touching, [(8, 12), (20, 21)], []]) == [(0, 12), (20, 21)]


int16 = st.integers(-32768, 32767)


@given(st.lists(st.lists(int16, max_size=30), min_size=1, max_size=5))
def test_mix_is_the_clipped_sum(parts):
    mixed = mix([np.array(part, np.int16) for part in parts])
    length = max(map(len, parts))
    sums = [sum(part[n] for part in parts if n < len(part)) for n in range(length)]
    assert mixed.tolist() == [min(max(value, -32768), 32767) for value in sums]
    assert mixed.dtype == np.int16


def track(words, transcript="t.txt", speech=(), unlabelled=()):
    record = {
        "words": [
            {"word": text, "start": start, "end": end, "source": "given", "unit": unit, "space": space}
            for text, start, end, unit, space in words
        ],
        "speech": [{"start": start, "end": end} for start, end in speech],
        "unlabelled": [{"start": start, "end": end, "reason": "speech"} for start, end in unlabelled],
        "provenance": {"transcript": transcript},
    }
    return StoredTrack(None, None, record)


def test_words_of_several_tracks():
    """Words that alternate keep the units of their speakers apart."""
    one = track([("so", 1.0, 1.2, 0, False), ("we", 2.0, 2.2, 0, True), ("go", 9.0, 9.2, 1, False)])
    other = track([("oh", 1.5, 1.7, 0, False), ("yes", 2.1, 2.15, 0, True)])
    found = words_within([one, other], 1.0, 8.0)
    assert [(w["word"], w["unit"], round(w["start"], 3)) for w in found] == [
        ("so", 0, 0.0),
        ("oh", 1, 0.5),
        ("yes", 1, 1.1),
        ("we", 0, 1.0),
    ]
    assert [w["unit"] for w in words_within([one, other], 8.0, 10.0)] == [2]


def test_speech_of_a_track_without_transcript_is_unlabelled():
    one = track([("so", 1.0, 1.2, 0, False)], unlabelled=[(3.0, 4.0)])
    silent = track([], transcript=None, speech=[(0.5, 2.0), (7.0, 9.0)])
    assert unlabelled_within([one, silent], 1.0, 8.0) == ((0.0, 1.0), (2.0, 3.0), (6.0, 7.0))
    assert words_within([silent], 0.0, 9.0) is None
    assert unlabelled_within([silent], 0.0, 9.0) == ()
