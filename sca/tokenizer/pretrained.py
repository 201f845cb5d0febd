"""Load tokenizers from a folder or from the Hugging Face hub."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tokenizers import Tokenizer

from sca.errors import InputError, MissingToolError, UpstreamError
from sca.hub_errors import hub_reason
from sca.tokenizer.qwen_vocab import BUILTIN_QWEN

__all__ = ["from_folder", "from_hub"]

# Each entry is a set of files that is sufficient for a tokenizer.
_SUFFICIENT = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("tokenizer.model",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("tekken.json",),
)
_FILES = (
    *(name for names in _SUFFICIENT for name in names),
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
)
_HUB_TIMEOUT_S = 10.0


def from_folder(folder: Path, named: str) -> Tokenizer:
    """Load the fast tokenizer of a folder with transformers.

    Args:
        folder: The folder.
        named: What messages call it.

    Raises:
        MissingToolError: A package that the tokenizer needs is not installed.
        InputError: The files are incomplete or damaged, or the tokenizer does not have a fast implementation.
    """
    _check_files(folder, named)
    try:
        with _quiet():
            from transformers import AutoTokenizer

            # Code in a model folder is never run, and transformers must not prompt for it on the terminal.
            loaded = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise MissingToolError(
            f"the tokenizer of {named} needs a package that is not installed: {_line(error)}"
        ) from error
    except Exception as error:  # the exceptions for damaged files have no common base class
        raise InputError(f"the tokenizer files of {named} cannot be used: {_line(error)}") from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise InputError(
            f"the tokenizer of {named} ({type(loaded).__name__}) does not have a fast implementation",
            hint="use a model with a tokenizer.json: character offsets need one",
        )
    return backend


def _check_files(folder: Path, named: str) -> None:
    # From a folder with only a config.json, transformers silently creates an empty Qwen tokenizer.
    present = {path.name for path in folder.iterdir() if path.is_file()}
    if any(present.issuperset(names) for names in _SUFFICIENT):
        return
    for one, other in (("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")):
        if one in present:
            raise InputError(f"{named} has {one} but no {other}")
    raise InputError(
        f"{named} does not contain a tokenizer: it has neither tokenizer.json nor vocab.json with merges.txt"
    )


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Prevent transformers and huggingface_hub from writing to stderr. Failures are reported as exceptions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
        # Importing transformers sets its level, so only `disabled` silences the "PyTorch was not found" of its import.
        was_disabled, loggers[0].disabled = loggers[0].disabled, True
        try:
            import transformers  # noqa: F401
        finally:
            loggers[0].disabled = was_disabled
        levels = [logger.level for logger in loggers]
        bars = not are_progress_bars_disabled()
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            disable_progress_bars()
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                enable_progress_bars()


def from_hub(model_id: str, revision: str | None, timeout_s: float = _HUB_TIMEOUT_S) -> Path:
    """Return the folder with the tokenizer files of a hub id, from the local cache or downloaded.

    Before a download, one request with a timeout and without retries checks that the hub responds, so an unreachable
    hub is reported within seconds. `huggingface_hub` itself sets no timeout on that request.

    Args:
        model_id: The hub id.
        revision: Branch, tag or commit; None for the main branch.
        timeout_s: Timeout of that request, in seconds.

    Raises:
        InputError: The id is not valid, or the repository does not contain a tokenizer.
        UpstreamError: The hub does not respond, or does not provide the files.
    """
    from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download

    with _quiet():
        try:
            with suppress(errors.LocalEntryNotFoundError):
                cached = Path(
                    snapshot_download(model_id, revision=revision, local_files_only=True, allow_patterns=list(_FILES))
                )
                with suppress(InputError):
                    _check_files(cached, model_id)
                    return cached
            info = HfApi().model_info(model_id, revision=revision, timeout=timeout_s)
            names = {sibling.rfilename for sibling in info.siblings or ()}
            fetched = {
                # With the name of the revision instead of `info.sha`, the cache records the commit of that name.
                Path(hf_hub_download(model_id, name, revision=revision, etag_timeout=timeout_s)).parent
                for name in _FILES
                if name in names
            }
        except errors.HFValidationError as error:
            raise InputError(
                f"{model_id} is neither a folder nor a hub id", hint=f"{BUILTIN_QWEN} needs no network"
            ) from error
        except Exception as error:  # httpx, huggingface_hub and the OS have separate exceptions
            raise UpstreamError(
                f"cannot get the tokenizer of {model_id}: {hub_reason(error, revision)}; {BUILTIN_QWEN} needs no network"
            ) from error
    if not fetched:
        raise InputError(
            f"{model_id} does not contain a tokenizer: it has neither tokenizer.json nor vocab.json with merges.txt"
        )
    if len(fetched) > 1:
        raise UpstreamError(f"{model_id} changed while its tokenizer was downloaded", hint="run the command again")
    return fetched.pop()
