"""Derive the parameters of row building from the settings: the row layout and the window plan."""

from sca.config import Settings
from sca.control_tokens import control_tokens_of
from sca.data.duplex.rows.assemble import Layout
from sca.data.duplex.rows.windows import WindowPlan
from sca.errors import ConfigError
from sca.tokenizer import TextTokenizer, system_turn
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["layout_of", "prompt_ids", "window_plan"]


def prompt_ids(settings: Settings, tokenizer: TextTokenizer) -> tuple[int, ...]:
    """Return the tokens that every row begins with: the system prompt as a chat turn, or none."""
    return system_turn(tokenizer, settings.duplex.system_prompt)


def layout_of(settings: Settings, tokenizer: TextTokenizer) -> Layout:
    """Return the row layout of the settings."""
    grid, duplex = settings.grid, settings.duplex
    return Layout(
        chunk_samples=grid.heard_samples,
        frames=grid.frames_per_chunk,
        capacity=duplex.tokens_per_chunk,
        lead=duplex.lead_chunks,
        pull=duplex.pull_chunks,
        max_lag=duplex.max_lag_chunks,
        drop_late_units=duplex.on_lag == "drop-unit",
        silence_id=duplex.silence_token_id,
        placeholder=duplex.audio_placeholder,
        prompt_ids=prompt_ids(settings, tokenizer),
        controls=control_tokens_of(duplex),
        masks_unlabelled=duplex.unlabelled_speech == "mask",
    )


def window_plan(settings: Settings, tokenizer: TextTokenizer) -> WindowPlan:
    """Return the window plan of the settings.

    Raises:
        ConfigError: No window fits `max_tokens`.
    """
    grid, duplex = settings.grid, settings.duplex
    # A row is longest if every chunk is full of text.
    room = duplex.max_tokens - len(prompt_ids(settings, tokenizer))
    most = room // (grid.frames_per_chunk + duplex.tokens_per_chunk)
    if duplex.window_s is None:
        low, high, segments, turns = most, most, None, 0
    else:
        shortest_s, longest_s = duplex.window_s
        # Rounded inwards, so that the bounds in seconds hold.
        low = int(-(-shortest_s // float(grid.chunk_s)))
        high = min(most, int(longest_s / float(grid.chunk_s) + 1e-9))
        segments, turns = duplex.max_segments, duplex.min_turns
    if high < 1:
        raise ConfigError(
            f"no window fits: duplex.max_tokens is {duplex.max_tokens} and duplex.window is {duplex.window!r}",
            hint="raise max_tokens or the window's upper bound",
        )
    return WindowPlan(
        min_chunks=min(low, high),
        max_chunks=high,
        max_segments=segments,
        min_silence=seconds_to_samples(duplex.min_silence_s, HEARD_HZ),
        chunk_samples=grid.heard_samples,
        lead=duplex.lead_chunks,
        min_turns=turns,
    )
