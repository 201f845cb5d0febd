"""The contract of engines, as tests. To test an engine, inherit from `EngineContract`:

    class TestMine(EngineContract):
        @pytest.fixture(scope="class")
        @classmethod
        def engine(cls):
            return MyEngine(tiny_random_weights)

`speech` is one side of a conversation, long enough for any engine to answer. A class may override it for an engine that
needs other audio.
"""

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.mel import log_mel
from sca.errors import ConfigError
from sca.infer.engine import BatchEngine, Engine, EngineInfo, SessionConfig
from sca.infer.frames import (
    NO_FEATURES,
    AudioInput,
    AudioOutput,
    ErrorFrame,
    Interrupt,
    Lag,
    ThoughtPacket,
    TurnEnd,
    UserText,
)
from sca.resources import demo_corpus
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

GRID = Grid()


def demo_speech(speaker=1, seconds=24):
    """Return one side of the demo conversation, float32 `(n,)` at 16 kHz."""
    with demo_corpus() as folder:
        return read_audio(folder / "WAV" / f"D0001_S0001_0_G000{speaker}.flac", HEARD_HZ)[: seconds * HEARD_HZ]


def inputs_of(sound, *, features, first=0, grid=GRID):
    """Yield the whole chunks of `sound` as engine inputs."""
    size = grid.heard_samples
    for i in range(len(sound) // size):
        samples = sound[i * size : (i + 1) * size].copy()
        mel = log_mel(samples)[None] if features else NO_FEATURES
        yield AudioInput(mel, samples, first + i, (first + i) * size)


def comparable(frames):
    """Return the frames of one step as values that `==` compares."""
    return [
        (
            f.text_token_str,
            f.token_ids,
            f.chunk_index,
            None if f.hidden_states is None else np.asarray(f.hidden_states).tobytes(),
        )
        if isinstance(f, ThoughtPacket)
        else f
        for f in frames
    ]


class EngineContract:
    """See the module. `alike` is the number of equal chunks before the inputs of two sessions differ."""

    alike = 30

    @pytest.fixture
    def config(self):
        return SessionConfig(grid=GRID)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls):
        return demo_speech()

    @pytest.fixture(scope="class")
    @classmethod
    def other_speech(cls):
        return demo_speech(speaker=2)

    @pytest.fixture
    def session(self, engine, config):
        session = engine.open(config)
        yield session
        session.close()

    def chunks(self, engine, sound, first=0):
        return list(inputs_of(sound, features=engine.info.uses_features, first=first))

    def run(self, session, inputs):
        return [comparable(session.step(one)) for one in inputs]

    def test_declares_its_properties(self, engine):
        assert isinstance(engine, Engine)
        assert isinstance(engine.info, EngineInfo)
        assert engine.info.name
        assert engine.info.summary
        assert "\n" not in engine.info.summary

    def test_frames_are_valid_and_belong_to_their_chunk(self, engine, session, speech):
        spoke, last_turn = False, 0
        for one in self.chunks(engine, speech):
            frames = session.step(one)
            said = [f for f in frames if isinstance(f, AudioOutput)]
            assert sum(f.num_samples for f in said) <= GRID.spoken_samples
            for f in said:
                assert (f.format_error, f.sample_rate, f.chunk_index) == (None, SPOKEN_HZ, one.chunk_index)
            for f in frames:
                if isinstance(f, ThoughtPacket):
                    assert f.chunk_index == one.chunk_index
                    assert f.hidden_states is None or (
                        len(f.hidden_states.shape) == 3 and f.hidden_states.shape[0] == 1
                    )
                elif not isinstance(f, UserText):
                    assert isinstance(f, AudioOutput | TurnEnd | Interrupt | Lag | ErrorFrame)
                    assert f.turn_id >= last_turn
                    last_turn = f.turn_id
                if isinstance(f, TurnEnd | Interrupt | Lag | ErrorFrame | UserText):
                    assert f.sample == one.timestamp + len(one.samples)
            spoke = spoke or bool(said)
        assert spoke == engine.info.produces_audio

    def test_interrupted_or_ended_turn_does_not_continue(self, engine, session, speech):
        over = -1
        for one in self.chunks(engine, np.concatenate([speech, speech])):
            for f in session.step(one):
                if isinstance(f, AudioOutput):
                    assert f.turn_id > over
                elif isinstance(f, TurnEnd | Interrupt):
                    over = max(over, f.turn_id)

    def test_inputs_are_not_modified(self, engine, session, speech):
        for one in self.chunks(engine, speech)[:3]:
            samples, features = one.samples.copy(), one.features.copy()
            session.step(one)
            np.testing.assert_array_equal(one.samples, samples)
            np.testing.assert_array_equal(one.features, features)

    def test_past_output_does_not_depend_on_future_input(self, engine, config, speech):
        inputs = self.chunks(engine, speech)
        changed = self.chunks(
            engine, np.concatenate([speech[: self.alike * GRID.heard_samples], -speech[: 20 * GRID.heard_samples]])
        )
        one, other = engine.open(config), engine.open(config)
        alike = slice(self.alike)
        assert len(inputs) >= self.alike
        assert self.run(one, inputs[alike]) == self.run(other, changed[alike])

    @pytest.mark.parametrize("length", [0, 1, GRID.heard_samples - 1, GRID.heard_samples + 1, 2 * GRID.heard_samples])
    def test_rejects_chunks_of_another_length(self, session, length):
        with pytest.raises(ValueError, match=str(GRID.heard_samples)):
            session.step(AudioInput(NO_FEATURES, np.zeros(length, np.float32), 0, 0))

    @pytest.mark.parametrize("dtype", [np.float64, np.int16])
    def test_rejects_other_dtypes(self, session, dtype):
        with pytest.raises(ValueError, match="float32"):
            session.step(AudioInput(NO_FEATURES, np.zeros(GRID.heard_samples, dtype), 0, 0))

    def test_chunks_are_in_order_and_may_have_gaps(self, engine, session, speech):
        inputs = self.chunks(engine, speech)
        session.step(inputs[0])
        session.step(inputs[2])
        for late in (2, 1):
            with pytest.raises(ValueError, match="order"):
                session.step(inputs[late])
        session.step(inputs[3])

    def test_rejected_chunk_has_no_effect(self, engine, config, speech):
        inputs = self.chunks(engine, speech)[:24]
        one, other = engine.open(config), engine.open(config)
        for i, heard in enumerate(inputs):
            with pytest.raises(ValueError, match="float32"):
                one.step(AudioInput(NO_FEATURES, np.zeros(7, np.float32), i, 0))
            assert comparable(one.step(heard)) == comparable(other.step(heard))

    def test_two_sessions_share_no_state(self, engine, config, speech, other_speech):
        left, right = self.chunks(engine, speech), self.chunks(engine, other_speech)
        alone = [self.run(engine.open(config), side) for side in (left, right)]
        one, other = engine.open(config), engine.open(config)
        together: list = [[], []]
        for a, b in zip(left, right, strict=True):
            together[0].append(comparable(one.step(a)))
            together[1].append(comparable(other.step(b)))
        assert together == alone

    def test_reset_is_a_new_session(self, engine, config, session, speech):
        inputs = self.chunks(engine, speech)
        self.run(session, inputs[:17])
        session.reset()
        assert self.run(session, inputs) == self.run(engine.open(config), inputs)
        session.reset()
        self.run(session, self.chunks(engine, speech, first=1000)[:2])

    def test_interrupt_ends_the_answer_only(self, engine, session, speech):
        inputs = self.chunks(engine, np.concatenate([speech, speech]))
        turn = None
        while inputs and turn is None:
            said = [f for f in session.step(inputs.pop(0)) if isinstance(f, AudioOutput)]
            turn = said[-1].turn_id if said else None
        if not engine.info.produces_audio:
            assert turn is None
            return
        session.interrupt(turn + 7)
        later = [f.turn_id for one in inputs for f in session.step(one) if isinstance(f, AudioOutput)]
        assert later
        assert min(later) >= turn + 7

    def test_interrupt_without_an_answer(self, engine, session, speech):
        session.interrupt(0)
        self.run(session, self.chunks(engine, speech)[:2])
        session.interrupt(3)

    def test_closed_session_rejects_calls(self, engine, config, speech):
        session = engine.open(config)
        heard = self.chunks(engine, speech)[0]
        session.step(heard)
        session.close()
        session.close()
        for refused in (lambda: session.step(heard), session.reset):
            with pytest.raises(RuntimeError, match="closed"):
                refused()

    def test_batch_steps_equal_single_steps(self, engine, config, speech, other_speech):
        if not isinstance(engine, BatchEngine):
            assert not hasattr(engine, "step_batch")
            return
        left, right = self.chunks(engine, speech), self.chunks(engine, other_speech)
        alone = [self.run(engine.open(config), side) for side in (left, right)]
        sessions = [engine.open(config), engine.open(config)]
        steps = [engine.step_batch(sessions, pair) for pair in zip(left, right, strict=True)]
        assert [[comparable(step[side]) for step in steps] for side in (0, 1)] == alone

    def test_batch_error_is_returned_for_its_session_only(self, engine, config, speech):
        if not isinstance(engine, BatchEngine):
            return
        heard = self.chunks(engine, speech)[0]
        alone = comparable(engine.open(config).step(heard))
        sessions = [engine.open(config), engine.open(config)]
        sessions[0].step(heard)
        refused, answered = engine.step_batch(sessions, [heard, heard])
        assert isinstance(refused, ValueError)
        assert comparable(answered) == alone

    def test_supports_or_rejects_another_grid(self, engine, speech):
        grid = Grid(frames_per_chunk=8)
        try:
            session = engine.open(SessionConfig(grid=grid))
        except ConfigError:
            return
        for one in inputs_of(speech, features=engine.info.uses_features, grid=grid):
            said = [f for f in session.step(one) if isinstance(f, AudioOutput)]
            assert sum(f.num_samples for f in said) <= grid.spoken_samples
        session.close()
