"""Build the sessions of a data set again from their corpus, and compare what is stored with the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sca.audio.coded.reading import ANY_DAMAGE, Reading
from sca.config import Settings
from sca.data.corpora.base import CorpusFormat
from sca.data.corpora.registry import open_corpus
from sca.data.corpora.session_source import SessionSource
from sca.data.duplex.build.session import SessionJob, build_session
from sca.data.duplex.model.session import SessionPaths
from sca.data.duplex.origin.compare import track_problems
from sca.data.duplex.storage.build_settings import tokenizer_of
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks
from sca.data.runs.files import sha256_of
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.errors import InputError, OutputError

__all__ = ["RebuiltSession", "sessions_of_corpus"]


def sessions_of_corpus(
    source: Path,
    layout: str = CorpusFormat.auto,
    audio_dir: Path | None = None,
    cache_dir: Path | None = None,
    separate: Path | None = None,
    reading: Reading = ANY_DAMAGE,
) -> "dict[str, RebuiltSession]":
    """Return the sessions of a corpus by id, for the `origin` of a verification.

    Args:
        source: The corpus.
        layout: Its layout, a name of `sca.data.corpora.registry.corpus_formats`.
        audio_dir: The folder of the recordings of an events file; by default the file's own.
        cache_dir: The folder where recordings from tables and archives are written; by default that of the user.
        separate: The model that separated overlapping speech of an events file; None if none did.
        reading: The track of the recordings to look at, that of the build.

    Raises:
        InputError: The source does not have that layout, or has no session that can be used.
        UsageError: The layout is unknown, or has no use for `audio_dir`.
    """
    sources = open_corpus(source, layout, audio_dir, cache_dir, separate, reading).sessions().sources
    return {session.session_id: RebuiltSession(session) for session in sources}


@dataclass(frozen=True, slots=True)
class RebuiltSession:
    """A session of a corpus that can be built again. Picklable."""

    source: SessionSource

    def __call__(self, tracks: Sequence[StoredTrack], settings: Settings) -> Iterator[str]:
        """Yield where stored tracks differ from the recordings and transcripts.

        Args:
            tracks: The tracks of the session, or of a retimed copy of it.
            settings: The settings of the data set.

        Raises:
            OutputError: The temporary files cannot be written.
        """
        try:
            sha256 = {path: sha256_of(path) for path in self.source.files}
        except OSError as error:
            yield f"{error.filename} cannot be read: {error.strerror}"
            return
        if any(track.record["augmented"] for track in tracks):
            yield from _recording_problems(tracks, sha256)
            return
        with TemporaryDirectory(prefix="sca-verify-", ignore_cleanup_errors=True) as folder:
            repairs = {track.record["speaker_id"]: track.record["provenance"].get("repair") for track in tracks}
            job = SessionJob(self.source, "", [], sha256, {name: made for name, made in repairs.items() if made})
            made = _rebuilding(settings)
            try:
                result = build_session(job, Path(folder), made, tokenizer_of(made))
            except OutputError:
                raise
            except InputError as error:
                yield f"cannot be built from the corpus: {error.message}"
                return
            if result.status != "kept":
                yield f"the corpus does not give it: {result.reason}"
                return
            rebuilt = stored_tracks(SessionPaths(Path(folder), self.source.session_id).storage)
            yield from track_problems(tracks, rebuilt, settings)


def _recording_problems(tracks: Sequence[StoredTrack], sha256: dict[Path, str]) -> Iterator[str]:
    """Compare the recordings of a retimed session, whose audio is made from the tracks of its source."""
    found = {path.name: digest for path, digest in sha256.items()}
    for track in tracks:
        provenance = track.record["provenance"]
        if found.get(provenance["audio"]) != provenance["sha256"]:
            yield f"{track.record['speaker_id']}: the corpus does not have its recording {provenance['audio']}"


def _rebuilding(settings: Settings) -> Settings:
    """Return settings that give the same words and samples, without models that may not be at hand."""
    changes = {"audio_format": "pcm16", "codes": "none", "speaker_model": NO_SPEAKER_MODEL, "align": "interpolate"}
    changes["repair"] = "off"  # the recorded repairs are made, because with other word times others could be found
    return settings.model_copy(update={"duplex": settings.duplex.model_copy(update=changes)})
