"""Tokenizers from a folder and from a hub: which files are enough, how they are fetched, and what each failure means."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tokenizers import Tokenizer

from sca.errors import InputError, MissingToolError, UpstreamError
from sca.tokenizer.qwen_vocab import BUILTIN_QWEN

__all__ = ["from_folder", "from_hub"]

# Any one line of these is enough to make a tokenizer.
_ENOUGH = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("tokenizer.model",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("tekken.json",),
)
_WANTED = (
    *(name for names in _ENOUGH for name in names),
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
)
_HUB_TIMEOUT_S = 10.0


def from_folder(folder: Path, named: str) -> Tokenizer:
    """The fast tokenizer that transformers makes of a folder; `named` is what the user called it."""
    _check_files(folder, named)
    try:
        with _quiet():
            from transformers import AutoTokenizer

            # Never run code that a model folder brings along, and never ask on the terminal whether to.
            loaded = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise MissingToolError(
            f"the tokenizer of {named} needs a package that is not installed: {_line(error)}"
        ) from error
    except Exception as error:  # what a damaged file makes transformers and tokenizers raise has no common class
        raise InputError(f"the tokenizer files of {named} cannot be used: {_line(error)}") from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise InputError(
            f"the tokenizer of {named} ({type(loaded).__name__}) has no fast form",
            hint="a model with a tokenizer.json is needed: character offsets exist only there",
        )
    return backend


def _check_files(folder: Path, named: str) -> None:
    # transformers makes an empty Qwen tokenizer, without a word, of a folder with nothing but a config.json.
    present = {path.name for path in folder.iterdir() if path.is_file()}
    if any(present.issuperset(names) for names in _ENOUGH):
        return
    for one, other in (("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")):
        if one in present:
            raise InputError(f"{named} has {one} but no {other}")
    raise InputError(f"{named} holds no tokenizer: it has no tokenizer.json, nor vocab.json with merges.txt")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers and huggingface_hub from writing to stderr: what matters leaves by an exception."""
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
    """The folder with the tokenizer files of a hub id: the local cache's, or freshly fetched ones.

    One request with a time limit and no retries asks whether the hub is there at all, so that an unreachable hub is an error in
    seconds; `huggingface_hub` on its own sets no time limit on that request.
    """
    from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download

    with _quiet():
        try:
            with suppress(errors.LocalEntryNotFoundError):
                cached = Path(
                    snapshot_download(model_id, revision=revision, local_files_only=True, allow_patterns=list(_WANTED))
                )
                with suppress(InputError):
                    _check_files(cached, model_id)
                    return cached
            info = HfApi().model_info(model_id, revision=revision, timeout=timeout_s)
            names = {sibling.rfilename for sibling in info.siblings or ()}
            fetched = {
                # By the name of the revision, not by `info.sha`: only then does the cache remember which commit it stood for.
                Path(hf_hub_download(model_id, name, revision=revision, etag_timeout=timeout_s)).parent
                for name in _WANTED
                if name in names
            }
        except errors.HFValidationError as error:
            raise InputError(
                f"{model_id} is neither a folder nor a hub id", hint=f"{BUILTIN_QWEN} needs no network"
            ) from error
        except Exception as error:  # httpx, huggingface_hub and the OS each have their own; all mean "not from there"
            raise UpstreamError(
                f"cannot get the tokenizer of {model_id}: {_why(error, revision)}; {BUILTIN_QWEN} needs no network"
            ) from error
    if not fetched:
        raise InputError(f"{model_id} holds no tokenizer: it has no tokenizer.json, nor vocab.json with merges.txt")
    if len(fetched) > 1:
        raise UpstreamError(f"{model_id} changed while its tokenizer was being fetched", hint="try again")
    return fetched.pop()


def _why(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "it is gated; accept its terms on its page and log in with `hf auth login`"
        case errors.RevisionNotFoundError():
            return f"it has no revision {revision}"
        case errors.RepositoryNotFoundError():
            return "the hub does not know it, or it is private"
        case errors.OfflineModeIsEnabled():
            return "it is not in the local cache, and HF_HUB_OFFLINE is set"
        case errors.HfHubHTTPError():
            return f"the hub answered {error.response.status_code}"
        case _:
            return f"the hub does not answer ({_line(error)})"
