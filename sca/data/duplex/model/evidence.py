"""What the sound of a track shows about its words, and what should be looked at because of it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["EvidenceReport", "Explanation", "Finding", "FindingKind", "TrackEvidence"]

FindingKind = Literal[
    "swapped",
    "same_speech",
    "no_speech",
    "mismatch",
    "drift",
    "offset",
    "past_end",
    "unlabelled_speech",
    "same_recording",
    "same_sound",
    "same_transcript",
    "same_voice",
]
"""Kinds of findings, the worst first."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Explanation(_Section):
    """What brings the words of a track to speech, beyond doubt. A time t becomes `t * (1 + drift) + offset_s`.

    Attributes:
        exchanged: Whether it is the speech in the recording of the other speaker.
        offset_s: Seconds by which the words are to be moved.
        drift: Share by which their times are to be stretched.
        words_in_own: Share of the words, by time, that lie in the speech then.
        fit: Correlation over time of words and speech then.
    """

    exchanged: bool
    offset_s: float
    drift: float
    words_in_own: float
    fit: float


class TrackEvidence(_Section):
    """Measurements of one track. Speech is what the voice activity detector finds in the stored 16 kHz audio.

    Shares are of 1 and None where there is nothing to divide by. Times count from the start of the session, in seconds.

    Attributes:
        session: Id of the session.
        speaker: Id of the speaker.
        words_s: Time that is covered by words.
        words_in_own: Share of it with speech in this track.
        words_in_other: Share of it with speech in a track of another speaker.
        words_gap_at_s: Where the longest stretch of words without speech in this track begins.
        past_end_s: Time covered by words after the end of the recording.
        speech_s: Speech in this track.
        speech_without_words: Share of it outside the utterances; None for a track without transcript.
        unlabelled_s: Speech in this track outside the utterances of all speakers.
        unlabelled_at_s: Where its longest stretch begins.
        same_speech: Speech that this track and the others have at the same time, as a share of the speech in any.
        peak: Largest magnitude of the stored audio, 1.0 is full scale.
        fit: Correlation over time of words and speech.
        best_fit: The largest correlation over all offsets and drifts that were tried.
        offset_s: The offset that gives it: how much later than their words the speech is.
        drift: The drift that gives it, for example 0.01 if the speech takes 1 % longer than its words.
        audio: MD5 of the samples of the stored 16 kHz audio; another digest if `sound` is None.
        words: Digest of the words and their times; empty without words.
        sound: Fingerprint of the audio, which re-encoding does not change; empty without peaks. None in reports of
            earlier versions, like `text` and `voice`.
        text: Digest of the words without times, case and punctuation; empty for fewer than 10 words.
        voice: Speaker embedding, one byte per number; empty without one.
        explained: What brings the words back to their speech, if they are certainly elsewhere.
    """

    session: str
    speaker: str
    words_s: float
    words_in_own: float | None
    words_in_other: float | None
    words_gap_at_s: float
    past_end_s: float
    speech_s: float
    speech_without_words: float | None
    unlabelled_s: float
    unlabelled_at_s: float
    same_speech: float
    peak: float
    fit: float
    best_fit: float
    offset_s: float
    drift: float
    audio: str
    words: str
    sound: str | None = None
    text: str | None = None
    voice: str | None = None
    explained: Explanation | None = None


class Finding(_Section):
    """A place where words and sound do not belong together, or data that is there twice.

    Attributes:
        kind: The kind of the finding.
        session: Id of the session.
        speaker: Id of the speaker; empty if the finding is about the whole session.
        at_s: Where to look, in seconds from the start of the session.
        message: What was found.
        repair: What repairs it beyond doubt; empty if nothing does, or if repairs are not to be suggested.
    """

    kind: FindingKind
    session: str
    speaker: str
    at_s: float
    message: str
    repair: str = ""

    def __str__(self) -> str:
        """Return the finding as one line."""
        where = f"{self.session} {self.speaker}".strip()
        return f"{where} at {self.at_s:.2f} s: {self.message}"


class EvidenceReport(_Section):
    """Words against sound.

    Attributes:
        verdict: `ok`, or `look` if there are findings.
        findings: The findings, the worst first.
        tracks: The measurements of every track, in order.
    """

    verdict: Literal["ok", "look"]
    findings: list[Finding]
    tracks: list[TrackEvidence]
