"""Recipes: their format, the lines in errors, the words of stages, what counts as done, and the loop over stages."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer.main

from sca.cli.main import app
from sca.cli.run.commands import StageCommands
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.status import read_status
from sca.errors import ConfigError, InputError, OutputError, PartialFailure, UsageError
from sca.recipes.child import ChildEnd
from sca.recipes.estimate import BYTES_AN_HOUR, CPU_S_AN_HOUR, START_S, estimate
from sca.recipes.format import parse_recipe
from sca.recipes.material import Amount
from sca.recipes.plan import Given, make_plan
from sca.recipes.run import Selection, StageFailedError, failure_of, run_recipe
from sca.recipes.shipped import shipped_names, shipped_recipe
from sca.recipes.source import Source
from sca.recipes.state import RunState, inputs_print
from sca.urls.shown import forget_shown, show_as

HEAD = '[recipe]\nname = "talk"\nfolder = "made"\n'
COMMANDS = StageCommands(typer.main.get_command(app))


def plan_of(text, **given):
    source = Source("talk.toml", HEAD + text)
    return make_plan(parse_recipe(source), source, COMMANDS, Given(**given))


def words(text, **given):
    return [" ".join(stage.words) for stage in plan_of(text, **given).stages]


def mistakes(text, head=HEAD):
    source = Source("talk.toml", head + text)
    with pytest.raises(ConfigError) as raised:
        make_plan(parse_recipe(source), source, COMMANDS)
    return [line.strip() for line in raised.value.lines[1:]] or [raised.value.message]


def test_words_of_stages():
    made = words(
        """
        [variables]
        rate = 16000
        [settings]
        audio.track = 2
        [[stage]]
        command = "transcode"
        arguments = ["in", "{folder}/audio", "any"]
        sample_rate = "{rate}"
        loudness = -23
        retry-failed = false
        [[stage]]
        command = "transcribe"
        arguments = ["{stages.transcode.output}"]
        output = "{folder}/{{x}}.jsonl"
        output-format = ["srt", "vtt"]
        diarize = true
        multilingual = false
        settings = { transcribe.captions = "none", "audio.track" = 1 }
        [[stage]]
        command = "export"
        arguments = ["rows"]
        to = "parquet"
        output = "out"
        """
    )
    assert made == [
        "transcode in made/audio any --sample-rate 16000 --loudness=-23 --no-retry-failed --set audio.track=2",
        "transcribe made/audio --output made/{x}.jsonl --output-format srt --output-format vtt --diarize "
        "--set audio.track=1 --set transcribe.captions=none",
        "export rows --to parquet --output out --set audio.track=2",
    ]


def test_inputs_and_outputs():
    plan = plan_of(
        """
        [[stage]]
        command = "transcode"
        arguments = ["in", "{folder}/audio", "any"]
        [[stage]]
        command = "convert"
        input-file = "x.jsonl"
        audio-dir = "{stages.transcode.output}"
        [[stage]]
        command = "verify"
        arguments = ["{stages.convert.output}"]
        """
    )
    assert [(stage.inputs, stage.output) for stage in plan.stages] == [
        (("in",), "made/audio"),
        (("x.jsonl", "made/audio"), "dataset/converted"),
        (("dataset/converted",), None),
    ]


def test_command_line_wins_over_the_recipe():
    text = """
        [variables]
        corpus = "{folder}/corpus"
        lead = 1
        [settings.duplex]
        lead_chunks = "{lead}"
        [[stage]]
        command = "build-duplex"
        arguments = ["{corpus}"]
        """
    assert words(text) == ["build-duplex made/corpus --set duplex.lead_chunks=1"]
    changed = words(text, variables=["lead=3"], folder="other", settings={"duplex.window": "session"})
    assert changed == ["build-duplex other/corpus --set duplex.lead_chunks=3 --set duplex.window=session"]
    for wrong in ("lead=x", "led=3", "lead"):
        with pytest.raises(UsageError, match="--var"):
            plan_of(text, variables=[wrong])


def test_all_mistakes_with_their_lines():
    found = mistakes(
        """[settings]
duplex.windw = "20-60"
[[stage]]
command = "transcod"
[[stage]]
command = "transcribe"
# the recordings
arguments = [
  "{folder}/x",
  "{nofolder}",
]
diarise = true
[[stage]]
command = "build-duplex"
arguments = ["x"]
jobs = 0
[[stage]]
command = "build-duplex"
name = "again"
lead = -3
settings = { "duplex.window" = "wide" }
[[stage]]
command = "export"
[[stage]]
command = "serve"
[[stage]]
command = "verify"
arguments = ["x"]
strict = "yes"
json = true
"""
    )
    assert [line.split(": ")[0] for line in found] == [
        f"talk.toml:{n}" for n in (5, 7, 11, 15, 19, 23, 24, 26, 28, 32, 33)
    ]
    assert "did you mean duplex.window?" in found[0]
    assert "did you mean transcode?" in found[1]
    assert "did you mean diarize?" in found[3]
    assert "0 is not in the range" in found[4]
    assert "Missing argument" in found[7]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[[stage]]\narguments = []\n", 4, "command of stage 1 is missing"),
        ('[[stage]]\ncommand = "verify"\narguments = [["x"]]\n', 6, "should be text, a number"),
        ('[[stage]]\ncommand = "verify"\nstrict = { a = 1 }\n', 6, "is a table"),
        ('[[stage]]\ncommand = "verify"\n[[stage]]\ncommand = "verify"\n', 6, "both called verify"),
        ('[variables]\nfolder = "x"\n[[stage]]\ncommand = "verify"\n', 5, "is the folder"),
        ('[other]\n[[stage]]\ncommand = "verify"\n', 4, "no field of a recipe"),
        ("[[stage\n", 4, "not valid TOML"),
    ],
)
def test_line_of_a_mistake(text, line, reason):
    (found,) = mistakes(text)
    assert found.startswith(f"talk.toml:{line}: ")
    assert reason in found


def test_mistakes_in_the_head():
    stage = '[[stage]]\ncommand = "verify"\narguments = ["x"]\n'
    assert "[recipe] is missing" in mistakes(stage, head="")[0]
    assert mistakes(stage, head='[recipe]\nname = "A b"\nfolder = "x"\n')[0].startswith("talk.toml:2: name should be")
    assert "has a variable" in mistakes(stage, head='[recipe]\nname = "a"\nfolder = "{x}"\n')[0]


def test_shipped_recipes_are_valid():
    assert shipped_names() == ["comedy", "magichub", "podcast", "synth", "train"]
    for name in shipped_names():
        plan = make_plan(*shipped_recipe(name), COMMANDS)
        assert plan.head.name == name
        assert str(plan.folder) == f"dataset/{name}"


def test_example_of_the_page_is_valid():
    page = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    source = Source("recipe.toml", page.split("```toml\n")[1].split("```")[0])
    transcribe, rows = make_plan(parse_recipe(source), source, COMMANDS).stages
    assert {"--diarize", "--max-speakers"} < set(transcribe.words)
    assert (rows.name, rows.output, rows.on_partial) == ("rows", "dataset/podcast/rows", "stop")


STAGES = """
[[stage]]
command = "transcode"
arguments = ["in", "{folder}/audio", "any"]
[[stage]]
command = "transcribe"
arguments = ["{stages.transcode.output}"]
output = "{folder}/lines.jsonl"
[[stage]]
command = "verify"
arguments = ["{stages.transcribe.output}"]
"""


class Stub:
    """Writes the output of a command in place of the command."""

    def __init__(self, codes=()):
        self.codes = dict(codes)
        self.ran = []

    def __call__(self, words, *, to_stderr):
        command = words[0]
        self.ran.append(command)
        code = self.codes.get(command, 0)
        if isinstance(code, BaseException):
            raise code
        if code in (0, 7) and command == "transcode":
            folder = Path(words[2])
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "a.flac").exists():
                (folder / "a.flac").write_text("sound")
        elif code in (0, 7) and command == "transcribe":
            Path(words[3]).write_text("{}\n")
        return ChildEnd(code, 1.0, 0.5)


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.webm").write_text("sound")
    return tmp_path


def run(text=STAGES, codes=(), selection=None, **given):
    stub = Stub(codes)
    results = run_recipe(plan_of(text, **given), selection, child=stub)
    return stub.ran, [result.state for result in results], failure_of(results)


ALL = ["transcode", "transcribe", "verify"]


def test_second_run_does_nothing(there):
    assert run() == (ALL, ["done"] * 3, None)
    assert run() == ([], ["done before"] * 3, None)
    assert run(selection=Selection(again=True))[0] == ALL


def test_what_makes_stages_run_again(there):
    run()
    (there / "in" / "b.webm").write_text("more")
    assert run()[0] == ["transcode"], "what it wrote has not changed"
    (there / "made" / "audio" / "b.flac").write_text("more")
    assert run()[0] == ["transcribe"]
    (there / "made" / "lines.jsonl").unlink()
    assert run()[0] == ["transcribe"]
    assert run(settings={"transcribe.captions": "none"})[0] == ALL, "the key has the settings of all stages before"
    assert run(STAGES.replace('"any"]', '"any", "wav"]'))[0] == ALL


def test_failed_stage_ends_the_run_with_its_exit_code(there):
    ran, states, failure = run(codes={"transcribe": 6})
    assert (ran, states) == (["transcode", "transcribe"], ["done", "failed", "not reached"])
    assert isinstance(failure, StageFailedError)
    assert failure.exit_code == 6
    assert run()[0] == ["transcribe", "verify"]
    killed = run(codes={"verify": -9}, selection=Selection(again=True))[2]
    assert "SIGKILL" in killed.message
    assert killed.exit_code == 137


def test_partial_stage_goes_on_or_stops(there):
    ran, states, failure = run(codes={"transcode": 7})
    assert (ran, states) == (ALL, ["partial", "done", "done"])
    assert isinstance(failure, PartialFailure)
    assert run()[0] == ["transcode"], "a partial stage is tried again"
    stops = STAGES.replace('"any"]', '"any"]\non_partial = "stop"')
    ran, states, failure = run(stops, codes={"transcode": 7}, selection=Selection(again=True))
    assert (ran, states) == (["transcode"], ["partial", "not reached", "not reached"])
    assert isinstance(failure, PartialFailure)


def test_selection_of_stages(there):
    with pytest.raises(UsageError, match="output of stage transcode, which does not exist"):
        run(selection=Selection(first="transcribe"))
    assert run(selection=Selection(last="transcribe"))[1] == ["done", "done", "not selected"]
    assert run(selection=Selection(only=["verify"]))[1] == ["not selected", "not selected", "done"]
    for wrong in (Selection(first="x"), Selection(only=["x"]), Selection(first="verify", last="transcode")):
        with pytest.raises(UsageError):
            run(selection=wrong)


def test_interrupt_leaves_a_stage_started(there):
    with pytest.raises(KeyboardInterrupt):
        run(codes={"transcribe": KeyboardInterrupt()})
    entries = RunState(plan_of(STAGES)).entries()
    assert {name: entry.status for name, entry in entries.items()} == {"transcode": "kept", "transcribe": "started"}
    assert run()[0] == ["transcribe", "verify"]


def test_ledger_has_a_line_per_stage(there):
    run(codes={"transcode": 7})
    run()
    entries = Ledger(there / "made" / ".sca" / "run.jsonl")
    assert len(entries.path.read_text().splitlines()) == 3
    facts = entries.entries()["transcribe"].extra
    assert (facts["exit_code"], facts["wall_s"], facts["cpu_s"]) == (0, 1.0, 0.5)
    record = json.loads((there / "made" / ".sca" / "run.json").read_text())
    assert [stage["output"] for stage in record["stages"]] == ["audio", "lines.jsonl", None]


def test_folder_at_a_url_is_the_same_recipe_on_every_machine(there):
    plans = []
    for machine in ("one", "two"):
        show_as(there / machine, "s3://talks")
        plans.append(plan_of(STAGES, folder=there / machine))
        (there / machine).mkdir()
        (there / machine / "a.wav").write_bytes(b"1")
        os.utime(there / machine / "a.wav", (1, 1))
    first, second = ([stage.key for stage in plan.stages] for plan in plans)
    assert first == second
    assert inputs_print([str(there / "one")]) == inputs_print([str(there / "two")])
    forget_shown()
    assert inputs_print([str(there / "one")]) != inputs_print([str(there / "two")])


def test_folders_of_others_are_refused(there):
    run()
    other = Source("other.toml", HEAD.replace("talk", "other") + STAGES)
    with pytest.raises(OutputError, match="the recipe talk"):
        run_recipe(make_plan(parse_recipe(other), other, COMMANDS), child=Stub())
    (there / "export" / ".sca").mkdir(parents=True)
    (there / "export" / ".sca" / "export.json").write_text("{}")
    with pytest.raises(OutputError, match="sca export"):
        run(folder=there / "export")
    (there / "linked").mkdir()
    (there / "linked" / ".sca").symlink_to(there / "in")
    with pytest.raises(OutputError, match="is a link"):
        run(folder=there / "linked")
    assert [path.name for path in (there / "in").iterdir()] == ["a.webm"]


def test_one_run_at_a_time(there):
    state = RunState(plan_of(STAGES))
    with state.held(), pytest.raises(InputError, match="another sca run"):
        run()


def test_estimate_before_anything_is_there():
    text = """
        [[stage]]
        command = "synth"
        shipped = "all"
        hours = 10
        output = "{folder}/corpus"
        [[stage]]
        command = "build-duplex"
        arguments = ["{stages.synth.output}"]
        jobs = 1
        [[stage]]
        command = "verify"
        arguments = ["{stages.build-duplex.output}"]
        """
    plan = plan_of(text)
    found = estimate(plan, plan.stages)
    assert [one.state for one in found] == ["to do"] * 3
    assert [one.todo for one in found] == [Amount(None, 10.0)] * 3
    assert found[1].time_s == pytest.approx(START_S + 10 * CPU_S_AN_HOUR["build-duplex"])
    assert found[1].bytes == 10 * BYTES_AN_HOUR["build-duplex"]
    assert [one.state for one in estimate(plan, plan.stages[1:2])] == ["not selected", "to do", "not selected"]


def test_estimate_counts_recordings_and_what_is_done(there):
    soundfile.write(there / "in" / "a.wav", np.zeros(8000 * 36), 8000)
    soundfile.write(there / "in" / "b.wav", np.zeros(8000 * 72), 8000)
    (there / "in" / "a.webm").unlink()
    plan = plan_of(STAGES)
    first = estimate(plan, plan.stages)
    assert [(one.todo.items, round(one.todo.hours, 3)) for one in first] == [(2, 0.03)] * 3
    Ledger(there / "made" / "audio" / "ledger.jsonl").settle(
        [LedgerEntry("a.wav", "k", "kept", extra={"seconds": 36.0})]
    )
    second = estimate(plan, plan.stages)
    assert [one.todo.items for one in second] == [1, 2, 2]
    assert second[0].todo.hours == pytest.approx(0.02)


def test_estimate_uses_the_rate_of_earlier_runs(there):
    def transcode(words, *, to_stderr):
        if words[0] == "transcode":
            entry = LedgerEntry("a.webm", "k", "kept", extra={"seconds": 3600.0})
            Ledger(there / "made" / "audio" / "ledger.jsonl").settle([entry])
        return ChildEnd(0, 100.0, 50.0)

    run_recipe(plan_of(STAGES), child=transcode)
    entry = RunState(plan_of(STAGES)).entries()["transcode"]
    assert entry.extra["measured"] == {"hours": 1.0, "wall_s": 100.0}
    run_recipe(plan_of(STAGES), Selection(again=True), child=transcode)
    assert RunState(plan_of(STAGES)).entries()["transcode"].extra["measured"]["wall_s"] == 100.0
    soundfile.write(there / "in" / "b.wav", np.zeros(8000 * 36), 8000)
    (there / "in" / "a.webm").unlink()
    found = estimate(plan_of(STAGES), plan_of(STAGES).stages, again=True)
    assert found[0].is_measured


def test_status_of_a_recipe(there):
    run(codes={"transcribe": 6})
    first, *others = read_status(there / "made")
    assert (first.stage, first.counts) == ("run", {"kept": 1, "failed": 1, "waiting": 1})
    assert not first.is_complete
    assert [(item.item, item.reason) for item in first.failed] == [("transcribe", "exit code 6")]
    assert others == []
    run()
    assert read_status(there / "made")[0].is_complete
    (there / "made" / "inner").mkdir()
    (there / "made" / "audio" / "ledger.jsonl").write_text('{"item": "a", "key": "k", "status": "kept"}\n')
    (there / "made").rename(there / "moved")  # outputs in the folder are found there
    (there / "moved" / "audio").rename(there / "moved" / "inner" / "audio")
    record = (there / "moved" / ".sca" / "run.json").read_text()
    (there / "moved" / ".sca" / "run.json").write_text(record.replace('"audio"', '"inner/audio"'))
    assert [status.stage for status in read_status(there / "moved")] == ["run", "transcode"]


def test_stage_must_end_with_its_work(there):
    (found,) = mistakes('[[stage]]\ncommand = "transcode"\narguments = ["in", "out"]\nexecutor = "slurm"\n')
    assert found.startswith("talk.toml:7: --executor slurm submits sca transcode")


def test_url_is_an_input_and_an_output():
    text = '[[stage]]\ncommand = "transcode"\narguments = ["s3://bucket/in", "s3://bucket/out"]\n'
    (stage,) = plan_of(text).stages
    assert (stage.inputs, stage.output) == (("s3://bucket/in",), "s3://bucket/out")
