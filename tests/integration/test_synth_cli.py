"""`sca synth`: options, messages, and scripts that a language model writes."""

import json

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from tests.helpers.chat_server import Answer, ChatServer, streamed

TURNS = [
    {"speaker": "ann", "text": "Did you find the suitcase?"},
    {"speaker": "ben", "text": "Not yet."},
    {"speaker": "ann", "text": "It is green.", "overlap": True},
]
SCRIPT = "\n".join(map(json.dumps, TURNS))


def synth(*words):
    return CliRunner().invoke(app, ["synth", *map(str, words)])


def answer(text):
    return streamed(text)


def ask(server, output, *more):
    return synth("--topic", "A lost suitcase!", "--llm-url", server.url, "-o", output, "--jobs", 1, *more)


def test_report_and_second_run(tmp_path):
    words = ("--shipped", "lost-keys", "-o", tmp_path / "talk", "--jobs", 1, "--json")
    first, second = (json.loads(synth(*words).stdout) for _ in range(2))
    assert (first["made"], first["already"], first["failed"]) == (1, 0, {})
    assert (second["made"], second["already"]) == (0, 1)
    assert {name: first[name] for name in ("words", "audio_s", "turns")} == {
        name: second[name] for name in ("words", "audio_s", "turns")
    }
    assert first["words"] > 60
    status = CliRunner().invoke(app, ["status", str(tmp_path / "talk")])
    assert "synth: 1 kept" in status.stdout


def test_list():
    found = json.loads(synth("--list", "--json").stdout)["items"]
    assert len(found) == 10
    assert "lost-keys" in synth("--list").stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "there is no script"),
        (("--shipped", "nothing"), 2, "no script named nothing"),
        (("nothing.jsonl",), 5, "nothing.jsonl cannot be read"),
        (("--shipped", "cafe", "--voices", "espeak"), 2, "a conversation needs two voices"),
        (("--shipped", "cafe", "--timing", "nowhere"), 2, "timing nowhere does not exist"),
        (("--shipped", "cafe", "--hours", "1", "--conversations", "2"), 2, "exclude each other"),
        (("--shipped", "cafe", "--snr", "500"), 2, "--snr should be"),
        (("--topic", " ", "--llm-url", "http://127.0.0.1:1"), 2, "the topic is empty"),
    ],
)
def test_wrong_usage_is_one_line(words, code, message, tmp_path):
    done = synth(*words, "-o", tmp_path / "talk")
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_output_is_required():
    assert synth("--shipped", "cafe").exit_code == 2


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_file_that_is_no_script_fails_alone(quiet, tmp_path):
    bad, good, talk = tmp_path / "bad.jsonl", tmp_path / "good.jsonl", tmp_path / "talk"
    bad.write_text("hello", encoding="utf-8")
    good.write_text(SCRIPT, encoding="utf-8")
    done = synth(bad, good, "-o", talk, "--jobs", 1, *quiet)
    assert done.exit_code == 7
    assert "1 of 2 items failed" in done.stderr
    assert "bad.jsonl:1: not JSON" in done.stderr
    assert [path.name for path in (talk / "LABELS").iterdir()] == ["S00001-good.json"]
    failed = json.loads(CliRunner().invoke(app, ["status", str(talk), "--failed", "--json"]).stdout)
    assert failed["stages"][0]["items"] == {"kept": 1, "failed": 1}


def test_a_model_writes_a_script_once(tmp_path):
    with ChatServer(answer(f"Here is it:\n```\n{SCRIPT}\n```")) as server:
        first = ask(server, tmp_path / "talk", "--personas", "a clerk and a traveller")
        assert first.exit_code == 0, first.stderr
        asked = len(server.requests)
        again = ask(server, tmp_path / "talk", "--personas", "a clerk and a traveller", "--json")
        assert len(server.requests) == asked == 1
    assert json.loads(again.stdout)["already"] == 1
    (kept,) = (tmp_path / "talk" / ".sca" / "scripts").iterdir()
    assert kept.name.startswith("a-lost-suitcase-")
    assert [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] == TURNS


def test_half_a_json_loses_its_last_turn(tmp_path):
    with ChatServer(answer(SCRIPT + '\n{"speaker": "ben", "te')) as server:
        assert ask(server, tmp_path / "talk").exit_code == 0
    (kept,) = (tmp_path / "talk" / ".sca" / "scripts").iterdir()
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 3


def test_a_busy_server_is_tried_again(tmp_path):
    with ChatServer(Answer([b"busy"], 429), answer(SCRIPT)) as server:
        assert ask(server, tmp_path / "talk").exit_code == 0
        assert len(server.requests) == 2


def test_an_answer_that_is_no_script_is_corrected(tmp_path):
    three = SCRIPT + '\n{"speaker": "carl", "text": "Hello."}'
    with ChatServer(answer(three), answer(SCRIPT)) as server:
        assert ask(server, tmp_path / "talk").exit_code == 0
        messages = server.requests[1]["messages"]
    assert "a third speaker, carl" in messages[-1]["content"]


def test_a_model_that_refuses_is_one_line_and_leaves_nothing(tmp_path):
    with ChatServer(*[answer("I cannot help with that.")] * 3) as server:
        done = ask(server, tmp_path / "talk")
        assert len(server.requests) == 3
    assert done.exit_code == 6
    assert "wrote no script in 3 attempts: no turns in the answer 'I cannot help with that.'" in done.stderr
    assert not (tmp_path / "talk").exists() or not list((tmp_path / "talk").rglob("*.jsonl"))


def test_a_folder_of_others_is_refused_before_the_model_is_asked(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with ChatServer(answer(SCRIPT)) as server:
        assert ask(server, tmp_path).exit_code == 5
        assert not server.requests
