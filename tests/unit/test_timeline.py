"""The file of timelines: field names that other tools read, older files, broken lines."""

import json
from pathlib import Path

import pytest

from sca.errors import InputError
from sca.timeline import AudienceEvent, BrokenLine, ComedianEvent, EnvironmentEvent, Show, SpokenWord, read_shows

OLD = {"video_id": "a", "timeline": [{"start": 0, "end": 1.5, "role": "comedian", "content": "Hi."}]}


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8")
    return path


def read_one(path: Path) -> Show | BrokenLine:
    [(_, line)] = read_shows(path)
    return line


def test_field_names_in_the_file() -> None:
    show = Show(
        video_id="a",
        timeline=(
            EnvironmentEvent(start=3, end=4, content="music", sound_category="music"),
            ComedianEvent(start=0, end=1, content="Hi."),
            AudienceEvent(start=1, end=2, content="laughter", reaction_type="laughter"),
        ),
        words=(SpokenWord(start=0, end=1, word="Hi.", probability=0.9),),
    )
    plain = show.model_dump()
    assert [event["start"] for event in plain["timeline"]] == [0, 1, 3]
    assert [set(event) - {"start", "end", "role", "content"} for event in plain["timeline"]] == [
        {"event_type", "delivery_tag", "doubt", "probability", "avg_logprob", "no_speech_prob", "compression_ratio"},
        {"reaction_type"},
        {"sound_category"},
    ]
    assert {"video_id", "timeline", "words", "language", "duration_s", "model"} <= set(plain)


def test_round_trip(tmp_path: Path) -> None:
    show = Show(
        video_id="ä", timeline=(AudienceEvent(start=1, end=2, content="x", reaction_type="gasp"),), language="en"
    )
    assert read_one(write_lines(tmp_path / "a.jsonl", show.model_dump_json())) == show


def test_reads_older_files(tmp_path: Path) -> None:
    show = read_one(write_lines(tmp_path / "a.jsonl", OLD))
    assert isinstance(show, Show)
    assert show.timeline == (ComedianEvent(start=0, end=1.5, content="Hi.", event_type="speech", delivery_tag=None),)
    assert (show.words, show.language, show.duration_s, show.model) == ((), None, None, None)


def test_ignores_unknown_fields_and_reactions(tmp_path: Path) -> None:
    event = {"start": 1, "end": 2, "role": "audience", "content": "x", "reaction_type": "stomping", "mood": 1}
    show = read_one(write_lines(tmp_path / "a.jsonl", {**OLD, "timeline": [event], "era": 7, "words": None}))
    assert isinstance(show, Show)
    assert show.timeline == (AudienceEvent(start=1, end=2, content="x", reaction_type="other"),)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"video_id": "a", "timel', "not JSON"),
        ("[]", "a list, not an object"),
        ({"timeline": []}, "video_id: field required"),
        ({"video_id": "a"}, "timeline: field required"),
        ({"video_id": "a", "timeline": [{"start": 2, "end": 1, "role": "comedian", "content": ""}]}, "before start"),
        ({"video_id": "a", "timeline": [{"start": 0, "end": 1, "role": "dog", "content": ""}]}, "timeline.0"),
        ({"video_id": "a", "timeline": [{"start": "x", "end": 1, "role": "comedian", "content": ""}]}, "start: "),
        (
            {"video_id": "a", "timeline": [{"start": float("nan"), "end": 1, "role": "comedian", "content": ""}]},
            "start",
        ),
        ({"video_id": "a", "timeline": [5]}, "timeline.0"),
        ({"video_id": "a", "timeline": 5}, "timeline: "),
    ],
)
def test_broken_line_is_reported_and_others_are_read(tmp_path: Path, line: object, reason: str) -> None:
    found = list(read_shows(write_lines(tmp_path / "a.jsonl", OLD, "", line, {**OLD, "video_id": "b"})))
    assert [number for number, _ in found] == [1, 3, 4]
    broken = found[1][1]
    assert isinstance(broken, BrokenLine)
    assert str(broken).startswith("line 3: ")
    assert reason in broken.reason
    assert [show.video_id for _, show in found if isinstance(show, Show)] == ["a", "b"]


def test_invalid_utf8_is_a_broken_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\n" + json.dumps(OLD).encode() + b"\n")
    first, second = (found for _, found in read_shows(tmp_path / "a.jsonl"))
    assert isinstance(first, BrokenLine)
    assert isinstance(second, Show)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.jsonl"):
        list(read_shows(tmp_path / "no.jsonl"))
