"""The scheduler against the distributions it is asked for, with thousands of turns and no audio."""

import dataclasses
from itertools import pairwise
from random import Random
from statistics import mean, median, quantiles

import pytest

from sca.synth.schedule import Sounding, schedule
from sca.synth.script import Kind, ScriptTurn
from sca.synth.timing import TIMINGS, LogNormal, Quantiles

RATE = 16_000
WORD, PAUSE = 4000, 800


def sounding(speaker, words, kind=Kind.turn, **more):
    spans = tuple((n * (WORD + PAUSE), n * (WORD + PAUSE) + WORD) for n in range(words))
    return Sounding(ScriptTurn(speaker, "x " * words, kind, **more), spans)


def answer(speaker):
    return sounding(speaker, 1, Kind.backchannel)


def dialogue(turns, seed=0):
    random = Random(seed)
    return [sounding(n % 2, random.randint(12, 30)) for n in range(turns)]


def placed_turns(timing, turns=4000, seed=1, turn_list=None):
    return schedule(turn_list or dialogue(turns), timing, Random(seed), RATE, answer)


def offsets(placed):
    """Return the seconds from the end of each turn to the start of the one after it."""
    return {
        kind: [(entry.start - placed[entry.over].end) / RATE for entry in placed if entry.kind is kind and entry.over is not None]
        for kind in Kind
    }  # fmt: skip


def test_lognormal_inverts_its_median_and_is_bounded():
    found = LogNormal(0.3, 0.7, 3.0)
    assert found.at(0.5) == pytest.approx(0.3, rel=0.01)
    assert found.at(0.999999) <= 3.0


def test_quantiles_of_measured_times_are_those_times():
    times = [Random(3).gauss(0.5, 0.2) for _ in range(3000)]
    found = Quantiles.of(times)
    assert [found.at(p) for p in (0.25, 0.5, 0.75)] == pytest.approx(quantiles(times, n=4), rel=0.02)
    assert Quantiles.of([0.4]).at(0.9) == 0.4


def test_timings_have_the_moments_of_their_sources():
    draws = {
        name: [timing.gap_s.draw(random) for _ in range(20_000)]
        for name, timing in TIMINGS.items()
        if (random := Random(5))
    }
    switchboard = TIMINGS["switchboard"]
    overlaps = [switchboard.overlap_s.draw(random) for _ in range(20_000)]
    # Levinson and Torreira 2015: the mean overlap. Roberts et al. 2015: the mean of all offsets. Stivers et al. 2009.
    assert mean(overlaps) == pytest.approx(0.275, rel=0.1)
    assert 0.7 * mean(draws["switchboard"]) - 0.3 * mean(overlaps) == pytest.approx(0.187, rel=0.1)
    assert median(draws["stivers-2009"]) == pytest.approx(0.1, rel=0.1)
    assert mean(draws["stivers-2009"]) == pytest.approx(0.208, rel=0.1)
    assert 0.6 * mean(gap > 0.2 for gap in draws["heldner-2010"]) == pytest.approx(0.43, rel=0.1)


@pytest.mark.parametrize("name", TIMINGS)
def test_what_is_asked_for_is_what_comes_out(name):
    timing = dataclasses.replace(TIMINGS[name], interruption_share=0.1, backchannels_a_minute=6.0)
    placed = placed_turns(timing)
    turns, interruptions = offsets(placed)[Kind.turn], offsets(placed)[Kind.interruption]
    gaps = [offset for offset in turns if offset >= 0]
    random = Random(9)
    wanted = [offset for offset in (timing.gap_s.draw(random) for _ in range(20_000)) if offset >= 0]
    assert quantiles(gaps, n=4) == pytest.approx(quantiles(wanted, n=4), rel=0.1)
    assert mean(gaps) == pytest.approx(mean(wanted), rel=0.1)
    assert len(interruptions) / (len(turns) + len(interruptions)) == pytest.approx(0.1, rel=0.1)
    wanted = [timing.yield_s.draw(random) for _ in range(20_000)]
    assert mean(-offset for offset in interruptions) == pytest.approx(mean(wanted), rel=0.1)
    speech_s = sum(entry.end - entry.start for entry in placed if entry.kind is not Kind.backchannel) / RATE
    answers = sum(entry.kind is Kind.backchannel for entry in placed)
    assert 60 * answers / speech_s == pytest.approx(6.0, rel=0.1)
    if timing.overlap_share:
        overlaps = [-offset for offset in turns if offset < 0]
        wanted = [timing.overlap_s.draw(random) for _ in range(20_000)]
        assert len(overlaps) / len(turns) == pytest.approx(timing.overlap_share, rel=0.1)
        assert mean(overlaps) == pytest.approx(mean(wanted), rel=0.1)


def test_holds_pause_as_asked():
    turns = [sounding(0, 8, Kind.hold if n else Kind.turn) for n in range(3000)]
    timing = TIMINGS["switchboard"]
    pauses = offsets(placed_turns(timing, turn_list=turns))[Kind.hold]
    random = Random(4)
    assert mean(pauses) == pytest.approx(mean(timing.pause_s.draw(random) for _ in range(20_000)), rel=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_a_speaker_never_talks_over_themselves(seed):
    random = Random(seed)
    kinds = [Kind.turn, Kind.turn, Kind.interruption, Kind.backchannel]
    turns = [sounding(0, 5)]
    for _ in range(200):
        kind, floor = random.choice(kinds), [turn for turn in turns if turn.turn.kind is not Kind.backchannel][-1]
        turns.append(sounding(1 - floor.turn.speaker, random.randint(1, 9), kind))
    placed = placed_turns(TIMINGS["heldner-2010"], turn_list=turns, seed=seed)
    for side in (0, 1):
        spans = sorted((entry.start, entry.end) for entry in placed if entry.sounding.turn.speaker == side)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    scripted = [entry.sounding for entry in placed]
    assert all(any(turn is found for found in scripted) for turn in turns)


def test_an_interruption_cuts_at_the_end_of_a_word():
    turns = [sounding(0, 20), sounding(1, 5, Kind.interruption)]
    first, second = (
        entry for entry in placed_turns(TIMINGS["switchboard"], turn_list=turns) if entry.kind is not Kind.backchannel
    )
    assert 2 <= first.words < 20
    assert first.end == first.start + first.sounding.words[first.words - 1][1]
    assert first.start < second.start < first.end


def test_an_asked_overlap_is_exact():
    turns = [sounding(0, 20), sounding(1, 20, overlap_s=0.4)]
    quiet = dataclasses.replace(TIMINGS["switchboard"], interruption_share=0, backchannels_a_minute=0)
    first, second = placed_turns(quiet, turn_list=turns)
    assert first.end - second.start == 0.4 * RATE
