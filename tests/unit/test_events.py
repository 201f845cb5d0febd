"""The lines of a transcription: names as other tools read them, older files, lines that are broken."""

import json
from pathlib import Path
from typing import Any

import pytest

from sca.errors import InputError
from sca.timeline import AudienceEvent, BrokenLine, ComedianEvent, EnvironmentEvent, Show, SpokenWord, read_shows

OLD = {"video_id": "a", "timeline": [{"start": 0, "end": 1.5, "role": "comedian", "content": "Hi."}]}


def written(path: Path, *lines: Any) -> Path:
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8")
    return path


def only(path: Path) -> Show | BrokenLine:
    [(_, found)] = read_shows(path)
    return found


def test_the_names_of_the_fields_on_file() -> None:
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
        {"event_type", "delivery_tag"},
        {"reaction_type"},
        {"sound_category"},
    ]
    assert {"video_id", "timeline", "words", "language", "duration_s", "model"} <= set(plain)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    show = Show(
        video_id="ä", timeline=(AudienceEvent(start=1, end=2, content="x", reaction_type="gasp"),), language="en"
    )
    assert only(written(tmp_path / "a.jsonl", show.model_dump_json())) == show


def test_an_older_file_without_the_newer_fields_loads(tmp_path: Path) -> None:
    show = only(written(tmp_path / "a.jsonl", OLD))
    assert isinstance(show, Show)
    assert show.timeline == (ComedianEvent(start=0, end=1.5, content="Hi.", event_type="speech", delivery_tag=None),)
    assert (show.words, show.language, show.duration_s, show.model) == ((), None, None, None)


def test_fields_and_reactions_of_other_versions_are_passed_over(tmp_path: Path) -> None:
    event = {"start": 1, "end": 2, "role": "audience", "content": "x", "reaction_type": "stomping", "mood": 1}
    show = only(written(tmp_path / "a.jsonl", {**OLD, "timeline": [event], "era": 7, "words": None}))
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
def test_a_broken_line_is_named_and_the_rest_is_read(tmp_path: Path, line: Any, reason: str) -> None:
    found = list(read_shows(written(tmp_path / "a.jsonl", OLD, "", line, {**OLD, "video_id": "b"})))
    assert [number for number, _ in found] == [1, 3, 4]
    broken = found[1][1]
    assert isinstance(broken, BrokenLine)
    assert str(broken).startswith("line 3: ")
    assert reason in broken.reason
    assert [show.video_id for _, show in found if isinstance(show, Show)] == ["a", "b"]


def test_bytes_that_are_no_text_are_a_broken_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\n" + json.dumps(OLD).encode() + b"\n")
    first, second = (found for _, found in read_shows(tmp_path / "a.jsonl"))
    assert isinstance(first, BrokenLine)
    assert isinstance(second, Show)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.jsonl"):
        list(read_shows(tmp_path / "no.jsonl"))
