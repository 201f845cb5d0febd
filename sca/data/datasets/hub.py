"""Uploads a finished data set to the Hugging Face hub, without ledgers and hidden files."""

from pathlib import Path

from sca.errors import InputError, UpstreamError, UsageError
from sca.textutil import first_line

__all__ = ["push"]

_EXCLUDED = [".*", "**/.*", "ledger.jsonl"]
_RETRY_HINT = "the data set on this disk is complete; run the same command again"
_HTTP_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2")


def push(root: Path, repo: str, *, private: bool) -> str:
    """Create the repository if it does not exist, and upload the data set. Unchanged files are not uploaded again.

    Args:
        root: The data set.
        repo: The name of the repository, such as `owner/name`.
        private: Whether a new repository is private.

    Returns:
        The URL of the repository.

    Raises:
        InputError: `root` is not a finished data set.
        UsageError: The hub does not allow the name.
        UpstreamError: The hub cannot be reached or rejects the upload.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (root / "dataset_dict.json").is_file():
        raise InputError(f"{root} is not a finished data set", hint="create it before the upload")
    try:
        return _upload(root, repo, private)
    except HFValidationError as error:
        raise UsageError(
            f"--push-to-hub {repo}: {first_line(error)}", hint="give a name such as your-name/your-data"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        hint = "log in with `hf auth login` and a token with write access" if status in (401, 403) else _RETRY_HINT
        raise UpstreamError(f"the hub rejected {repo}: {first_line(error)}", hint=hint) from error
    except (OSError, RuntimeError) as error:  # offline mode, or no connection
        raise UpstreamError(f"cannot reach the hub to upload {repo}: {first_line(error)}", hint=_RETRY_HINT) from error
    except Exception as error:  # the HTTP library depends on the version of huggingface_hub
        if type(error).__module__.partition(".")[0] not in _HTTP_PACKAGES:
            raise
        raise UpstreamError(f"cannot reach the hub to upload {repo}: {first_line(error)}", hint=_RETRY_HINT) from error


def _upload(root: Path, repo: str, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    url = api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
    api.upload_folder(
        repo_id=url.repo_id,
        repo_type="dataset",
        folder_path=root,
        ignore_patterns=_EXCLUDED,
        delete_patterns=["storage/*.arrow", "train/*.arrow"],
        commit_message="Data set made by sca",
    )
    return str(url)
