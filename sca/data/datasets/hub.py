"""Put a finished data set on the Hugging Face hub: its Arrow files and its card, nothing of how it was made."""

from pathlib import Path

from sca.errors import InputError, UpstreamError, UsageError
from sca.textutil import first_line

__all__ = ["push"]

_LEFT_OUT = [".*", "**/.*", "ledger.jsonl"]


def push(root: Path, repo: str, *, private: bool) -> str:
    """Create the repository if it is not there, upload, and return its address. What is there already is not sent again.

    Raises `UsageError` for a name the hub does not allow, `UpstreamError` when it cannot be reached or says no.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (root / "dataset_dict.json").is_file():
        raise InputError(f"{root} is not a finished data set", hint="make it first; then push it")
    again = "the data set is whole on this disk; the same command tries again"
    try:
        api = HfApi()
        url = api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=url.repo_id,
            repo_type="dataset",
            folder_path=root,
            ignore_patterns=_LEFT_OUT,
            delete_patterns=["storage/*.arrow", "train/*.arrow"],
            commit_message="Data set made by sca",
        )
    except HFValidationError as error:
        raise UsageError(f"--push-to-hub {repo}: {first_line(error)}", hint="such as your-name/your-data") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        hint = "log in with `hf auth login` and a token that may write" if status in (401, 403) else again
        raise UpstreamError(f"the hub did not take {repo}: {first_line(error)}", hint=hint) from error
    except (OSError, RuntimeError) as error:  # offline mode, no route, a name that does not resolve: httpx and its kin
        raise UpstreamError(f"the hub cannot be reached to push {repo}: {first_line(error)}", hint=again) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise
        raise UpstreamError(f"the hub cannot be reached to push {repo}: {first_line(error)}", hint=again) from error
    return str(url)
