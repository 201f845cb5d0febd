"""Properties of the live loop: independence of block sizes, causality, no stale turns, and the contents of tracks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.config import LiveConfig
from sca.infer.interfaces import AudioBlock
from sca.infer.session.input_chunker import InputChunker
from sca.infer.session.pacing import SampleClock
from sca.infer.session.stats import SessionStats
from sca.infer.session.track_writer import TrackWriter
from sca.infer.session.wav_writer import WavWriter
from tests.helpers.live_endpoints import CHUNK, CHUNK_TICKS, Run
from tests.helpers.tone_engine import Tone

sizes = st.lists(st.integers(1, 3 * CHUNK), min_size=1, max_size=8)
lengths = st.integers(0, 6 * CHUNK)


def sound(length, seed=0):
    return np.random.default_rng(seed).uniform(-1.2, 1.2, length).astype(np.float32)


def heard_by(samples, sizes):
    """Return all inputs of an engine as bytes."""
    got = []

    def note(session, heard):
        got.append((heard.samples.tobytes(), heard.features.tobytes(), heard.chunk_index, heard.timestamp))
        return []

    run = Run(Tone(dict.fromkeys(range(99), note)), samples, LiveConfig(lag_policy="wait"), sizes=sizes)
    assert run.error is None
    return got


@settings(max_examples=40)
@given(lengths, sizes)
def test_any_block_sizes_give_the_same_engine_inputs(length, sizes):
    samples = sound(length)
    got = heard_by(samples, sizes)
    assert got == heard_by(samples, [CHUNK])
    assert b"".join(one[0] for one in got)[: 4 * length] == np.clip(samples, -1, 1).tobytes()


@settings(max_examples=40)
@given(lengths, sizes, st.data())
def test_future_samples_do_not_reach_earlier_steps(length, sizes, data):
    samples = sound(length)
    at = data.draw(st.integers(0, length))
    changed = samples.copy()
    changed[at:] = sound(length - at, seed=1)
    whole = at // CHUNK  # chunks that end before `at`
    assert heard_by(samples, sizes)[:whole] == heard_by(changed, sizes)[:whole]


@given(lengths, sizes)
def test_chunk_time_is_that_of_its_last_sample(length, sizes):
    ear = InputChunker(CHUNK, SessionStats(), SampleClock())
    at = i = 0
    found = []
    while at < length:
        block = sound(min(sizes[i % len(sizes)], length - at))
        at, i = at + len(block), i + 1
        for chunk in ear.push(AudioBlock(block, at * 3)):
            assert chunk.end_tick <= at * 3
            found.append(chunk)
    last = ear.flush()
    assert [chunk.end_tick for chunk in found] == [(k + 1) * CHUNK_TICKS for k in range(length // CHUNK)]
    assert (last is not None) == (length % CHUNK > 0)
    if last is not None:
        assert (last.index, last.end_tick, last.valid_samples) == (len(found), length * 3, length % CHUNK)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 12 * CHUNK_TICKS), max_size=6),
    st.integers(1, 5),
    st.sampled_from([0.0, 20.0, 200.0, 330.0]),
    st.sampled_from([-100, 0, 960]),
)
def test_interruption_drops_all_stale_frames(ticks, turn_chunks, cost_ms, ahead_ms):
    from tests.helpers.live_endpoints import ListSink

    alive_from = []

    async def during(session, clock):
        for tick in sorted(ticks):
            await clock.sleep_until(tick)
            session.interrupt()
            alive_from.append((clock.now(), len(session._sink.played), session.turns.alive_from))

    run = Run(
        Tone(turn_chunks=turn_chunks),
        sound(12 * CHUNK),
        LiveConfig(step_cost_ms=cost_ms, lag_policy="wait"),
        during=during,
        sink=lambda clock: ListSink(clock, ahead_ms=ahead_ms),
    )
    assert run.error is None
    for _, played, alive in alive_from:
        assert all(frame.turn_id >= alive for _, frame in run.sink.played[played:])
    turns = [frame.turn_id for _, frame in run.sink.played]
    assert turns == sorted(turns)
    assert run.stats.chunks_out + run.stats.stale == run.stats.stepped == 12


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30), st.integers(0, 3)), max_size=12), st.integers(0, 400))
def test_track_contains_what_was_placed(tmp_path_factory, moves, length):
    """Compared with an array: pieces in order, with cuts and commits in between."""
    path = tmp_path_factory.mktemp("track") / "a.wav"
    expected = np.zeros(2000, "<i2")
    now = end = 0
    with WavWriter(path, 24_000) as wav:
        track = TrackWriter(wav)
        for n, (gap, size, kind) in enumerate(moves, 1):
            now += gap
            if kind == 0:
                track.cut(now)
                expected[now:] = 0
                end = min(end, now)
            elif kind == 1:
                track.commit(now)
            else:
                start = max(now, end)
                track.put(start, np.full(size, n, "<i2").tobytes())
                expected[start : start + size] = n
                end = start + size
        track.finish(length)
    assert path.read_bytes()[44:] == expected[:length].tobytes()
