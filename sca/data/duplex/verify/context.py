"""The settings that rows are verified against."""

from dataclasses import dataclass

from sca.config import Settings
from sca.control_tokens import Controls, controls_of
from sca.data.duplex.rows.params import prompt_ids, window_plan
from sca.data.duplex.rows.windows import WindowPlan
from sca.tokenizer import TextTokenizer
from sca.units import HEARD_HZ

__all__ = ["ProofContext", "proof_context"]


@dataclass(frozen=True, slots=True)
class ProofContext:
    """What rows are held against: the grid and the settings they were made with, and the tokenizer. Lengths in chunks.

    gap: samples at 16 kHz that units of one speaker are apart at least.
    """

    tokenizer: TextTokenizer
    chunk_samples: int
    mel_frames: int
    frames: int
    capacity: int
    lead: int
    pull: int
    max_lag: int
    silence_id: int
    placeholder: int
    prompt_ids: tuple[int, ...]
    max_tokens: int
    controls: Controls
    gap: int
    windows: WindowPlan


def proof_context(settings: Settings, tokenizer: TextTokenizer) -> ProofContext:
    """What rows are held against."""
    grid, duplex = settings.grid, settings.duplex
    return ProofContext(
        tokenizer=tokenizer,
        chunk_samples=grid.heard_samples,
        mel_frames=grid.mel_frames,
        frames=grid.frames_per_chunk,
        capacity=duplex.text_tokens_per_chunk,
        lead=duplex.lead_chunks,
        pull=duplex.pull_chunks,
        max_lag=duplex.max_lag_chunks,
        silence_id=duplex.silence_token_id,
        placeholder=duplex.audio_placeholder,
        prompt_ids=prompt_ids(settings, tokenizer),
        max_tokens=duplex.max_tokens,
        controls=controls_of(duplex),
        gap=round(duplex.unit_gap_s * HEARD_HZ),
        windows=window_plan(settings, tokenizer),
    )
