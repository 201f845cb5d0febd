"""The settings that rows are verified against."""

from dataclasses import dataclass

from sca.config import Settings
from sca.control_tokens import ControlTokens, control_tokens_of
from sca.data.duplex.rows.params import prompt_ids, window_plan
from sca.data.duplex.rows.windows import WindowPlan
from sca.tokenizer import TextTokenizer
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["ProofContext", "proof_context"]


@dataclass(frozen=True, slots=True)
class ProofContext:
    """The grid, the tokenizer and the settings that rows were made with.

    Attributes:
        tokenizer: The tokenizer.
        chunk_samples: Samples of a chunk at 16 kHz.
        mel_frames: Log-mel frames of a chunk.
        frames: Audio placeholders of a chunk.
        capacity: Text tokens of a chunk.
        lead: Chunks that a token precedes the chunk of its word's onset.
        pull: Most chunks that a token precedes the chunk it should be in.
        max_lag: Chunks of lag above which a segment is flagged.
        drops_units: Whether segments that lag more are left out.
        silence_id: Silence token.
        placeholder: Audio placeholder.
        prompt_ids: Tokens of the system prompt.
        max_tokens: Most tokens of a row.
        controls: Control tokens.
        masks_unlabelled: Whether chunks with unknown words are left out of the labels.
        gap: Samples at 16 kHz that separate two units of one speaker at least.
        windows: Bounds of the windows.
    """

    tokenizer: TextTokenizer
    chunk_samples: int
    mel_frames: int
    frames: int
    capacity: int
    lead: int
    pull: int
    max_lag: int
    drops_units: bool
    silence_id: int
    placeholder: int
    prompt_ids: tuple[int, ...]
    max_tokens: int
    controls: ControlTokens
    masks_unlabelled: bool
    gap: int
    windows: WindowPlan


def proof_context(settings: Settings, tokenizer: TextTokenizer) -> ProofContext:
    """Return the context of the settings."""
    grid, duplex = settings.grid, settings.duplex
    return ProofContext(
        tokenizer=tokenizer,
        chunk_samples=grid.heard_samples,
        mel_frames=grid.mel_frames,
        frames=grid.frames_per_chunk,
        capacity=duplex.tokens_per_chunk,
        lead=duplex.lead_chunks,
        pull=duplex.pull_chunks,
        max_lag=duplex.max_lag_chunks,
        drops_units=duplex.on_lag == "drop-unit",
        silence_id=duplex.silence_token_id,
        placeholder=duplex.audio_placeholder,
        prompt_ids=prompt_ids(settings, tokenizer),
        max_tokens=duplex.max_tokens,
        controls=control_tokens_of(duplex),
        masks_unlabelled=duplex.unlabelled_speech == "mask",
        gap=seconds_to_samples(duplex.unit_gap_s, HEARD_HZ),
        windows=window_plan(settings, tokenizer),
    )
