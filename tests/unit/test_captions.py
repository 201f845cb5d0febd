"""Captions as a second witness: marks in many languages, YouTube's word times, and agreement with a timeline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.captions.agreement import compare_captions, is_other_recording
from sca.data.captions.find import CaptionFolder
from sca.data.captions.marks import kinds_of, split_marks
from sca.data.captions.read import read_captions
from sca.data.transcription.text_files import is_text_of
from sca.data.transcription.text_formats import TEXT_FORMATS
from sca.timeline import AudienceEvent, ComedianEvent, Show, SpokenWord

YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.629 align:start position:0%
\x20
hello<00:00:00.480><c> my</c><00:00:01.000><c> name</c>

00:00:02.629 --> 00:00:02.639 align:start position:0%
hello my name
\x20

00:00:02.639 --> 00:00:04.500 align:start position:0%
hello my name
is<00:00:03.000><c> Ann</c><00:00:03.500><c> &amp;</c><00:00:03.600><c> Bob</c>

00:00:04.500 --> 00:00:04.510 align:start position:0%
is Ann &amp; Bob
\x20

00:00:04.510 --> 00:00:06.000 align:start position:0%
is Ann &amp; Bob
[Laughter]

00:00:06.000 --> 00:00:06.010 align:start position:0%
[Laughter]
\x20

00:00:06.010 --> 00:00:08.000 align:start position:0%
[Laughter]
okay
"""


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("mark", "kinds"),
    [
        ("[Laughter]", {"laughter"}),
        ("(audience laughs)", {"laughter"}),
        ("[Applause and cheering]", {"applause", "cheer"}),
        ("[Gelächter und Applaus]", {"laughter", "applause"}),
        ("[Risas]", {"laughter"}),
        ("(Aplausos y vítores)", {"applause", "cheer"}),
        ("[Rires du public]", {"laughter"}),
        ("[applaudissements]", {"applause"}),
        ("[Risate]", {"laughter"}),
        ("(смеётся)", {"laughter"}),
        ("[аплодисменты]", {"applause"}),
        ("【大笑】", {"laughter"}),
        ("[掌声]", {"applause"}),
        ("(拍手)", {"applause"}),
        ("[웃음]", {"laughter"}),
        ("[ضحك]", {"laughter"}),
        ("[alkışlar]", {"applause"}),
        ("*laughs*", {"laughter"}),
        ("[Music]", {"music"}),
        ("[rising tone]", set()),
        ("[books fall]", set()),
        ("[door slams]", set()),
    ],
)
def test_marks_are_no_words(mark, kinds):
    assert split_marks(f"so I said {mark} no") == ("so I said no", frozenset(kinds))


@pytest.mark.parametrize(
    ("line", "spoken", "kinds"),
    [
        (">> JOHN: Well, hello.", "Well, hello.", set()),
        ("- No.", "No.", set()),
        ("♪ I walk the line ♪", "", {"music"}),
        ("he (my brother) laughs", "he (my brother) laughs", set()),
        ("It was: nice", "It was: nice", set()),
    ],
)
def test_speakers_and_songs(line, spoken, kinds):
    assert split_marks(line) == (spoken, frozenset(kinds))


def test_every_kind_of_the_table_is_one_of_the_timeline():
    assert kinds_of("laughter applause cheering booing gasps groans music") == {
        "laughter",
        "applause",
        "cheer",
        "booing",
        "gasp",
        "groan",
        "music",
    }


def test_words_of_youtube_have_their_own_times_and_count_once(tmp_path):
    captions = read_captions(written(tmp_path / "a.en.vtt", YOUTUBE))
    words = [(word.text, round(word.start_s, 2), round(word.end_s, 2)) for word in captions.words]
    assert words == [
        ("hello", 0.16, 0.48),
        ("my", 0.48, 1.0),
        ("name", 1.0, 2.63),
        ("is", 2.64, 3.0),
        ("Ann", 3.0, 3.5),
        ("&", 3.5, 3.6),
        ("Bob", 3.6, 4.5),
        ("okay", 6.01, 8.0),
    ]
    assert [(mark.kind, mark.start, mark.end) for mark in captions.marks] == [("laughter", 4.51, 6.0)]
    assert captions.problems == []


def test_words_of_a_plain_cue_divide_its_time(tmp_path):
    text = "1\n00:00:01,000 --> 00:00:03,000\n(laughs) ab\ncd <i>efgh</i>\n\n2\n00:00:04,000 --> 00:00:05,000\nab\n"
    captions = read_captions(written(tmp_path / "a.srt", text))
    assert [(word.text, word.start_s, word.end_s) for word in captions.words] == [
        ("ab", 1.0, 1.5),
        ("cd", 1.5, 2.0),
        ("efgh", 2.0, 3.0),
        ("ab", 4.0, 5.0),
    ]
    assert [mark.kind for mark in captions.marks] == ["laughter"]


def test_broken_cues_are_problems_and_the_others_count(tmp_path):
    text = (
        "WEBVTT\n\n00:09 -> 00:10\nno\n\n00:xx --> 00:11.000\nno\n\n"
        "00:05.000 --> 00:04.000\nback\n\n00:06.000 --> 00:07.000\nyes\n"
    )
    captions = read_captions(written(tmp_path / "a.vtt", text))
    assert [word.text for word in captions.words] == ["yes"]
    assert len(captions.problems) == 2


@given(st.text(max_size=200), st.sampled_from([".vtt", ".srt"]))
def test_any_text_is_read_or_refused(tmp_path_factory, text, suffix):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(("WEBVTT\n\n00:01.000 --> 00:02.000\n" + text).encode())
    try:
        captions = read_captions(path)
    except ValueError:
        return
    assert all(word.end_s >= word.start_s >= 0 for word in captions.words)


SENTENCES = [f"{first}{second}" for first in ("one", "two", "six", "ten") for second in "abcd"]


def show(words, *events, language="en", reactions="yamnet"):
    spoken = tuple(SpokenWord(word=word, start=start, end=start + 0.5) for word, start in words)
    return Show(video_id="a", timeline=tuple(events), words=spoken, language=language, reactions=reactions)


def vtt(cues):
    return "WEBVTT\n\n" + "".join(
        f"{a // 60:02}:{a % 60:02}.000 --> {b // 60:02}:{b % 60:02}.000\n{t}\n\n" for a, b, t in cues
    )


def laugh(start, end, kind="laughter"):
    return AudienceEvent(start=start, end=end, content=kind, reaction_type=kind)


def test_agreement_of_words_per_window(tmp_path):
    cues = [(n, n + 1, word) for n, word in enumerate(SENTENCES)] + [(40, 41, "other"), (42, 43, "words")]
    captions = read_captions(written(tmp_path / "a.vtt", vtt(cues)))
    heard = [(word.title() + ",", n + 0.4) for n, word in enumerate(SENTENCES)] + [("these", 40.0), ("words", 42.0)]
    agreement = compare_captions(show(heard), captions)
    assert agreement.windows == (1.0, 0.5)
    assert agreement.rate == pytest.approx((16 * 2 + 2) / 36)
    assert agreement.lowest == (0.5, 30.0)


def test_words_beside_the_border_of_a_window_agree(tmp_path):
    captions = read_captions(written(tmp_path / "a.vtt", vtt([(29, 30, "late"), (30, 31, "early")])))
    agreement = compare_captions(show([("late", 30.2), ("early", 31.0)]), captions)
    assert agreement.windows == (1.0, 1.0)


def test_reactions_agree_within_a_second(tmp_path):
    cues = [(10, 12, "[Laughter]"), (20, 22, "[Laughter]"), (30, 32, "[cheering]")]
    captions = read_captions(written(tmp_path / "a.vtt", vtt(cues)))
    events = (laugh(12.9, 14), laugh(24, 25), laugh(31, 33, "applause"))
    counts = compare_captions(show([], *events), captions).reactions
    assert {kind: count.document() for kind, count in counts.items()} == {
        "laughter": {"marked": 2, "marked_found": 1, "found": 2, "found_marked": 1},
        "applause": {"marked": 1, "marked_found": 1, "found": 1, "found_marked": 1},
    }
    assert compare_captions(show([], reactions="none"), captions).reactions == {}


def test_captions_of_another_recording_are_recognised(tmp_path):
    words = [(f"word{n}", float(n)) for n in range(40)]
    captions = read_captions(written(tmp_path / "a.vtt", vtt([(n, n + 1, f"other{n}") for n in range(40)])))
    agreement = compare_captions(show(words), captions)
    assert (agreement.rate, is_other_recording(show(words), captions, agreement)) == (0, True)
    few = show(words[:5])
    assert not is_other_recording(few, captions, compare_captions(few, captions))


def test_words_without_times_are_those_of_the_events(tmp_path):
    captions = read_captions(written(tmp_path / "a.vtt", vtt([(0, 4, "so here we are")])))
    event = ComedianEvent(start=0, end=4, content="So here we are.")
    assert compare_captions(show([], event), captions).rate == 1


def test_own_language_is_preferred_and_own_files_do_not_count(tmp_path):
    spoken = show([], ComedianEvent(start=0, end=4, content="So here we are."))
    written(tmp_path / "a.vtt", TEXT_FORMATS["vtt"](spoken))
    assert CaptionFolder(is_ours=is_text_of).of(tmp_path / "a.flac", spoken) is None
    for language in ("de", "en-US", "en-orig"):
        written(tmp_path / f"a.{language}.vtt", vtt([(0, 1, "x")]))
    written(tmp_path / "a.b.en.vtt", vtt([(0, 1, "x")]))
    folder = CaptionFolder()
    found = folder.of(tmp_path / "a.flac", spoken)
    assert (found.path.name, found.language, found.speaks("en")) == ("a.en-US.vtt", "en-US", True)
    german = Show(video_id="a", timeline=(), language="de")
    assert folder.of(tmp_path / "a.flac", german).language == "de"
    assert folder.of(tmp_path / "a.b.flac", spoken).path.name == "a.b.en.vtt"
    (tmp_path / "a.vtt").unlink()
    assert not CaptionFolder().of(tmp_path / "a.flac", Show(video_id="a", timeline=(), language="fr")).speaks("fr")


def test_captions_elsewhere_are_used_if_none_is_beside(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "videos" / "x").mkdir(parents=True)
    written(tmp_path / "videos" / "x" / "a.en.srt", vtt([(0, 1, "x")]))
    assert CaptionFolder().of(tmp_path / "audio" / "a.mp3", show([])) is None
    assert CaptionFolder(tmp_path / "videos").of(tmp_path / "audio" / "a.mp3", show([])).language == "en"
