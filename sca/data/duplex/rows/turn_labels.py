"""What a stretch of speech does in a conversation: takes a turn, nods along, or breaks in. Pure: spans in samples at 16 kHz."""

from bisect import bisect_right
from collections.abc import Sequence

from sca.data.duplex.model.labels import BACKCHANNEL, INTERRUPTION, TURN, Label
from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ

__all__ = ["label"]


# A backchannel is at most a second and three words; the other one was speaking when it began (or had stopped for less than
# 0.2 s) and is speaking again within half a second of its end. Bounds after Heldner & Edlund (2010), "Pauses, gaps and
# overlaps in conversations", where very short utterances up to a second are kept apart from turns.
_BACKCHANNEL_SAMPLES = HEARD_HZ
_BACKCHANNEL_WORDS = 3
_JUST_STOPPED = HEARD_HZ // 5
_SPEAKS_ON = HEARD_HZ // 2
# Starting in the last 0.2 s of the other's speech is a quick turn change, not an interruption.
_BREAKS_IN = HEARD_HZ // 5


def label(span: Span, n_words: int, other: Sequence[Span]) -> Label:
    """Label one unit of speech against the other speaker's units (in order, none over the next)."""
    start, end = span
    length = max(1, end - start)
    began = bisect_right(other, start, key=lambda o: o[0])
    # Only what ends after this begins, and begins soon enough after this ends, can matter.
    near = other[
        bisect_right(other, start, key=lambda o: o[1]) : bisect_right(other, end + _SPEAKS_ON, key=lambda o: o[0])
    ]
    overlapped = sum(max(0, min(end, e) - max(start, s)) for s, e in near)
    last_end = other[began - 1][1] if began else None
    offset = None if last_end is None else start - last_end
    held_floor = offset is not None and offset <= _JUST_STOPPED
    speaks_on = any(s <= end + _SPEAKS_ON and e > end for s, e in near)
    if held_floor and speaks_on and length <= _BACKCHANNEL_SAMPLES and n_words <= _BACKCHANNEL_WORDS:
        kind = BACKCHANNEL
    elif offset is not None and offset < -_BREAKS_IN and last_end is not None and last_end < end:
        kind = INTERRUPTION
    else:
        kind = TURN
    return Label(kind, min(1.0, overlapped / length), offset)
