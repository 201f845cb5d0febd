"""Which layout a corpus has, and one way to read them all: as the MagicHub files that the builder knows."""

from dataclasses import dataclass
from pathlib import Path

from sca.data.corpora import magichub, moshi
from sca.data.corpora.conversation import CorpusFormat, Skipped
from sca.data.corpora.magichub import Scan, SessionFiles
from sca.data.corpora.stage import StereoSession, stage
from sca.errors import InputError

__all__ = ["Corpus", "open_corpus"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a corpus holds by its texts. `native` needs nothing, `foreign` has to be laid out first."""

    native: tuple[SessionFiles, ...]
    foreign: tuple[StereoSession, ...]
    skipped: tuple[Skipped, ...]

    def scan(self, folder: Path) -> Scan:
        """All sessions as files; those of another layout are written below `folder`."""
        sessions, skipped = list(self.native), list(self.skipped)
        for session in self.foreign:
            try:
                sessions.append(stage(session, folder))
            except InputError as error:
                skipped.append(Skipped(session.audio, None, error.message))
        return Scan(tuple(sessions), tuple(skipped))


def open_corpus(source: Path, layout: CorpusFormat = CorpusFormat.auto) -> Corpus:
    """Read what `source` lists. Raises `InputError` when it is no such corpus or holds no session that can be used."""
    if layout is CorpusFormat.auto:
        layout = CorpusFormat.moshi if source.suffix.lower() == ".jsonl" else CorpusFormat.magichub
    if layout is CorpusFormat.moshi:
        found = moshi.scan(source)
        corpus = Corpus((), found.sessions, found.skipped)
    else:
        scan = magichub.scan(source)
        corpus = Corpus(scan.sessions, (), scan.skipped)
    if not corpus.native and not corpus.foreign:
        reasons = "; ".join(str(report) for report in corpus.skipped[:3])
        raise InputError(f"{source} has no session with two speakers{': ' + reasons if reasons else ''}")
    return corpus
