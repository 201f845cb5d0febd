"""Transcribe one recording: recognize the speech, mark what is doubtful, detect reactions, and make a timeline."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from typing_extensions import override

from sca.audio.decode import AS_DEFAULT, Reading
from sca.audio.samples import SampleFile, Samples, read_samples
from sca.config import DiarizationConfig
from sca.cores import usable_cores
from sca.data.diarization.diarizer import Diarizer
from sca.data.diarization.timeline import speaker_name
from sca.data.quality.measure import Quality, measure_quality
from sca.data.reactions.base import Detector, SoundEvent
from sca.data.runs.executor import Executor
from sca.data.runs.files import Unchanged, input_sha256
from sca.data.runs.local import STOP_S, ProcessExecutor, ThreadExecutor
from sca.data.runs.progress import ItemProgress, NullProgress, ProgressListener
from sca.data.transcription.coverage import remainders
from sca.data.transcription.diarized import Speakers, find_speakers, load_diarizer, speech_event
from sca.data.transcription.hallucinations import (
    GUARDS,
    OVERLAPPING,
    RecognizedWord,
    Speech,
    guard_words,
    mean_probability,
    phrases,
    text_of,
    within_recording,
)
from sca.data.transcription.over_reactions import marked_over_reactions, reaction_spans
from sca.data.transcription.recordings import Recording
from sca.data.transcription.speech import Span, SpeechDetector
from sca.data.transcription.whisper import Recognizer, RecognizerOptions, Transcription
from sca.data.transcription.windows import PartialWork
from sca.errors import InputError
from sca.models.whisper import gpu_count
from sca.timeline import ComedianEvent, OtherSpeakerEvent, Show, SpokenWord
from sca.units import HEARD_HZ
from sca.word_times.correction import Correction, corrected

__all__ = [
    "Transcribed",
    "Transcriber",
    "TranscriptionJob",
    "corrected_transcription",
    "processes_of",
    "threads_of",
    "timeline_of",
]

_COUNTERS = ("no_words", "decoded_again")


@dataclass(frozen=True, slots=True)
class TranscriptionJob:
    """A recording to transcribe.

    Attributes:
        recording: The recording.
        sha256: The SHA-256 of its file.
        partial: Where the windows of a long recording are kept until it is finished; None does not keep them.
        unchanged: The identity of the file before it was read; None does not check it.
    """

    recording: Recording
    sha256: str
    partial: Path | None = None
    unchanged: Unchanged | None = None


def _check(job: TranscriptionJob) -> None:
    if job.unchanged is not None:
        job.unchanged.check()


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The line of a recording, its quality, and remarks about it."""

    show: Show
    quality: Quality
    notes: tuple[str, ...] = ()


class Transcriber:
    """The work of a transcription run.

    Several threads may share it; a worker process gets a copy that loads its own models.
    """

    def __init__(
        self,
        options: RecognizerOptions,
        reactions: str,
        recognizer: Recognizer | None = None,
        reading: Reading = AS_DEFAULT,
        diarization: DiarizationConfig | None = None,
        scratch: Path | None = None,
        listener: ProgressListener | None = None,
        *,
        correction: Correction | None = None,
    ) -> None:
        """Create a transcriber; models are loaded on first use.

        Args:
            options: How speech is recognized.
            reactions: The reaction detector, see `sca.data.reactions.registry.load_detector`.
            recognizer: A recognizer that was loaded with these options.
            reading: How recordings are read.
            diarization: The method to find the speakers; None for no speakers.
            scratch: The folder of temporary files, see `SampleFile`.
            listener: Receives the seconds of each recording that are done. Not in worker processes.
            correction: What is added to word times; None for nothing.
        """
        self._correction = correction
        self._reading, self._scratch = reading, scratch
        self._listener = listener or NullProgress()
        self._diarization = diarization
        self._diarizer: Diarizer | None = None
        self._options, self._reactions, self._recognizer = options, reactions, recognizer
        self._detector: Detector | None = None
        self._is_loaded = False
        self._lock = threading.Lock()

    @override
    def __reduce__(self) -> tuple[Callable[..., "Transcriber"], tuple[object, ...]]:
        return partial(Transcriber, correction=self._correction), (
            self._options,
            self._reactions,
            None,
            self._reading,
            self._diarization,
            self._scratch,
        )

    def load(self) -> Recognizer:
        """Load the models, unless they are loaded, and return the recognizer.

        Raises:
            ScaError: A model cannot be loaded.
        """
        with self._lock:
            if not self._is_loaded:
                if self._reactions != "none":
                    from sca.data.reactions.registry import load_detector

                    self._detector = load_detector(self._reactions)
                if self._diarization is not None:
                    self._diarizer = load_diarizer(self._diarization)
                if self._recognizer is None:
                    threads = max(1, usable_cores() // max(1, self._options.workers))
                    self._recognizer = Recognizer(self._options, cpu_threads=threads)
                self._is_loaded = True
        assert self._recognizer is not None
        return self._recognizer

    def __call__(self, job: TranscriptionJob) -> Transcribed:
        """See `transcribe`; the work of a run (`ModelWork`)."""
        return self.transcribe(job)

    def transcribe(self, job: TranscriptionJob) -> Transcribed:
        """Transcribe a recording. If only the time of its file changed meanwhile, and no byte, it is done again.

        Raises:
            InputError: The recording cannot be decoded, or was replaced meanwhile.
            ScaError: The recognizer failed.
        """
        try:
            return self._transcribed(job)
        except InputError:
            # Equal bytes are not enough to accept what was read: a copy of them in place had cut the file meanwhile.
            path = job.recording.path
            now = Unchanged(path)
            if job.unchanged is None or job.unchanged.holds() or input_sha256(path) != job.sha256:
                raise
        return self._transcribed(replace(job, unchanged=now))

    def _transcribed(self, job: TranscriptionJob) -> Transcribed:
        self.load()
        listen = self._listener.on_progress
        name = job.recording.video_id
        with SampleFile(self._scratch) as samples:
            speech = SpeechDetector()
            notes = read_samples(job.recording.path, HEARD_HZ, samples, reading=self._reading, heard=speech.push)
            _check(job)  # so the windows that are kept are those of this content
            total_s = len(samples) / HEARD_HZ
            heard = self._heard(
                samples,
                speech.finish(),
                PartialWork(job.partial),
                lambda done: listen(ItemProgress(name, done / HEARD_HZ, total_s)),
            )
        show, more_notes = self._line(job, heard, round(total_s, 3))
        notes = (*notes, *more_notes)
        quality = measure_quality(job.recording.path, show, self._reading)
        _check(job)
        if show.words or show.timeline:
            return Transcribed(show, quality, notes)
        reason = "nothing was recognised" if heard.transcription.speech else "no speech was heard"
        return Transcribed(show, quality, (*notes, reason))

    def _heard(
        self, samples: Samples, voiced: list[Span], partial: PartialWork, progress: Callable[[int], None]
    ) -> "_Heard":
        """Run the models over a recording."""
        transcription = self.load().transcribe(samples, voiced, partial, progress)
        if self._correction is not None and self._options.word_timestamps:
            transcription = corrected_transcription(transcription, self._correction)
        reactions = [] if self._detector is None else self._detector.find(samples, transcription.speech)
        if self._diarizer is None or self._diarization is None:
            return _Heard(transcription, reactions)
        least = self._diarization.min_speakers
        return _Heard(transcription, reactions, find_speakers(self._diarizer, samples, voiced, least))

    def _line(self, job: TranscriptionJob, heard: "_Heard", duration_s: float) -> tuple[Show, tuple[str, ...]]:
        """Return the line of a recording, and remarks about its speakers."""
        transcription, speakers = heard.transcription, heard.speakers
        with_words = self._options.word_timestamps
        counts: Counter[str] = Counter(decoded_again=transcription.decoded_again)
        words, timeline = timeline_of(
            transcription, heard.reactions, duration_s, counts, with_words=with_words, speakers=speakers
        )
        counters = (*GUARDS, *_COUNTERS) if speakers is None else (*GUARDS, *_COUNTERS, OVERLAPPING)
        show = Show(
            video_id=job.recording.video_id,
            timeline=tuple(timeline),
            words=tuple(_spoken_word(word) for word in words) if with_words else (),
            language=transcription.language or None,
            duration_s=duration_s,
            model=self._options.model,
            source=job.recording.file.source,
            sha256=job.sha256,
            reactions="none" if self._detector is None else self._detector.name,
            guards={name: counts[name] for name in counters},
            language_probability=round(transcription.language_probability, 4),
            speech=tuple(_seconds(transcription.voiced)),
            turns=None if speakers is None else speakers.turns(words),
        )
        return show, () if speakers is None else speakers.notes


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the models found in a recording."""

    transcription: Transcription
    reactions: list[SoundEvent]
    speakers: Speakers | None = None


def threads_of(recognizer: Recognizer) -> Executor:
    """Return threads that share a model, and stop after the current batch when the run ends early."""
    return ThreadExecutor(recognizer.workers, on_stop=recognizer.stop, grace_s=STOP_S)


def processes_of(options: RecognizerOptions) -> Executor | None:
    """Return one process per GPU, each with a model of its own; None if only one, or none, is to be used."""
    gpus = gpu_count(options.device)
    return ProcessExecutor(options.workers, gpus=gpus) if gpus > 1 and options.workers != 1 else None


def corrected_transcription(transcription: Transcription, correction: Correction) -> Transcription:
    """Return what was recognized with corrected word times."""
    words = [word for segment in transcription.segments for word in segment]
    spans, texts = [(word.start, word.end) for word in words], [word.text for word in words]
    times = iter(corrected(spans, _seconds(transcription.voiced), correction, texts))
    segments = [
        [replace(word, start=round(start, 3), end=round(end, 3)) for word, (start, end) in zip(segment, times)]  # noqa: B905
        for segment in transcription.segments
    ]
    return replace(transcription, segments=segments)


def timeline_of(
    transcription: Transcription,
    reactions: Sequence[SoundEvent],
    duration_s: float,
    counts: Counter[str],
    *,
    with_words: bool,
    speakers: Speakers | None = None,
) -> tuple[list[RecognizedWord], list[ComedianEvent | OtherSpeakerEvent | SoundEvent]]:
    """Apply the guards, cut the words into phrases, and merge these with the reactions and with speech without words.

    Args:
        transcription: What was recognized.
        reactions: Events of the audience and the environment.
        duration_s: The length of the recording.
        counts: Counter to which the actions of each guard are added, by the names of `GUARDS`, and `no_words`: stretches
            of speech for which the recognizer has no words.
        with_words: Whether words have times of their own; otherwise each "word" is a segment and becomes one event.
        speakers: Who speaks when; None for no speakers.

    Returns:
        The words that are left, and the events sorted by time.
    """
    voiced = _seconds(transcription.voiced)
    spans = [(start / HEARD_HZ, end / HEARD_HZ) for start, end in transcription.speech]
    # A segment reaches over pauses, so its share of speech is no evidence.
    speech = Speech(spans, voiced if with_words else [(0.0, duration_s)])
    judge = partial(marked_over_reactions, reactions=reaction_spans(reactions), voiced=voiced)
    words = guard_words([word for segment in transcription.segments for word in segment], speech, counts, judge)
    words = within_recording(words, duration_s)
    if speakers is not None:
        words = speakers.named(words)
        counts[OVERLAPPING] += sum(word.doubt == OVERLAPPING for word in words)
    spoken = [_event(phrase) for phrase in (phrases(words) if with_words else ([word] for word in words))]
    wordless = [
        speech_event(
            None if speakers is None else speakers.speaker_of(start, end),
            start=start,
            end=end,
            content="",
            event_type="unsure",
            doubt="no_words",
        )
        for start, end in remainders(voiced, [*spoken, *reactions])
    ]
    counts["no_words"] += len(wordless)
    return words, sorted([*spoken, *wordless, *reactions], key=lambda event: (event.start, event.end, event.role))


def _event(phrase: Sequence[RecognizedWord]) -> ComedianEvent | OtherSpeakerEvent:
    evidence = [word.evidence for word in phrase if word.evidence is not None]
    doubt = phrase[0].doubt
    return speech_event(
        phrase[0].speaker,
        start=phrase[0].start,
        end=phrase[-1].end,
        content=text_of(phrase),
        event_type="speech" if doubt is None else "unsure",
        doubt=doubt,
        probability=round(mean_probability(phrase), 4),
        avg_logprob=min((one.avg_logprob for one in evidence), default=None),
        no_speech_prob=max((one.no_speech_prob for one in evidence), default=None),
        compression_ratio=max((one.compression_ratio for one in evidence), default=None),
    )


def _seconds(spans: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(round(start / HEARD_HZ, 3), round(end / HEARD_HZ, 3)) for start, end in spans]


def _spoken_word(word: RecognizedWord) -> SpokenWord:
    speaker = None if word.speaker is None else speaker_name(word.speaker)
    return SpokenWord(
        word=word.text.strip(), start=word.start, end=word.end, probability=round(word.probability, 4), speaker=speaker
    )
