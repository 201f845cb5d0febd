"""Turn-taking of a model that ran freely over a row, against the row's own speaker.

The rates are those of `sca eval fdb` (`sca.infer.eval.turn_metrics`), on text instead of sound: a chunk with text counts
as speech. The row's own speaker is measured in the same way, for comparison. A row with several turns is several items:

- an item of the task "turn" for each run of the row's speaker that begins after the user has spoken, up to the next one;
- an item of the task "pause" for each stretch in which the row's speaker is silent and the user speaks;
- an item of the task "backchannel" for the whole row.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import FRAME_SAMPLES, SileroVad, speech_segments
from sca.infer.eval.turn_metrics import (
    Segments,
    TurnMetrics,
    measure_backchannels,
    measure_pause_handling,
    measure_turn_taking,
    summarize,
)
from sca.train.evaluation.runs import Run, Speaking, matched_onsets, runs_of

__all__ = ["RowTurns", "heard_speech", "measure_turns", "ratio", "turn_metrics"]


@dataclass(frozen=True, slots=True)
class RowTurns:
    """What is measured in one row.

    Attributes:
        counts: Numbers to add over rows.
        turns: Items of the task "turn" of the model.
        pauses: Items of the task "pause" of the model.
        backchannels: The item of the task "backchannel" of the model.
        own_turns: Items of the task "turn" of the row's own speaker.
        own_backchannels: The item of the task "backchannel" of the row's own speaker.
    """

    counts: Counter[str] = field(default_factory=Counter)
    turns: list[TurnMetrics] = field(default_factory=list)
    pauses: list[TurnMetrics] = field(default_factory=list)
    backchannels: list[TurnMetrics] = field(default_factory=list)
    own_turns: list[TurnMetrics] = field(default_factory=list)
    own_backchannels: list[TurnMetrics] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Return the fields as plain values, to send them to another process."""
        return asdict(self)


def heard_speech(vad: SileroVad, heard: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return where the user speaks, in samples.

    Args:
        vad: The detector of speech.
        heard: float32 `(n_chunks, samples)` at 16 kHz.
    """
    samples = heard.reshape(-1)
    # Without padding, an end of speech inside the last, incomplete frame would be missed.
    padded = np.concatenate([samples, np.zeros(FRAME_SAMPLES, np.float32)])
    return speech_segments(vad.probabilities(padded), total_samples=len(samples))


def measure_turns(
    said: Speaking,
    wanted: Speaking,
    known: NDArray[np.bool_],
    backchannels: Sequence[int],
    user: Segments,
    chunk_samples: int,
    tolerance: int,
) -> RowTurns:
    """Measure one row.

    Args:
        said: Where the model speaks.
        wanted: Where the row's own speaker speaks.
        known: Where the words of the row's speaker are known; other chunks do not count.
        backchannels: First chunks of the backchannels of the row.
        user: Where the user speaks, in samples.
        chunk_samples: Samples of a chunk.
        tolerance: Largest distance of matching onsets, in chunks.
    """
    model, own = ([run for run in runs_of(one) if known[run.first]] for one in (said, wanted))
    pairs = matched_onsets(model, own, tolerance)
    found = RowTurns(_counts(said, wanted & known, known & ~wanted, pairs, model, own))
    found.counts.update(_backchannel_counts(own, pairs, backchannels))
    spoken, own_spoken = (_samples(runs, chunk_samples) for runs in (model, own))
    length = len(said) * chunk_samples
    found.backchannels.append(measure_backchannels(spoken, length))
    found.own_backchannels.append(measure_backchannels(own_spoken, length))
    for start, end, user_end in _turns_after_user(own_spoken, user, length):
        begins = max(0, min(user_end, start) - tolerance * chunk_samples)
        found.turns.append(measure_turn_taking(_within(spoken, begins, end), user_end))
        found.own_turns.append(measure_turn_taking(_within(own_spoken, start, end), user_end))
    matched = {i for i, _ in pairs}
    others = [one for i, one in enumerate(spoken) if i not in matched]
    for start, end in _silences(own_spoken, length):
        if talk := _within(user, start, end):
            # A run that is already in progress counts as beginning there.
            spoken_there = _within(others, talk[0][0], talk[-1][1])
            found.pauses.append(measure_pause_handling(spoken_there, [talk[0]], talk[-1][1]))
    return found


def _counts(
    said: Speaking,
    talks: NDArray[np.bool_],
    silent: NDArray[np.bool_],
    pairs: Sequence[tuple[int, int]],
    model: Sequence[Run],
    own: Sequence[Run],
) -> Counter[str]:
    """Return the counts of a row. An onset in chunk 0 of the row does not count: nothing was heard before it."""
    given = int(bool(own) and own[0].first == 0)
    given_pairs = int(bool(given and pairs) and pairs[0][1] == 0)
    late = sum(abs(model[i].first - own[j].first) for i, j in pairs[given_pairs:])
    return Counter(
        rows=1,
        chunks=len(said),
        onsets_said=len(model) - given_pairs,
        onsets_wanted=len(own) - given,
        onsets_matched=len(pairs) - given_pairs,
        onset_distance=late,
        silent_chunks=int(silent.sum()),
        silent_kept=int((silent & ~said).sum()),
        text_chunks=int(talks.sum()),
        text_said=int((talks & said).sum()),
        talk_chunks=int((said & (talks | silent)).sum()),
    )


def _backchannel_counts(
    own: Sequence[Run], pairs: Sequence[tuple[int, int]], backchannels: Sequence[int]
) -> Counter[str]:
    """Return how many backchannels of the row begin a run, and how many of these the model begins too."""
    begun = {j for j, run in enumerate(own) if any(run.first <= chunk < run.end for chunk in backchannels)}
    return Counter(backchannels_wanted=len(begun), backchannels_matched=len(begun & {j for _, j in pairs}))


def _samples(runs: Sequence[Run], chunk_samples: int) -> list[tuple[int, int]]:
    return [(run.first * chunk_samples, run.end * chunk_samples) for run in runs]


def _within(segments: Segments, start: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of segments in `[start, end)`."""
    return [(max(a, start), min(b, end)) for a, b in segments if a < end and b > start]


def _turns_after_user(own: Segments, user: Segments, length: int) -> list[tuple[int, int, int]]:
    """Return the start of each run of the row's speaker, the start of the next run, and the end of the user before it.

    Runs before which the user did not speak since the last run are no answers, and are left out.
    """
    found = []
    before = 0
    for place, (start, end) in enumerate(own):
        until = own[place + 1][0] if place + 1 < len(own) else length
        heard = [min(b, start) for a, b in user if a < start and b > before]
        if heard:
            found.append((start, until, heard[-1]))
        before = end
    return found


def _silences(own: Segments, length: int) -> list[tuple[int, int]]:
    """Return the stretches between the runs of the row's speaker."""
    edges = [0, *(edge for one in own for edge in one), length]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


def turn_metrics(counts: Counter[str], items: dict[str, list[TurnMetrics]]) -> dict[str, float]:
    """Return the rates over all rows. A rate without any case is left out.

    Args:
        counts: The sum of `RowTurns.counts`.
        items: The items of all rows by the name of their field.
    """
    turns, pauses, short = (summarize(items[name]) for name in ("turns", "pauses", "backchannels"))
    own_turns, own_short = (summarize(items[name]) for name in ("own_turns", "own_backchannels"))
    said, wanted, matched = (counts[f"onsets_{name}"] for name in ("said", "wanted", "matched"))
    found = {
        "turn_f1": ratio(2 * matched, said + wanted),
        "onset_precision": ratio(matched, said),
        "onset_recall": ratio(matched, wanted),
        "onset_distance_chunks": ratio(counts["onset_distance"], matched),
        "take_over": turns["take_over_rate"],
        "latency_s": turns["response_latency_s"],
        "false_barge_in": pauses["spoke_in_pause_rate"],
        "silence_kept": ratio(counts["silent_kept"], counts["silent_chunks"]),
        "text_kept": ratio(counts["text_said"], counts["text_chunks"]),
        "talk_ratio": ratio(counts["talk_chunks"], counts["text_chunks"]),
        "same_chunks": ratio(counts["same_chunks"], counts["chunks"]),
        "backchannels_per_s": short["backchannels_per_s"],
        "backchannel_recall": ratio(counts["backchannels_matched"], counts["backchannels_wanted"]),
        "rows_take_over": own_turns["take_over_rate"],
        "rows_latency_s": own_turns["response_latency_s"],
        "rows_backchannels_per_s": own_short["backchannels_per_s"],
    }
    return {name: value for name, value in found.items() if value is not None}


def ratio(part: float, whole: float) -> float | None:
    """Return a share rounded to 4 digits; None without a whole."""
    return round(part / whole, 4) if whole else None
