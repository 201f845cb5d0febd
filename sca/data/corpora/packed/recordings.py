"""Recordings from tables and archives, written to files of the cache, where everything else reads them.

A recording is written again only if its content differs, so that a second build finds its files unchanged.
"""

from hashlib import blake2b
from pathlib import Path

from sca.config.sections.paths import PathsConfig
from sca.data.runs.files import atomic_write
from sca.errors import InputError, OutputError

__all__ = ["RecordingFiles"]

_SUFFIXES = (
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"NIST", ".sph"),
    (b"FORM", ".aiff"),
)


class RecordingFiles:
    """The files of the recordings of one corpus.

    Args:
        source: The corpus.
        cache_dir: The cache folder; by default that of the user.
    """

    def __init__(self, source: Path, cache_dir: Path | None = None) -> None:
        cache = cache_dir if cache_dir is not None else PathsConfig().resolved_cache_dir
        key = blake2b(str(source.resolve()).encode(errors="surrogateescape"), digest_size=8).hexdigest()
        self._folder = cache / "recordings" / key

    def file_of(self, name: str, content: bytes, written: str = "") -> Path:
        """Return a file with a recording.

        Args:
            name: The name of the file without its suffix; can be that of a file.
            content: The file's content.
            written: The name under which the corpus has the recording, for its suffix.

        Raises:
            InputError: The recording is empty.
            OutputError: The file cannot be written.
        """
        if not content:
            raise InputError(f"the recording {name} is empty (0 bytes)")
        suffix = next((suffix for start, suffix in _SUFFIXES if content.startswith(start)), Path(written).suffix)
        path = self._folder / f"{name}{suffix or '.audio'}"
        try:
            if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
                return path
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror or error})",
                hint="recordings in tables and archives are written to the cache; set SCA_CACHE_DIR to a folder with space",
            ) from error
        return path
