"""The formats of `sca transcribe --output-format`: Whisper's conventions, and files that other programs can parse."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.corpora.segments.cues import read_cues
from sca.data.corpora.segments.model import Segment
from sca.data.transcription.languages import LANGUAGES, language_code
from sca.data.transcription.text_files import TextFiles, parse_formats
from sca.data.transcription.text_formats import TEXT_FORMATS
from sca.errors import UsageError
from sca.timeline import AudienceEvent, ComedianEvent, EnvironmentEvent, Show, SpokenWord

SHOW = Show(
    video_id="show",
    timeline=(
        ComedianEvent(start=0.32, end=2.0806, content="Well-known AT&T", avg_logprob=-0.2, compression_ratio=1.1),
        AudienceEvent(start=2.1, end=3.0, content="laughter", reaction_type="laughter"),
        ComedianEvent(start=4.0, end=5.5, content="a --> b\tc", event_type="unsure", doubt="improbable"),
        ComedianEvent(start=6.0, end=6.5, content="", event_type="unsure", doubt="no_words"),
        AudienceEvent(start=7.0, end=7.5, content="sir!", reaction_type="crowd_answer"),
        EnvironmentEvent(start=3661.0, end=3662.5, content="a door", sound_category="door_slam"),
    ),
    words=(
        SpokenWord(word="Well", start=0.32, end=0.8, probability=0.9),
        SpokenWord(word="-known", start=0.8, end=1.2),
        SpokenWord(word="AT&T", start=1.3, end=2.0806),
        SpokenWord(word="a", start=4.0, end=4.2),
        SpokenWord(word="-->", start=4.2, end=4.3),
        SpokenWord(word="b\tc", start=4.3, end=5.5),
    ),
    language="en",
)

CLOCK_SRT = r"\d{2,}:[0-5]\d:[0-5]\d,\d{3}"
SRT = re.compile(rf"(?:\d+\n{CLOCK_SRT} --> {CLOCK_SRT}\n[^\n]+\n\n)*")
CLOCK_VTT = r"(?:\d{2,}:)?[0-5]\d:[0-5]\d\.\d{3}"
VTT = re.compile(rf"WEBVTT\n\n(?:{CLOCK_VTT} --> {CLOCK_VTT}\n[^\n<>]+\n\n)*")


def test_srt():
    assert TEXT_FORMATS["srt"](SHOW) == (
        "1\n00:00:00,320 --> 00:00:02,081\nWell-known AT&T\n\n"
        "2\n00:00:02,100 --> 00:00:03,000\n[laughter]\n\n"
        "3\n00:00:04,000 --> 00:00:05,500\na -> b c\n\n"
        "4\n00:00:07,000 --> 00:00:07,500\n[crowd answer]\n\n"
        "5\n01:01:01,000 --> 01:01:02,500\n[door slam]\n\n"
    )


def test_vtt():
    assert TEXT_FORMATS["vtt"](SHOW) == (
        "WEBVTT\n\n"
        "00:00.320 --> 00:02.081\nWell-known AT&amp;T\n\n"
        "00:02.100 --> 00:03.000\n[laughter]\n\n"
        "00:04.000 --> 00:05.500\na -&gt; b c\n\n"
        "00:07.000 --> 00:07.500\n[crowd answer]\n\n"
        "01:01:01.000 --> 01:01:02.500\n[door slam]\n\n"
    )


def test_tsv_and_txt_have_speech_only():
    assert TEXT_FORMATS["tsv"](SHOW) == "start\tend\ttext\n320\t2081\tWell-known AT&T\n4000\t5500\ta --> b c\n"
    assert TEXT_FORMATS["txt"](SHOW) == "Well-known AT&T\na --> b c\n"


def test_json_marks_doubts_and_spaces_words_as_the_text_does():
    found = json.loads(TEXT_FORMATS["json"](SHOW))
    assert (found["text"], found["language"]) == (" Well-known AT&T a --> b\tc", "en")
    assert [(one["id"], one["text"], one["doubt"]) for one in found["segments"]] == [
        (0, " Well-known AT&T", None),
        (1, " a --> b\tc", "improbable"),
        (2, "", "no_words"),
    ]
    assert [[word["word"] for word in one["words"]] for one in found["segments"]] == [
        [" Well", "-known", " AT&T"],
        [" a", " -->", " b\tc"],
        [],
    ]
    first = found["segments"][0]
    assert (first["avg_logprob"], first["compression_ratio"], first["words"][0]["probability"]) == (-0.2, 1.1, 0.9)
    assert [one["sound"] for one in found["reactions"]] == ["laughter", "crowd answer", "door slam"]


def test_json_of_a_language_without_spaces_adds_none():
    events = tuple(ComedianEvent(start=n, end=n + 1, content=text) for n, text in enumerate(("你好。", "再见。")))
    words = (SpokenWord(word="你好。", start=0, end=1), SpokenWord(word="再见。", start=1, end=2))
    found = json.loads(TEXT_FORMATS["json"](Show(video_id="x", timeline=events, words=words, language="zh")))
    assert found["text"] == "你好。再见。"
    assert [word["word"] for one in found["segments"] for word in one["words"]] == ["你好。", "再见。"]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a --> b", "x\n\n2\n", "<i>", "&lt;", "{\\an8}"]
)


@st.composite
def shows(draw):
    events = []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.floats(0, 500_000))
        times = {"start": start, "end": start + draw(st.floats(0, 30)), "content": draw(texts)}
        kind = draw(st.sampled_from([ComedianEvent, AudienceEvent, EnvironmentEvent]))
        events.append(kind(**times))
    return Show(video_id="x", timeline=tuple(events), language=draw(st.sampled_from(["en", "ja", None])))


def milliseconds(clock):
    *rest, last_s = clock.replace(",", ".").split(":")
    return sum(int(part) * 60_000 * 60**power for power, part in enumerate(reversed(rest))) + round(
        float(last_s) * 1000
    )


@given(shows())
def test_files_are_well_formed_and_times_are_monotone(show):
    srt, vtt, tsv = (TEXT_FORMATS[name](show) for name in ("srt", "vtt", "tsv"))
    assert SRT.fullmatch(srt)
    assert VTT.fullmatch(vtt)
    cues = [
        re.findall(rf"^({clock}) --> ({clock})$", text, re.M) for clock, text in ((CLOCK_SRT, srt), (CLOCK_VTT, vtt))
    ]
    times = [[(milliseconds(start), milliseconds(end)) for start, end in found] for found in cues]
    assert times[0] == times[1]
    assert [start for start, _ in times[0]] == sorted(start for start, _ in times[0])
    assert all(start < end for start, end in times[0])
    assert re.findall(r"^(\d+)\n\d+:", srt, re.M) == [str(n + 1) for n in range(len(times[0]))]
    rows = [line.split("\t") for line in tsv.split("\n")[1:-1]]
    assert all(len(row) == 3 and 0 <= int(row[0]) <= int(row[1]) for row in rows)
    assert [row[2] for row in rows] == TEXT_FORMATS["txt"](show).split("\n")[:-1]
    starts = [int(row[0]) for row in rows]
    assert starts == sorted(starts)
    document = json.loads(TEXT_FORMATS["json"](show))
    assert document["text"] == "".join(one["text"] for one in document["segments"])


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_subtitles_are_read_back(tmp_path, name):
    path = tmp_path / f"x.{name}"
    path.write_text(TEXT_FORMATS[name](SHOW), encoding="utf-8")
    found = [one for one in read_cues(path) if isinstance(one, Segment)]
    assert [one.text for one in found] == ["Well-known AT&T", "[laughter]", "a -> b c", "[crowd answer]", "[door slam]"]
    assert [(one.start_s, one.end_s) for one in found][:2] == [(0.32, 2.081), (2.1, 3.0)]


def test_formats_are_separated_by_commas_or_repeated():
    assert parse_formats(["jsonl"]) == parse_formats([]) == ()
    assert parse_formats(["txt, SRT", "srt", "jsonl"]) == ("srt", "txt")
    with pytest.raises(UsageError, match="'lrc' does not exist"):
        parse_formats(["srt,lrc"])


def test_each_id_has_its_own_file_in_the_folder(tmp_path):
    files = TextFiles(tmp_path, ("srt",))
    ids = ["a", "a.b", "x/a", "y/a", "../a", "/a", "..", "x//a", "x/./a", "é" * 125, "é" * 125 + "b", "x/" + "n" * 251]
    paths = [files.path_of(name, "srt") for name in ids]
    assert [path.relative_to(tmp_path).as_posix() for path in paths[:4]] == ["a.srt", "a.b.srt", "x/a.srt", "y/a.srt"]
    assert len(set(paths)) == len(ids)
    for name, path in zip(ids, paths, strict=True):
        assert path.resolve().is_relative_to(tmp_path)
        assert files.write(Show(video_id=name, timeline=())) == 1
        assert path.read_text() == ""


def test_languages_are_those_of_faster_whisper():
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert set(LANGUAGES) == set(_LANGUAGE_CODES)


def test_languages_have_the_names_of_whisper():
    from transformers.models.whisper import tokenization_whisper as whisper

    assert {name: code for code, names in LANGUAGES.items() for name in names} == whisper.TO_LANGUAGE_CODE
    assert {code: names[0] for code, names in LANGUAGES.items()} == whisper.LANGUAGES


@pytest.mark.parametrize(
    ("name", "code"),
    [("en", "en"), ("EN", "en"), ("English", "en"), (" mandarin ", "zh"), ("Haitian  Creole", "ht"), ("yue", "yue")],
)
def test_language_is_a_code_or_a_name(name, code):
    assert language_code(name) == code


def test_unknown_language_is_an_error_with_the_nearest_name():
    with pytest.raises(UsageError, match="'Germann'") as caught:
        language_code("Germann")
    assert "did you mean German (de)?" in caught.value.hint
    with pytest.raises(UsageError, match="'xx'") as caught:
        language_code("xx")
    assert "did you mean" not in caught.value.hint
