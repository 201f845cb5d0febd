"""The folder of `sca demo`: the corpus that is included with sca, and the data set that is built from it."""

import shutil
from pathlib import Path

from sca.config import Settings
from sca.data.duplex.build.claim import OtherSettingsError, check_settings
from sca.data.duplex.build.dataset import BuildDetails, build_duplex
from sca.data.duplex.storage.build_settings import NAME as SETTINGS_FILE
from sca.data.runs.files import atomic_write, read_json, sha256_of, write_json
from sca.data.runs.ledger import lock_dir
from sca.data.runs.owner import BUILD, DEMO, claim, ensure_owned_dir
from sca.data.runs.summary import RunSummary
from sca.errors import OutputError, writing
from sca.resources import demo_corpus

__all__ = ["CORPUS", "DATA", "make_demo"]

CORPUS = "corpus"
DATA = "duplex"
_HINT = "give an empty folder with --output"
_BUILT = "settings_sha256"


def make_demo(output: Path, settings: Settings) -> RunSummary[BuildDetails]:
    """Copy the corpus into a folder, and build its data set. Only files of earlier demos are replaced.

    Args:
        output: The folder.
        settings: The settings of the data set.

    Raises:
        OutputError: The folder has files that `sca demo` did not write, or cannot be written to.
    """
    with demo_corpus() as included:
        _check_folder(output, included)
        _check_data(output, settings)
        with lock_dir(output):
            claim(output, DEMO)
            _copy(included, output / CORPUS)
            return _build(output, settings)


def _check_folder(output: Path, included: Path) -> None:
    """Check that a folder is empty, or has the corpus of an earlier demo and nothing else in its place."""
    corpus = output / CORPUS
    with writing(output):
        found = [path for path in corpus.rglob("*") if not path.is_dir()]
        if not found:
            ensure_owned_dir(output, DEMO)
        for path in found:
            original = included / path.relative_to(corpus)
            if path.name.startswith("."):  # also what a killed run left
                continue
            if path.is_symlink() or not original.is_file() or sha256_of(original) != sha256_of(path):
                raise OutputError(f"{path} is not a file of {DEMO.command}", hint=_HINT)


def _copy(included: Path, corpus: Path) -> None:
    # File by file: `copytree` collects system errors as text in an error of its own.
    for file in sorted(path for path in included.rglob("*") if path.is_file()):
        copy = corpus / file.relative_to(included)
        if not copy.is_file():
            with atomic_write(copy) as temporary:
                shutil.copyfile(file, temporary)


def _check_data(output: Path, settings: Settings) -> None:
    """Check that the data set can be built, before anything is written."""
    ensure_owned_dir(output / DATA, BUILD)
    with writing(output):
        if not _is_ours(output):
            try:
                check_settings(output / DATA, settings)
            except OtherSettingsError as error:
                raise OutputError(error.message, hint=_HINT) from error


def _is_ours(output: Path) -> bool:
    """Return whether a demo made the data set in a folder, and nothing else has built it since."""
    marker, made = output / DEMO.marker, output / DATA / SETTINGS_FILE
    return made.is_file() and marker.is_file() and read_json(marker).get(_BUILT) == sha256_of(made)


def _build(output: Path, settings: Settings) -> RunSummary[BuildDetails]:
    """Build the data set. One of other settings is replaced if an earlier demo made it, such as one of another version."""
    summary = build_duplex(output / CORPUS, output / DATA, settings, force=_is_ours(output))
    built = sha256_of(output / DATA / SETTINGS_FILE)
    write_json(output / DEMO.marker, {"made_by": DEMO.command, _BUILT: built})
    return summary
