"""Load a faster-whisper model, with an error that names the cause if it cannot be loaded."""

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sca.errors import MissingToolError, ScaError, UpstreamError, UsageError
from sca.models import resolve
from sca.models.cuda_libraries import check_cuda_libraries
from sca.models.pinned import revision_of
from sca.textutil import first_line

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

__all__ = ["gpu_count", "hub_revision", "load_model"]

_REQUIRED_FILES = (("model.bin",), ("config.json",), ("vocabulary.json", "vocabulary.txt"), ("tokenizer.json",))
_HUB_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")


def load_model(name: str, device: str, compute_type: str, workers: int, cpu_threads: int) -> tuple["WhisperModel", int]:
    """Load a model.

    Args:
        name: A size that faster-whisper has, a hub id, a folder in CTranslate2's format, or a model of `sca.models`.
        device: "auto", "cpu" or "cuda".
        compute_type: CTranslate2's name, or "auto" for the type that the weights are stored in.
        workers: Calls at a time; 0 is one per GPU, or one on a CPU.
        cpu_threads: Threads of each worker on a CPU; 0 is CTranslate2's default.

    Returns:
        The model and the number of workers.

    Raises:
        MissingToolError: A model folder is incomplete or not fetched, or CUDA was requested and there is no CUDA device
            or no CUDA library.
        UpstreamError: The model cannot be downloaded.
        UsageError: The model does not exist, or the device does not support the compute type.
    """
    import ctranslate2
    from faster_whisper import WhisperModel

    ctranslate2.set_log_level(logging.ERROR)  # a warning says that a CPU computes float16 weights in float32
    gpus = gpu_count(device)
    if gpus:
        check_cuda_libraries()
    workers = workers or max(gpus, 1)
    used = "cuda" if gpus else "cpu"
    supported = ctranslate2.get_supported_compute_types(used)
    if compute_type not in ("auto", "default", *supported):
        raise UsageError(
            f"this {used} cannot compute in {compute_type}",
            hint=f"it can in {', '.join(sorted(supported))}; auto chooses",
        )
    name = str(resolve(name) or name)
    _check_folder(name)
    try:
        model = WhisperModel(
            name if Path(name).expanduser().is_dir() else str(_downloaded(name)),
            device=used,
            device_index=list(range(min(gpus, workers))) if gpus else 0,
            compute_type="default" if compute_type == "auto" else compute_type,
            cpu_threads=cpu_threads,
            num_workers=workers if not gpus else 1,
        )
    except Exception as error:
        raise _load_error(name, error) from error
    return model, workers


def _downloaded(name: str) -> Path:
    """Return the folder of a hub model, downloaded if it is not on this machine. A terminal shows the progress.

    faster-whisper downloads without a display, and asks the hub for changes at every start.
    """
    from faster_whisper.utils import _MODELS, download_model
    from huggingface_hub import snapshot_download

    revision = hub_revision(name)
    with suppress(FileNotFoundError):
        folder = Path(download_model(name, local_files_only=True, revision=revision))
        if (folder / "model.bin").is_file():  # an interrupted download leaves a folder without it
            return folder
    return Path(
        snapshot_download(
            _MODELS.get(name, name), revision=revision, allow_patterns=list(_HUB_FILES), tqdm_class=_bar()
        )
    )


def hub_revision(name: str, cache_dir: str | None = None) -> str | None:
    """Return the commit of a size or hub id that is loaded; None for its main branch.

    Args:
        name: A size that faster-whisper has, or a hub id.
        cache_dir: The cache of the hub client; None for its default.
    """
    from faster_whisper.utils import _MODELS

    return revision_of(_MODELS.get(name, name), file="model.bin", cache_dir=cache_dir)


def _bar() -> type:
    """Return the class of the progress bars of a download; they are shown in a terminal only."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, tqdm

    class Bar(tqdm):
        def __init__(self, *args: object, **kwargs: object) -> None:
            hidden = are_progress_bars_disabled() or not sys.stderr.isatty()
            super().__init__(*args, **{**kwargs, "disable": hidden})  # type: ignore[no-untyped-call]

    return Bar


def gpu_count(device: str) -> int:
    """Return the number of GPUs for a device: "auto", "cpu" or "cuda".

    Raises:
        MissingToolError: CUDA was requested and there is no GPU.
    """
    import ctranslate2

    count = int(ctranslate2.get_cuda_device_count()) if device != "cpu" else 0
    if device == "cuda" and not count:
        raise MissingToolError(
            "--device cuda was given and no CUDA device is available",
            hint="use --device cpu, or auto for what is available",
        )
    return count


def _check_folder(name: str) -> None:
    """Check that a model folder is complete; otherwise loading fails late, or downloads what is missing."""
    path = Path(name).expanduser()
    if not path.is_dir():
        if path.exists() or name.startswith((".", "/", "~")):
            raise MissingToolError(
                f"{name} is not a folder with a model in it", hint="give a folder, a hub id or a size such as small"
            )
        return
    missing = [" or ".join(names) for names in _REQUIRED_FILES if not any((path / file).is_file() for file in names)]
    if missing:
        raise MissingToolError(
            f"the model folder {name} lacks {', '.join(missing)}",
            hint="ct2-transformers-converter --model … --copy_files tokenizer.json preprocessor_config.json makes a complete one",
        )


def _load_error(name: str, error: Exception) -> ScaError:
    """Describe why a model cannot be loaded."""
    classes = {base.__name__ for base in type(error).__mro__}
    reason = first_line(error)
    if Path(name).expanduser().is_dir():
        return MissingToolError(
            f"the model in {name} cannot be loaded: {reason}", hint="it has to be in CTranslate2's format"
        )
    if classes & {"RepositoryNotFoundError", "HFValidationError"} or isinstance(error, ValueError):
        return UsageError(
            f"the model {name} does not exist: {reason}", hint="give a size such as small, a hub id or a folder"
        )
    if isinstance(error, OSError) or classes & {"LocalEntryNotFoundError", "HfHubHTTPError", "OfflineModeIsEnabled"}:
        return UpstreamError(
            f"the model {name} cannot be downloaded: {reason}", hint="check the network, or give a folder that holds it"
        )
    return ScaError(f"the model {name} cannot be loaded: {reason}")
