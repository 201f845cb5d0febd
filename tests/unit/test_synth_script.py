"""Scripts of conversations: kinds of turns, and what is refused."""

import json

import pytest

from sca.errors import InputError, UsageError
from sca.synth.script import Kind, find_script, read_script, shipped_names, shipped_script


def script(tmp_path, *lines):
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def line(speaker, text, **more):
    return {"speaker": speaker, "text": text, **more}


def test_shipped_scripts_are_scripts_with_all_kinds():
    scripts = [shipped_script(name) for name in shipped_names()]
    kinds = {turn.kind for found in scripts for turn in found.turns}
    assert len(scripts) == 10
    assert kinds == set(Kind)
    assert len({found.sha256 for found in scripts}) == 10


def test_kinds_follow_from_flags_and_order(tmp_path):
    found = read_script(
        script(
            tmp_path,
            line("ann", "Hello there."),
            line("ann", "How are you?"),
            line("ben", "mm hmm", backchannel=True),
            line("ann", "I said hello."),
            line("ben", "I heard  you.", interrupts=True),
            line("ann", "Good.", overlap=0.4),
            line("ben", "Yes.", overlap=True),
        )
    )
    assert found.speakers == ("ann", "ben")
    assert [turn.kind.value for turn in found.turns] == [
        "turn", "hold", "backchannel", "hold", "interruption", "turn", "turn"
    ]  # fmt: skip
    assert [turn.overlap_s for turn in found.turns][-2:] == [0.4, 0.0]
    assert found.turns[4].text == "I heard you."


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line("a", "hi"), line("b", "")], "talk.jsonl:2: the text has no word to speak: it is empty"),
        ([line("a", "hi"), line("b", "🎉🎉")], "talk.jsonl:2: the text has no word to speak: it is only 🎉🎉"),
        ([line("a", "hi"), line("b", "ho"), line("c", "he")], "line 3 has a third speaker, c"),
        ([line("a", "hi"), line("a", "ho")], "a script has two speakers; it has 1"),
        ([], "a script has two speakers; it has 0"),
        ([line("a", "hi"), '{"speaker": "b", "te'], "talk.jsonl:2: not JSON"),
        ([line("a", "hi"), line("b", "ho", mood="sad")], "talk.jsonl:2: mood"),
        ([line("a", "hi"), ["b", "ho"]], "talk.jsonl:2: the line"),
        ([line("a", "hi", interrupts=True), line("b", "ho")], "the first turn has nothing to interrupt"),
        ([line("a", "hi"), line("b", "ho", backchannel=True, overlap=True)], "a backchannel does not take the turn"),
        ([line("a", "hi"), line("a", "ho", interrupts=True), line("b", "x")], "a has the turn already"),
        ([line("a", "hi"), line("b", "ho", style="angry")], "talk.jsonl:2: style"),
        ([line("a", "hi"), line("b", "ho", overlap=-1)], "talk.jsonl:2: overlap"),
    ],
)
def test_refuses_what_is_not_a_script(tmp_path, lines, message):
    with pytest.raises(InputError) as caught:
        read_script(script(tmp_path, *lines))
    assert message in caught.value.message


def test_refuses_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_bytes(b'{"speaker": "a", "text": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        read_script(path)


def test_an_unknown_name_lists_the_shipped_scripts():
    with pytest.raises(UsageError) as caught:
        find_script("nothing")
    assert "cafe" in (caught.value.hint or "")
