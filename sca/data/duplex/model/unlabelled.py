"""Speech of a speaker with unknown words. The rows do not teach that the speaker is silent there."""

from typing import Literal, NamedTuple

__all__ = ["UnlabelledReason", "UnlabelledSpan"]

UnlabelledReason = Literal["speech", "unintelligible", "past_end", "overlap"]
"""How it is known:

- `speech`: the VAD finds speech outside of the utterances;
- `unintelligible`: the transcript marks an utterance or a part of it as unintelligible;
- `past_end`: the transcript continues after the end of the speaker's own recording;
- `overlap`: several speakers talk on one channel, so the sound is on no track.
"""


class UnlabelledSpan(NamedTuple):
    """Samples `[start, end)` at 16 kHz from the start of the session, and how it is known that words are missing."""

    start: int
    end: int
    reason: UnlabelledReason
