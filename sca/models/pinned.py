"""The commit of a repository on the hub that is used if no revision is given, see `sca/resources/hub_commits.toml`."""

from pathlib import Path

from sca.resources import hub_commits

__all__ = ["revision_of"]


def revision_of(
    repository: str, revision: str | None = None, *, file: str = "config.json", cache_dir: str | Path | None = None
) -> str | None:
    """Return the revision of a repository that is loaded.

    Args:
        repository: A hub id; anything else, such as a folder, has no commit.
        revision: The revision that the user gave, which has precedence.
        file: A file that every complete download of the repository has.
        cache_dir: The cache of the hub client; None for its default.

    Returns:
        The revision; without one the pinned commit, or the commit that an earlier version has downloaded, so that what
        is on this machine is used without a network. None for a repository without a pinned commit: its main branch.
    """
    commit = hub_commits().get(repository)
    if revision is not None or commit is None:
        return revision
    if _cached(repository, file, commit, cache_dir) is None and (found := _cached(repository, file, "main", cache_dir)):
        return found
    return commit


def _cached(repository: str, file: str, revision: str, cache_dir: str | Path | None) -> str | None:
    """Return the commit of a downloaded revision."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=revision, cache_dir=cache_dir)
    return Path(found).parent.name if isinstance(found, str) else None
