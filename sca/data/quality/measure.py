"""The quality of a transcribed recording: its signal, what its line contains, and its fingerprint."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sca.audio.coded.reading import AS_DEFAULT, Reading
from sca.audio.decode import BlockReader, probe
from sca.audio.resample import StreamResampler
from sca.data.quality.fingerprint import Fingerprinter
from sca.data.quality.signal import SignalMeter, snr_db
from sca.timeline import EnvironmentEvent, Show
from sca.units import HEARD_HZ

__all__ = ["Quality", "measure_quality"]

_BLOCK_FRAMES = 1500  # 30 s
_NO_TAGGER = (None, "none", "energy")


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality columns of a recording in a ledger. None is unknown.

    Attributes:
        snr_db: Level of speech against what is between it, see `sca.data.quality.signal.snr_db`.
        clipping: Share of clipped samples.
        bandwidth_hz: Where the spectrum ends.
        language: The language of the transcription.
        language_probability: Its probability.
        music: Share of the recording in which a tagger found music; None without a tagger.
        sound: The fingerprint; empty for silence.
    """

    snr_db: float | None = None
    clipping: float | None = None
    bandwidth_hz: int | None = None
    language: str | None = None
    language_probability: float | None = None
    music: float | None = None
    sound: str = ""

    def document(self) -> dict[str, object]:
        """Return the columns as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, document: object) -> "Quality | None":
        """Return the quality in a ledger; None if it is not complete, as in ledgers of earlier versions."""
        names = {field.name for field in fields(cls)}
        if not isinstance(document, Mapping) or set(document) != names:
            return None
        return cls(**document)


def measure_quality(path: Path, show: Show, reading: Reading = AS_DEFAULT) -> Quality:
    """Measure a recording, in one pass over it.

    Args:
        path: The recording.
        show: Its line, with the speech that the VAD found.
        reading: The track to read, and the damage to accept.

    Raises:
        InputError: The recording cannot be decoded.
    """
    rate_hz = probe(path, reading=reading).rate_hz
    meter, prints, resampler = SignalMeter(rate_hz), Fingerprinter(), StreamResampler(rate_hz, HEARD_HZ)
    for block in BlockReader(path, meter.frame_samples * _BLOCK_FRAMES, reading=reading):
        meter.push(block)
        prints.push(resampler.push(block))
    prints.push(resampler.flush())
    signal = meter.finish()
    ratio = snr_db(signal.levels, show.speech or ())
    return Quality(
        snr_db=None if ratio is None else round(ratio, 1),
        clipping=round(signal.clipping, 6),
        bandwidth_hz=signal.bandwidth_hz,
        language=show.language,
        language_probability=show.language_probability,
        music=_music(show),
        sound=prints.finish(),
    )


def _music(show: Show) -> float | None:
    """Return the share of a recording with music, or None without a tagger."""
    if show.reactions in _NO_TAGGER or not show.duration_s:
        return None
    spans = sorted(
        (event.start, event.end)
        for event in show.timeline
        if isinstance(event, EnvironmentEvent) and event.sound_category == "music"
    )
    covered, last = 0.0, 0.0
    for start, end in spans:
        covered += max(0.0, end - max(start, last))
        last = max(last, end)
    return round(covered / show.duration_s, 4)
