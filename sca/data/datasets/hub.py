"""Uploads a finished data set or export to the Hugging Face hub, without ledgers and hidden files.

Large files are sent one by one before the commit that names them, and the files that the hub already has are looked up first. So
an interrupted upload continues with the missing files, and readers never see half a data set.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sca.data.runs.ledger import lock_dir
from sca.errors import InputError, UpstreamError, UsageError
from sca.textutil import first_line
from sca.urls.requests import is_network_error

__all__ = ["hub_errors", "push"]

_LAST_FILES = ("dataset_dict.json", "export.json")
"""One of them is written when a data set is finished."""
_EXCLUDED = [".*", "**/.*", "ledger.jsonl"]
# Files of an earlier upload that are not part of this one. A data set has either dataset_dict.json or export.json.
_REPLACED = [
    *("dataset_dict.json", "export.json", "rows.jsonl", "sessions.jsonl", "report.html"),
    *("storage/*", "train/*", "validation/*", "train-*.tar", "validation-*.tar"),
]
_ADDED = ("license", "language", "extra_gated")
"""The metadata of a card that people add on the hub, by the beginnings of its names."""
_RETRY_HINT = "the data set on this disk is complete; run the same command again"


def push(root: Path, repo: str, *, private: bool) -> str:
    """Create the repository if it does not exist, and upload the data set. Unchanged files are not uploaded again.

    The folder is held meanwhile, because a run that writes to it would mix the files of two states in one commit.

    Args:
        root: The data set, or an export.
        repo: The name of the repository, such as `owner/name`.
        private: Whether a new repository is private.

    Returns:
        The URL of the repository.

    Raises:
        InputError: `root` is not a finished data set, or another run is writing to it.
        UsageError: The hub does not allow the name.
        UpstreamError: The hub cannot be reached or rejects the upload.
    """
    if not root.is_dir():
        raise _unfinished(root)
    with lock_dir(root):
        if not any((root / name).is_file() for name in _LAST_FILES):
            raise _unfinished(root)
        with hub_errors(repo):
            return _upload(root, repo, private)


def _unfinished(root: Path) -> InputError:
    return InputError(f"{root} is not a finished data set", hint="create it before the upload")


@contextmanager
def hub_errors(repo: str, *, example: str = "your-name/your-data", retry: str = _RETRY_HINT) -> Iterator[None]:
    """Convert the errors of an upload to a repository.

    Args:
        repo: The name of the repository.
        example: A name that the hub allows, for a hint.
        retry: The hint of an upload that failed for another reason.

    Raises:
        UsageError: The hub does not allow the name.
        UpstreamError: The hub cannot be reached or rejects the upload.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise UsageError(f"--push-to-hub {repo}: {first_line(error)}", hint=f"give a name such as {example}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        hint = "log in with `hf auth login` and a token with write access" if status in (401, 403) else retry
        raise UpstreamError(f"the hub rejected {repo}: {first_line(error)}", hint=hint) from error
    except Exception as error:
        if not (is_network_error(error) or isinstance(error, RuntimeError)):  # RuntimeError: a closed client
            raise
        raise UpstreamError(f"cannot reach the hub to upload {repo}: {first_line(error)}", hint=retry) from error


def _upload(root: Path, repo: str, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    url = api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
    card = _card_with_additions(root, url.repo_id)
    api.upload_folder(
        repo_id=url.repo_id,
        repo_type="dataset",
        folder_path=root,
        ignore_patterns=[*_EXCLUDED, *(["README.md"] if card else [])],
        delete_patterns=_REPLACED,
        commit_message="Data set made by sca",
    )
    if card:
        api.upload_file(
            path_or_fileobj=card,
            path_in_repo="README.md",
            repo_id=url.repo_id,
            repo_type="dataset",
            commit_message="Card of the data set, with the licence and languages that were added here",
        )
    return str(url)


def _card_with_additions(root: Path, repo_id: str) -> bytes | None:
    """Return the card with the metadata that a person added to it on the hub; None if nothing was added."""
    from huggingface_hub import DatasetCard, HfFileSystem

    try:
        there = HfFileSystem(skip_instance_cache=True).cat_file(f"datasets/{repo_id}/README.md")
        added = vars(DatasetCard(there.decode(), ignore_metadata_errors=True).data)
        card = DatasetCard((root / "README.md").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # no card, or one that is not made of text and YAML
        return None
    here = vars(card.data)
    kept = {name: value for name, value in added.items() if name.startswith(_ADDED) and here.get(name) is None}
    for name, value in kept.items():
        setattr(card.data, name, value)
    return str(card).encode() if any(kept.values()) else None
