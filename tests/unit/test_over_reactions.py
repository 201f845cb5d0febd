"""Words over the sound of the audience: what is in doubt, and what stays the comedian's."""

from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.transcription.hallucinations import RecognizedWord, Speech, guard_words, text_of
from sca.data.transcription.over_reactions import marked_over_reactions, reaction_spans
from sca.data.transcription.transcriber import timeline_of
from sca.data.transcription.whisper import Transcription
from sca.timeline import AudienceEvent, ComedianEvent, EnvironmentEvent

LAUGH = [(9.0, 13.0)]
SILENT, SPOKEN = [], [(9.0, 13.0)]


def said(text, start=10.0, step=0.3, probability=0.9):
    return [
        RecognizedWord(f" {word}", start + i * step, start + (i + 1) * step, probability)
        for i, word in enumerate(text.split())
    ]


def doubts(words, reactions=LAUGH, voiced=SILENT):
    return {word.doubt for word in marked_over_reactions(words, reactions, voiced)}


@pytest.mark.parametrize(
    ("text", "probability", "voiced", "doubt"),
    [
        ("Thanks for watching!", 0.5, SILENT, "over_reaction"),
        ("Thank you.", 0.95, SILENT, "over_reaction"),
        ("Thank you.", 0.4, SPOKEN, "over_reaction"),
        ("ご視聴ありがとうございました", 0.5, SPOKEN, "over_reaction"),
        ("and so we", 0.4, SILENT, "over_reaction"),
        ("hahahahaha", 0.34, SPOKEN, "over_reaction"),
        ("Ha, ha, ha!", 0.9, SILENT, "over_reaction"),
        ("哈哈哈", 0.4, SPOKEN, "over_reaction"),
        ("Ha ha, very funny.", 0.4, SPOKEN, None),
        ("He had to", 0.4, SPOKEN, None),
        ("Thank you.", 0.95, SPOKEN, None),  # the comedian thanks the audience
        ("and then he fell off", 0.9, SPOKEN, None),
        ("and then he fell off", 0.4, SPOKEN, None),
        ("and then he fell off", 0.9, SILENT, None),
    ],
)
def test_doubt_needs_two_signs(text, probability, voiced, doubt):
    assert doubts(said(text, probability=probability), voiced=voiced) == {doubt}


def test_words_beside_a_laugh_are_certain():
    assert doubts(said("Thank you.", start=12.8, probability=0.3)) == {None}
    assert doubts(said("Thank you.", probability=0.3), reactions=[]) == {None}


def test_earlier_doubt_stays():
    words = [RecognizedWord(" ha", 10.0, 10.3, 0.2, doubt="repeated")]
    assert doubts(words) == {"repeated"}


def test_marked_words_are_not_removed_on_silence():
    counts = Counter()
    judge = partial(marked_over_reactions, reactions=LAUGH, voiced=SILENT)
    words = guard_words(said("Thank you.", probability=0.3), Speech([]), counts, judge)
    assert (text_of(words), +counts) == ("Thank you.", {"over_reaction": 2})


@given(st.lists(st.sampled_from(["Thank you.", "bye", "so then", "you"]), max_size=4), st.floats(0, 1), st.booleans())
def test_no_word_is_lost_or_moved(texts, probability, is_spoken):
    words = [word for n, text in enumerate(texts) for word in said(text, 8.0 + 2 * n, probability=probability)]
    marked = marked_over_reactions(words, LAUGH, SPOKEN if is_spoken else SILENT)
    assert [(w.text, w.start, w.end) for w in marked] == [(w.text, w.start, w.end) for w in words]


def test_reactions_are_laughter_applause_and_cheers():
    events = [
        AudienceEvent(start=4, end=6, content="applause", reaction_type="applause"),
        AudienceEvent(start=5, end=7, content="cheer", reaction_type="cheer"),
        AudienceEvent(start=8, end=9, content="gasp", reaction_type="gasp"),
        EnvironmentEvent(start=0, end=20, content="music", sound_category="music"),
    ]
    assert reaction_spans(events) == [(4, 7)]


def test_timeline_has_the_reaction_and_the_unsure_words():
    """A laugh that the VAD takes for speech: no speech without words, and no sentence of the comedian."""
    laugh = AudienceEvent(start=9.0, end=13.0, content="laughter", reaction_type="laughter")
    hz = 16_000
    heard = Transcription(
        [said("so I left", start=5.0), said("Thank you.", probability=0.4)],
        [(int(4.6 * hz), int(6.3 * hz)), (9 * hz, 13 * hz)],
        "en",
        voiced=[(5 * hz, 6 * hz), (9 * hz, 13 * hz)],
    )
    counts = Counter()
    words, timeline = timeline_of(heard, [laugh], 20.0, counts, with_words=True)
    assert [
        (event.content, event.event_type, event.doubt) for event in timeline if isinstance(event, ComedianEvent)
    ] == [
        ("so I left", "speech", None),
        ("Thank you.", "unsure", "over_reaction"),
    ]
    assert (laugh in timeline, len(words), counts["no_words"], counts["over_reaction"]) == (True, 5, 0, 2)


def test_edges_of_a_laugh_are_no_unknown_speech():
    """A tagger gives a score every 0.24 s, so the VAD may find the laugh 0.24 s earlier and end it later."""
    laugh = AudienceEvent(start=9.0, end=13.0, content="laughter", reaction_type="laughter")
    hz = 16_000
    for edge_s, unknown in ((0.24, 0), (0.6, 2)):
        span = (int((9 - edge_s) * hz), int((13 + edge_s) * hz))
        counts = Counter()
        _, timeline = timeline_of(
            Transcription([], [span], "en", voiced=[span]), [laugh], 20.0, counts, with_words=True
        )
        assert (len(timeline) - 1, counts["no_words"]) == (unknown, unknown)
