"""The model card beside trained weights, and their upload to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from sca.config import Settings
from sca.data.datasets.hub import hub_errors
from sca.data.duplex.load.dataset import DuplexDataset
from sca.distribution import __version__
from sca.textutil import counted

__all__ = ["check_repository", "model_card", "push_model"]

CARD = "README.md"
_EXAMPLE = "your-name/your-model"


def check_repository(repo: str) -> None:
    """Check the name of a repository before the training, without a network.

    Raises:
        UsageError: The hub does not allow the name.
    """
    from huggingface_hub.utils._validators import validate_repo_id

    with hub_errors(repo, example=_EXAMPLE):
        validate_repo_id(repo)


def model_card(settings: Settings, rows: DuplexDataset, step: int) -> str:
    """Return the card of trained weights.

    Args:
        settings: The settings of the run.
        rows: The rows of the training.
        step: Optimiser steps so far.
    """
    train, model = settings.train, settings.qwen.model_id
    is_adapter = train.method == "lora"
    option = "adapter" if is_adapter else "model_id"
    lines = ["---"]
    lines += ["base_model: " + model] if not Path(model).expanduser().exists() else []
    lines += ["library_name: peft"] if is_adapter else ["library_name: transformers"]
    lines += [
        "pipeline_tag: any-to-any",
        "tags:",
        "- full-duplex",
        "- sca",
        *(["- lora"] if is_adapter else []),
        "---",
        "",
    ]
    lines += [
        f"# {'LoRA adapter' if is_adapter else 'Model'} for full-duplex conversation",
        "",
        f"Trained with sca {__version__} from {Path(model).name if Path(model).expanduser().exists() else model}: "
        f"{counted(step, 'step')} on {counted(len(rows), 'row')} of {counted(len(set(rows.sessions)), 'session')}. "
        "`train.toml` has the settings, and `duplex.json` the grid, token ids and prompt that the model needs live.",
        "",
        "```bash",
        f"sca live --mic --engine qwen-omni --config FOLDER/train.toml --set qwen.{option}=FOLDER",
        "```",
    ]
    return "\n".join(lines) + "\n"


def push_model(folder: Path, repo: str, *, private: bool) -> str:
    """Create the repository if it does not exist, and upload trained weights. Unchanged files are not uploaded again.

    Args:
        folder: The folder of the weights, such as `best` or `last` of a run.
        repo: The name of the repository, such as `owner/name`.
        private: Whether a new repository is private.

    Returns:
        The URL of the repository.

    Raises:
        UsageError: The hub does not allow the name.
        UpstreamError: The hub cannot be reached or rejects the upload.
    """
    from huggingface_hub import HfApi

    with hub_errors(repo, example=_EXAMPLE, retry=f"the weights are in {folder}; run the same command with --resume"):
        api = HfApi()
        url = api.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=url.repo_id,
            repo_type="model",
            folder_path=folder,
            ignore_patterns=[".*", "**/.*"],
            commit_message="Weights trained by sca",
        )
        return str(url)
