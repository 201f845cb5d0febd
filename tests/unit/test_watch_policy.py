"""The policy of commentary in virtual time: delay, pauses, silence, repeats, stalls, instructions, questions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.config import WatchConfig
from sca.watch.engines.base import AudioPiece, Question, TextPiece, WatchEngineInfo
from sca.watch.events import CycleEnd, InstructionSet, Notice, Speech, Text
from sca.watch.policy.change import density_of, difference, grey_cells
from sca.watch.policy.director import Director
from sca.watch.policy.pacing import DelayAverage, SpeechLine
from sca.watch.policy.repeats import RepeatGate
from sca.watch.policy.rules import Ask, CancelAnswer, ReplaceEngine, Rules, rules_of
from sca.watch.policy.silence import SilenceGate
from sca.watch.profiles.model import Profile
from tests.helpers.watch_world import US, Stall, World, level_frame, sentence, spoken

RULES = Rules()


def talks(request):
    return spoken(sentence(request.cycle))


def gated(gate, pieces):
    return "".join(gate.push(piece) for piece in pieces) + gate.flush()


# Delay and pace


def test_the_delay_converges_as_an_average():
    world = World(RULES, talks).run(120)
    ends = [end for end in world.of(CycleEnd) if end.outcome == "spoke"]
    expected = 5.0
    for end in ends:
        expected += 0.2 * (end.timings.end_to_end_s - expected)
        assert end.delay_s == pytest.approx(expected, abs=1e-5)
    costs = [end.timings.end_to_end_s for end in ends]
    assert max(costs) - min(costs) < 0.65  # the declared cost, and the age of the newest picture
    assert ends[-1].delay_s == pytest.approx(np.mean(costs[-10:]), abs=0.15)


def test_skipped_cycles_do_not_count_in_the_delay():
    still = World(RULES, talks, level=lambda s: 0 if s < 60 else int(s * 37) % 256).run(59)
    assert still.outcomes.count("skipped") > 40
    spoke = [end for end in still.of(CycleEnd) if end.outcome == "spoke"]
    assert spoke[-1].delay_s == still.of(CycleEnd)[-1].delay_s


def test_the_delay_stays_within_its_bounds():
    average = DelayAverage(5 * US, 0.2, US, 8 * US)
    for _ in range(100):
        average.add(100 * US)
    assert average.us == 8 * US
    for _ in range(100):
        average.add(0)
    assert average.us == US


def test_an_hour_without_drift_or_overlaps():
    world = World(RULES, talks).run(3600)
    spans = world.utterances
    pauses = [start - end for (_, end), (start, _) in pairwise(spans)]
    assert len(spans) > 700
    assert min(pauses) >= US
    assert np.median(pauses) < 1.6 * US  # the next one is made while this one is played
    offsets = [end.timings.offset_s for end in world.of(CycleEnd) if end.outcome == "spoke"]
    early, late = np.mean(offsets[50:150]), np.mean(offsets[-100:])
    assert abs(late - early) < 0.05
    assert np.percentile(offsets[50:], 95) < 0.6  # the picture is at most half a second old


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5000), st.integers(0, 3 * US)), min_size=1, max_size=40))
def test_places_never_overlap(pieces):
    line, now_us, cycle, played = SpeechLine(US), 0, 0, []
    for is_new, samples, passed_us in pieces:
        cycle += is_new == 0
        now_us += passed_us
        play_us = line.place(cycle, samples, 1000, now_us, now_us + 500_000)
        assert play_us >= now_us
        played.append((cycle, play_us, play_us + samples * 1000))
    for (one, _, end), (other, start, _) in pairwise(played):
        assert start >= end + (US if one != other else 0)


# Silence and repeats


@pytest.mark.parametrize(
    "word", ["...", "<|silence|>", "<silence>", ' "..." \n', "…", "'<silence>'", "....", "", "**...**"]
)
def test_silence_words_are_never_told(word):
    for cut in range(len(word) + 1):
        assert gated(SilenceGate(), [word[:cut], word[cut:]]) == ""
    assert gated(SilenceGate(), list(word)) == ""


@pytest.mark.parametrize(("answer", "told"), [("Goal!", "Goal!"), ("... and it is in", "and it is in"), ("No", "No")])
def test_short_answers_and_dots_before_words(answer, told):
    assert gated(SilenceGate(), list(answer)) == told


@given(st.text(st.sampled_from('ab <|silence>."'), max_size=40), st.data())
def test_silence_does_not_depend_on_the_pieces(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    together, apart = gated(SilenceGate(), [text]), gated(SilenceGate(), pieces)
    assert apart.split() == together.split()
    assert "<silence>" not in apart


def test_nothing_is_told_before_six_characters():
    gate = SilenceGate()
    assert [gate.push(char) for char in "The ba"] == ["", "", "", "", "", "The ba"]


def test_silence_makes_no_sound_and_no_text():
    world = World(RULES, lambda request: [(0.5, TextPiece(".")), (0.6, TextPiece(".")), (0.7, TextPiece("."))]).run(20)
    assert world.of(Text) == world.of(Speech) == []
    assert set(world.outcomes) == {"silent"}


LAST = "A red car turns left into the yard. The score is 2–1."


@pytest.mark.parametrize(
    "answer",
    [
        LAST,
        "Now the red car is turning left into the yard.",
        "The score is 2 – 1",
        "a RED car turns left",
        "It is now.",
    ],
)
def test_repeats_are_not_told(answer):
    assert gated(RepeatGate(LAST), answer.partition(" ")) == ""


@pytest.mark.parametrize(
    "answer",
    [
        "A blue car turns left into the yard.",
        "The score is 2–2.",
        "The score is 1–2.",
        "A car turns red.",
        "A red car does not turn left.",
    ],
)
def test_new_words_numbers_and_orders_are_told(answer):
    assert gated(RepeatGate(LAST), list(answer)) == answer


def test_repeats_in_a_session_are_silent_until_they_are_old():
    world = World(RULES, lambda request: spoken("A car stands at the gate.")).run(80)
    reasons = [end.reason for end in world.of(CycleEnd) if end.outcome == "silent"]
    assert set(reasons) == {"the answer repeats the last one"}
    first, second, *_ = world.utterances
    assert second[0] - first[0] > 30 * US


# What is seen


def test_little_change_is_skipped_and_looked_at_in_the_end():
    world = World(RULES, lambda request: [], level=lambda s: 100).run(100)
    asked = [at / US for at, action in world.actions if isinstance(action, Ask)]
    assert asked == pytest.approx([0, 30, 60, 90], abs=1.1)
    assert world.outcomes.count("skipped") > 90
    end = next(end for end in world.of(CycleEnd) if end.outcome == "skipped")
    assert end.reason == "the picture did not change (0.0 of 1)"


def test_the_difference_is_the_mean_of_grey_values():
    black = np.zeros((90, 160, 3), np.uint8)
    half = black.copy()
    half[:, :80] = 255
    assert difference(grey_cells(black), grey_cells(half)) == pytest.approx(127.5, abs=0.1)
    assert grey_cells(np.zeros((1, 1, 3), np.uint8)).shape == (64, 64)


@pytest.mark.parametrize(
    ("change", "chars", "most", "density"),
    [
        (40, 0, None, "normal"),
        (40, 120, None, "brief"),
        (40, 300, None, "minimal"),
        (2, 0, None, "minimal"),
        (8, 0, None, "brief"),
        (40, 0, "brief", "brief"),
        (2, 0, "normal", "minimal"),
    ],
)
def test_density(change, chars, most, density):
    assert density_of(change, chars, most) == density


def test_the_last_answer_and_the_prompts_are_handed_over():
    rules = Rules(system="You comment.", instruction="Comment.", max_tokens=40, names={"ARS": "Arsenal"})
    one, two = World(rules, talks).run(12).of(Ask)[:2]
    assert (one.request.last_answer, two.request.last_answer) == ("", sentence(0))
    assert (one.request.system, one.request.instruction, one.request.max_tokens) == ("You comment.", "Comment.", 40)
    assert two.request.names == {"ARS": "Arsenal"}


def test_names_of_the_profile_are_part_of_the_prompt():
    profile = Profile(system="You comment.", names={"ARS": "Arsenal", "CHE": "Chelsea"})
    rules = rules_of(
        WatchConfig(), profile, WatchEngineInfo("e", "s"), voice=None, delayed=True, delegates=True, delay_s=1.5
    )
    assert rules.system == "You comment.\nNames on the screen: ARS is Arsenal; CHE is Chelsea."
    assert (rules.delay_us, rules.delay_alpha, rules.pause_us, rules.max_tokens) == (1_500_000, 0.2, US, 150)
    assert rules.names == profile.names
    assert not rules.delegates, "the engine has no questions"


def test_remarks_before_an_answer_start_no_other_cycle():
    director = Director(Rules(every_frame=True, voice=None, delayed=False))
    (ask,) = director.look([level_frame(0, 0)], 0)
    director.saw(wants=True)
    director.piece(0, TextPiece("The scene changes."), 10)
    director.answered(0, None, 20)
    assert (ask.request.cycle, director.wants, director.due_us) == (0, False, US)
    director.saw(wants=True)
    assert (director.wants, director.due_us) == (True, 0)


# Instructions


def test_a_new_instruction_starts_a_cycle_at_once():
    world = World(RULES, lambda request: spoken(f"{request.instruction} {request.cycle}"), level=lambda s: 7)
    world.at(20.3, lambda: world.do(world.director.set_instruction(" Count the cars ", world.now_us)))
    world.at(50.0, lambda: world.do(world.director.set_instruction("", world.now_us)))
    world.run(90)
    asked = [(at / US, a.request.instruction) for at, a in world.actions if isinstance(a, Ask)]
    assert (20.3, "Count the cars") in asked
    assert all(text == "" for at, text in asked if not 20 < at < 50)
    assert [event.instruction for event in world.of(InstructionSet)] == ["Count the cars", ""]


def test_a_new_instruction_ends_the_answer_in_progress():
    world = World(RULES, lambda request: Stall() if request.cycle == 0 else talks(request))
    world.at(2.0, lambda: world.do(world.director.set_instruction("Look left", world.now_us)))
    world.run(10)
    assert world.outcomes[0] == "cancelled"
    assert world.of(CycleEnd)[0].reason == "the instruction has changed"
    assert world.of(Ask)[1].request.instruction == "Look left"


# What goes wrong


@pytest.mark.parametrize("ends", [True, False])
def test_a_stalled_engine_freezes_nothing(ends):
    world = World(RULES, lambda request: Stall(ends) if request.cycle == 1 else talks(request)).run(60)
    failed = [end for end in world.of(CycleEnd) if end.outcome == "failed"]
    assert [end.reason for end in failed] == ["nothing came from the engine for 20 s"]
    assert world.captured >= 120  # pictures went on
    assert len(world.of(CancelAnswer)) == 1
    assert len(world.of(ReplaceEngine)) == (0 if ends else 1)
    assert world.outcomes.count("spoke") > 5


def test_a_lost_source_is_waited_for():
    world = World(RULES, talks, level=lambda s: None if 20 < s < 50 else int(s * 37) % 256).run(80)
    asked = [at / US for at, action in world.actions if isinstance(action, Ask)]
    assert not [at for at in asked if 26 < at < 50]
    assert [at for at in asked if at >= 50]
    assert set(world.outcomes) <= {"spoke", "skipped"}


def test_failures_are_tried_again_with_growing_pauses():
    world = World(RULES, lambda request: [])
    director = world.director
    original = director.answered
    director.answered = lambda cycle, problem, now_us: original(cycle, "no server", now_us)
    world.run(40)
    asked = [at / US for at, action in world.actions if isinstance(action, Ask)]
    assert [round(b - a) for a, b in pairwise(asked)] == [1, 2, 4, 8, 16]


def test_a_too_long_answer_is_cut_off():
    world = World(Rules(max_tokens=10), lambda request: [(n / 10, TextPiece(f" word{n}")) for n in range(200)]).run(15)
    assert world.of(CancelAnswer)
    assert all(len(text) < 100 for text in world.texts)


# Engines with a voice of their own


def audio(after_s, seconds=1.0):
    return after_s, AudioPiece(np.zeros(int(seconds * 1000), np.float32), 1000)


def test_audio_of_an_engine_waits_for_its_text():
    rules = Rules(voice="engine", delayed=False)
    world = World(rules, lambda request: [audio(0.5), (1.0, TextPiece(sentence(request.cycle))), audio(1.1)]).run(4)
    first = world.of(Speech)[0]
    assert first.play_us == 1 * US
    silent = World(rules, lambda request: [audio(0.5), (1.0, TextPiece("...")), audio(1.1)]).run(10)
    assert silent.of(Speech) == []


def test_without_a_voice_text_is_told_alone():
    world = World(Rules(voice=None), talks).run(20)
    assert world.of(Speech) == []
    assert len(world.texts) > 5
    assert world.of(CycleEnd)[0].timings.end_to_end_s == 1.0


# Questions


def test_questions_are_answered_later_and_block_nothing():
    def answer(request):
        question = [(0.2, Question("Who is number 9?"))] if request.cycle == 0 else []
        return [*question, *talks(request)]

    world = World(Rules(delegates=True, delayed=False), answer, facts=(6.0, "Number 9 is Ada.")).run(40)
    findings = [ask.request.findings for ask in world.of(Ask)]
    assert findings[0] == findings[1] == ()
    assert [one for one in findings if one] == [("Number 9 is Ada.",)]
    assert world.outcomes[:2] == ["spoke", "spoke"]


def test_questions_without_a_second_model_are_noticed():
    world = World(RULES, lambda request: [(0.2, Question("Who?"))]).run(1)
    assert world.of(Notice)[0].text == "a question of the engine is dropped: no watch.delegate_base_url is set"
