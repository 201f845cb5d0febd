"""Text tokens per second of a corpus, measured before the build: the number of `--text-tokens auto`, or a warning."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from sca.config import Settings
from sca.data.corpora.base import Track
from sca.data.corpora.session_source import SessionSource
from sca.data.duplex.build.word_times import time_words
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.model.text_rate import TextRateCounters
from sca.data.duplex.report.summary import text_rate_report
from sca.data.duplex.report.wording import text_rate_warning
from sca.data.duplex.rows.assemble import tokenize_units
from sca.data.duplex.rows.params import layout_of
from sca.data.duplex.rows.text import make_units
from sca.data.duplex.rows.text_rate import measure_text_rate
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.storage.build_settings import NAME
from sca.errors import InputError
from sca.tokenizer import TextTokenizer
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["measure_corpus", "rate_warning", "resolve_text_tokens", "with_text_tokens"]

_DEFAULT = 2
_MAX_SESSIONS = 200


def resolve_text_tokens(
    settings: Settings, root: Path, sources: Sequence[SessionSource], tokenizer: TextTokenizer, *, force: bool
) -> Settings:
    """Return the settings with a number in place of `auto`: that of the data set, or else the advice for the corpus.

    Args:
        settings: The settings.
        root: The data set.
        sources: The sessions of the corpus.
        tokenizer: The tokenizer.
        force: Whether to measure although the data set has a number.
    """
    number = None if force else _stored(root)
    if number is None:
        chunk_s = float(settings.grid.chunk_s)
        # Without a sufficient number the cause is not the rate but the word times.
        number = measure_corpus(sources, settings, tokenizer).advised(chunk_s) or _DEFAULT
    return with_text_tokens(settings, number)


def rate_warning(
    todo: Sequence[SessionSource], done: Iterable[SessionResult], settings: Settings, tokenizer: TextTokenizer
) -> str | None:
    """Return a warning if the text of a corpus does not fit the tokens per chunk of the settings.

    Only transcripts are read, and only of sessions to build: those that are done have their counts.

    Args:
        todo: The sessions to build.
        done: The sessions that are built.
        settings: The settings.
        tokenizer: The tokenizer.
    """
    if not todo:
        return None
    counters = measure_corpus(todo, settings, tokenizer)
    for result in done:
        counters.add(result.text_rate)
    rate = text_rate_report(counters, settings)
    return None if rate is None or rate.sufficient else text_rate_warning(rate)


def with_text_tokens(settings: Settings, number: int) -> Settings:
    """Return the settings with this number of text tokens per chunk."""
    duplex = settings.duplex.model_copy(update={"text_tokens_per_chunk": number})
    return settings.model_copy(update={"duplex": duplex})


def measure_corpus(sources: Sequence[SessionSource], settings: Settings, tokenizer: TextTokenizer) -> TextRateCounters:
    """Measure the transcripts of at most 200 sessions, evenly spread; words without given times are interpolated."""
    settings = with_text_tokens(settings, _DEFAULT)
    counters = TextRateCounters()
    step = -(-len(sources) // _MAX_SESSIONS) or 1
    for source in sources[::step]:
        try:
            tracks = source.read().tracks
        except InputError:
            continue  # the build reports it
        for track in tracks:
            counters.add(_measure_track(track, settings, tokenizer))
    return counters


def _measure_track(track: Track, settings: Settings, tokenizer: TextTokenizer) -> TextRateCounters:
    end = max((utterance.end for utterance in track.utterances), default=0)
    timed = time_words(track, end + 1, keep_tags=settings.duplex.tags == "keep")
    units = make_units(timed.utterances, seconds_to_samples(settings.duplex.unit_gap_s, HEARD_HZ))
    labels = [label(unit.span, len(unit.words), []) for unit in units]
    return measure_text_rate(tokenize_units(units, labels, tokenizer), layout_of(settings, tokenizer))


def _stored(root: Path) -> int | None:
    """Return the number in the `settings.json` of a data set, if it has one."""
    try:
        number = json.loads((root / NAME).read_text(encoding="utf-8"))["duplex"]["text_tokens_per_chunk"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None
