"""The play-out clock, turns, sample clocks, the backlog policy and the histogram."""

import numpy as np
import pytest

from sca.infer.clock import TICKS_PER_MS
from sca.infer.session.pacing import (
    BacklogPolicy,
    Playout,
    SampleClock,
    TurnTracker,
    spoken_length,
)
from sca.infer.session.stats import Histogram, SessionStats

CHUNK = 7680 * 2
MS = TICKS_PER_MS


def test_pieces_are_contiguous_after_one_delay():
    playout = Playout(40 * MS, 200 * MS)
    assert playout.push(CHUNK, 0, now=1000) == 1000 + 40 * MS
    assert playout.push(CHUNK, 0, now=1000 + CHUNK) == 1000 + 40 * MS + CHUNK
    assert playout.push(CHUNK, 0, now=1000 + 2 * CHUNK + 39 * MS) == 1000 + 40 * MS + 2 * CHUNK
    assert playout.underruns == 0


def test_start_is_a_whole_sample_at_24_khz():
    assert [Playout(0, 0).push(CHUNK, 0, now=now) for now in (1, 2, 3)] == [2, 2, 4]


def test_gaps_lengthen_and_clean_turns_shorten_the_delay():
    playout = Playout(40 * MS, 200 * MS)
    first = playout.push(CHUNK, 0, now=0)
    late = first + CHUNK + 30 * MS
    assert playout.push(CHUNK, 0, now=late) == late + 70 * MS
    assert (playout.underruns, playout.delay) == (1, 70 * MS)
    now = late + 10 * CHUNK
    delays = []
    for turn in range(1, 12):
        now += 2 * CHUNK
        assert playout.push(CHUNK, turn, now) == now + playout.delay
        delays.append(playout.delay // MS)
    assert delays[0] == 70  # the previous turn had the gap
    assert delays == sorted(delays, reverse=True)
    assert delays[-1] == 40


def test_delay_is_bounded():
    playout = Playout(40 * MS, 200 * MS)
    playout.push(CHUNK, 0, now=0)
    playout.push(CHUNK, 0, now=10 * CHUNK)
    assert playout.delay == 200 * MS


def test_cut_discards_the_queue():
    playout = Playout(0, 0)
    playout.push(CHUNK, 0, now=0)
    playout.push(CHUNK, 0, now=0)
    assert playout.ahead(101) == 2 * CHUNK - 101
    assert playout.cut(101) == 102
    assert playout.ahead(102) == 0
    assert playout.push(CHUNK, 1, now=500) == 500
    assert playout.underruns == 0


def test_interrupted_turns_are_stale():
    turns = TurnTracker()
    assert turns.observe(0)
    assert turns.observe(1)
    turns.interrupt(1)
    assert not turns.observe(0)
    assert not turns.observe(1)
    assert turns.observe(2)
    turns.interrupt(0)  # does not affect a later turn
    assert turns.observe(2)
    assert (turns.alive_from, turns.latest) == (2, 2)


def test_sample_clock_follows_an_inaccurate_device():
    clock = SampleClock()
    # A device with 16008 Hz instead of 16 kHz: after an hour it is 28 800 samples ahead of the wall clock.
    for block in range(1, 3601):
        clock.advance(16_008, block * 48_000)
    assert clock.spoken_at(3600 * 48_000) == 3600 * 16_008 * 3 // 2
    assert clock.spoken_at(3600 * 48_000 + 480) == 3600 * 16_008 * 3 // 2 + 240


@pytest.mark.parametrize(
    ("heard", "said"), [(0, 0), (1, 2), (2, 3), (3, 5), (5120, 7680), (16_000 * 3600 * 8, 24_000 * 3600 * 8)]
)
def test_spoken_length_matches_the_input(heard, said):
    assert spoken_length(heard) == said


def test_percentiles_are_accurate_to_one_percent():
    values = np.random.default_rng(0).lognormal(6, 1.5, 20_000).astype(int)
    histogram = Histogram()
    for value in values.tolist():
        histogram.add(value)
    for percent in (50, 95, 99):
        exact = np.percentile(values, percent, method="inverted_cdf") / MS
        assert histogram.percentile_ms(percent) == pytest.approx(exact, rel=0.0101, abs=0.001)
    assert histogram.percentile_ms(100) == pytest.approx(values.max() / MS, abs=0.001)
    assert histogram.summary()["count"] == 20_000
    assert len(histogram._buckets) < 1500


def test_histogram_of_one_value_and_of_none():
    histogram = Histogram()
    assert histogram.summary() == {"p50": None, "p95": None, "p99": None, "max": None, "count": 0}
    histogram.add(20 * MS)
    assert histogram.percentile_ms(50) == histogram.percentile_ms(99) == 20
    histogram.add(-5)
    assert histogram.percentile_ms(50) == 0


def test_stats_summary_is_json():
    stats = SessionStats(chunks_in=3)
    stats.latency.add(960)
    found = stats.summary()
    assert found["chunks_in"] == 3
    assert found["latency_ms"]["p50"] == 20


def test_backlog_is_skipped_or_processed():
    skip, wait = BacklogPolicy(2, "skip", CHUNK), BacklogPolicy(2, "wait", CHUNK)
    for _ in range(3):
        skip.add_step(CHUNK + 1)
    assert [skip.decide(n) for n in (0, 2, 3, 5, 1)] == [(0, False), (0, False), (3, True), (5, True), (0, False)]
    assert [wait.decide(n) for n in (3, 5, 2, 4, 0, 3)] == [
        (0, True), (0, False), (0, False), (0, False), (0, False), (0, True),
    ]  # fmt: skip


def test_backlog_that_can_be_stepped_in_time_is_kept():
    policy = BacklogPolicy(2, "skip", CHUNK)
    policy.add_step(20 * CHUNK)  # the first step, which loads something
    assert policy.decide(20) == (0, False)
    policy.add_step(CHUNK // 4)
    assert policy.decide(7) == (0, False)  # eight chunks take the time of two
    assert policy.decide(9) == (2, True)
    policy.add_step(20 * CHUNK)  # held up once
    assert policy.decide(7) == (0, False)
    for _ in range(5):
        policy.add_step(2 * CHUNK)
    assert policy.decide(7) == (7, True)
