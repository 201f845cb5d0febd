"""Why the Hugging Face hub did not provide something, in a few words."""

from sca.textutil import first_line

__all__ = ["hub_reason"]


def hub_reason(error: Exception, revision: str | None = None) -> str:
    """Return the cause of an error of `huggingface_hub`, to follow "cannot get …:" in a message.

    Args:
        error: The error.
        revision: The requested revision.
    """
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "it is gated; accept its terms on its page and log in with `hf auth login`"
        case errors.RevisionNotFoundError():
            return f"it has no revision {revision}"
        case errors.RepositoryNotFoundError():
            return "it does not exist on the hub, or it is private"
        case errors.OfflineModeIsEnabled():
            return "it is not in the local cache, and HF_HUB_OFFLINE is set"
        case errors.HfHubHTTPError():
            return f"the hub responded with status {error.response.status_code}"
        case _:
            return f"the hub does not respond ({first_line(error)})"
