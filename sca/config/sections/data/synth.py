"""Settings of `sca synth`: voices, timing, and what happens to the sound."""

from typing import Annotated, Literal

from pydantic import Field

from sca.config.sections.base import Flag, Section

__all__ = ["SynthConfig"]


class SynthConfig(Section):
    """How `sca synth` speaks scripts."""

    voices: Annotated[str, Flag("--voices", "LIST")] = Field(
        "espeak:en-us+m3,espeak:en-gb-x-rp+f2",
        min_length=1,
        description="Voices, as ENGINE:VOICE or NAME=ENGINE:VOICE for a speaker of the script, separated by commas. Of "
        "more than two, each conversation draws two.",
    )
    timing: Annotated[str, Flag("--timing", "NAME|CORPUS")] = Field(
        "switchboard",
        min_length=1,
        description="Gaps, overlaps and pauses: switchboard, heldner-2010, stivers-2009, or a corpus to measure.",
    )
    seed: Annotated[int, Flag("--seed", "N")] = Field(
        0, ge=0, lt=2**63, description="Random seed: the same seed gives the same conversations."
    )
    rate_hz: Annotated[int, Flag("--rate", "HZ")] = Field(
        24_000, ge=8000, le=48_000, description="Sample rate of the recordings."
    )
    interruptions: Annotated[float | None, Flag("--interruptions", "SHARE")] = Field(
        None,
        ge=0,
        le=1,
        description="Share of the turn changes that become interruptions, besides those of the script; not set: that of "
        "the timing.",
    )
    backchannels: Annotated[float | None, Flag("--backchannels", "RATE")] = Field(
        None,
        ge=0,
        le=30,
        description="Backchannels per minute of the other's speech, including those of the script; not set: that of the "
        "timing.",
    )
    fade_ms: int = Field(20, ge=0, le=1000, description="Fade of a speaker who is interrupted, after the last word.")
    room: Annotated[float, Flag("--room", "SECONDS")] = Field(
        0.0, ge=0, le=5, description="Reverberation time (RT60) of the room of each speaker; 0 is none."
    )
    bleed_db: Annotated[float | None, Flag("--bleed", "DB")] = Field(
        None, ge=-100, le=0, description="Level of the other speaker on a track, such as -30; not set: none."
    )
    snr_db: Annotated[float | None, Flag("--snr", "DB")] = Field(
        None, ge=-20, le=100, description="Speech level over pink noise, in dB; not set: only a floor at -84 dBFS."
    )
    codec: Annotated[Literal["none", "mulaw", "opus"], Flag("--codec")] = Field(
        "none", description="Codec the tracks went through: mulaw is 8 kHz of a telephone, opus has 24 kbit/s."
    )
    stereo: Annotated[bool, Flag("--stereo")] = Field(
        False, description="Also write each conversation as one stereo recording, to STEREO."
    )
    script_turns: Annotated[int, Flag("--turns", "N")] = Field(
        20, ge=2, le=500, description="Turns of a script that a language model writes."
    )
    script_attempts: int = Field(
        3, ge=1, le=20, description="Answers of the language model that are tried until one is a script."
    )
