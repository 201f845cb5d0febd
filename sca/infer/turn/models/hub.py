"""Downloads a turn model from the Hugging Face hub: one .onnx file, or the files of a v2 model."""

from collections.abc import Callable, Iterable
from pathlib import Path

from sca.distribution import install_extra
from sca.errors import InputError, UpstreamError
from sca.hub_errors import hub_reason
from sca.models.pinned import revision_of

__all__ = ["download"]

_V2_FILES = ["config.json", "model.safetensors", "*config.json"]


def download(model_id: str, revision: str | None, choose: Callable[[Iterable[str]], str | None]) -> Path:
    """Return a downloaded model. Without a network, it is the one that was downloaded before.

    Args:
        model_id: `owner/name`, or a file as `owner/name/file.onnx`.
        revision: The revision; None for the commit of `sca.models.pinned`, or the main branch.
        choose: Returns the file to download among the names of .onnx files; None without one.

    Returns:
        The .onnx file, or the folder of a v2 model.

    Raises:
        InputError: `model_id` is not an id.
        UpstreamError: The model cannot be downloaded.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    owner, name, *file = model_id.split("/", 2)
    try:
        return _download(
            f"{owner}/{name}",
            file[0] if file else None,
            revision,
            choose,
        )
    except HFValidationError as error:
        raise InputError(f"{model_id!r} is neither a path nor a hub id") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        hint = (
            f"name a model with --model (an .onnx file, a directory, a hub id); {install_extra('pipecat')} installs one"
        )
        raise UpstreamError(f"cannot download {model_id}: {hub_reason(error, revision)}", hint=hint) from error


def _download(
    repository: str, file: str | None, revision: str | None, choose: Callable[[Iterable[str]], str | None]
) -> Path:
    import httpx
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    given, revision = revision, revision_of(repository, revision)
    if file is None:
        try:
            names = HfApi().list_repo_files(repository, revision=revision)
        except (OfflineModeIsEnabled, ConnectionError, httpx.TransportError):
            try:
                folder = snapshot_download(repository, revision=revision, local_files_only=True)
            except LocalEntryNotFoundError:  # an earlier version may have downloaded the main branch
                folder = snapshot_download(repository, revision=given, local_files_only=True)
            revision = Path(folder).name
            names = [path.name for path in Path(folder).iterdir()]
        file = choose([name for name in names if "/" not in name])
    if file is None:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=_V2_FILES))
    return Path(hf_hub_download(repository, file, revision=revision))
