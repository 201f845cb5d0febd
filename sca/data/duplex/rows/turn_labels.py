"""Label units as turns, backchannels or interruptions. Pure: spans in samples at 16 kHz."""

from bisect import bisect_right
from collections.abc import Sequence

from sca.data.duplex.model.labels import BACKCHANNEL, INTERRUPTION, TURN, Label
from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ

__all__ = ["label"]

# A backchannel has at most one second and three words. The other speaker is speaking when it begins (or stopped less
# than 0.2 s ago) and speaks again within half a second after it. Bounds after Heldner & Edlund (2010), "Pauses, gaps
# and overlaps in conversations", which separates very short utterances of up to a second from turns.
_MAX_BACKCHANNEL = HEARD_HZ
_MAX_BACKCHANNEL_WORDS = 3
_JUST_STOPPED = HEARD_HZ // 5
_CONTINUES_WITHIN = HEARD_HZ // 2
# A unit that begins in the last 0.2 s of the other's speech is a quick turn change, not an interruption.
_MIN_INTERRUPTED = HEARD_HZ // 5


def label(span: Span, n_words: int, other: Sequence[Span]) -> Label:
    """Label one unit.

    Args:
        span: Samples of the unit.
        n_words: Number of its words.
        other: Spans in which the other speaker speaks, in order and disjoint.
    """
    start, end = span
    length = max(1, end - start)
    began = bisect_right(other, start, key=lambda o: o[0])
    # Only spans that end after this one begins, and begin soon enough after it ends, have an effect.
    near = other[
        bisect_right(other, start, key=lambda o: o[1]) : bisect_right(
            other, end + _CONTINUES_WITHIN, key=lambda o: o[0]
        )
    ]
    overlapped = sum(max(0, min(end, e) - max(start, s)) for s, e in near)
    last_end = other[began - 1][1] if began else None
    offset = None if last_end is None else start - last_end
    held_floor = offset is not None and offset <= _JUST_STOPPED
    continues = any(s <= end + _CONTINUES_WITHIN and e > end for s, e in near)
    if held_floor and continues and length <= _MAX_BACKCHANNEL and n_words <= _MAX_BACKCHANNEL_WORDS:
        kind = BACKCHANNEL
    elif offset is not None and offset < -_MIN_INTERRUPTED and last_end is not None and last_end < end:
        kind = INTERRUPTION
    else:
        kind = TURN
    return Label(kind, min(1.0, overlapped / length), offset)
