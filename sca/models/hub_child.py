"""Download files of a repository of the Hugging Face hub into the current folder, and continue those that are partly there.

`python -m sca.models.hub_child REPOSITORY COMMIT FILE…`. The last line on stderr is the cause of a failure. The process
ends when its standard input closes, so that it does not outlive the one that started it.
"""

import hashlib
import os
import sys
from pathlib import Path
from threading import Thread

from sca.hub_errors import hub_reason

__all__ = ["main"]

_HEAD_S = 10.0
_BLOCK_BYTES = 1 << 16


def main() -> None:
    """Download the files that the command line names."""
    Thread(target=_end_with_parent, daemon=True).start()
    repository, commit, *names = sys.argv[1:]
    for name in names:
        try:
            _download(repository, commit, name)
        except Exception as error:  # noqa: BLE001 - httpx, huggingface_hub and the OS have separate exceptions
            sys.stderr.write(f"{name}: {hub_reason(error, commit)}\n")
            sys.exit(1)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # not through the object: its lock would be held when the interpreter ends
    os._exit(1)


def _download(repository: str, commit: str, name: str) -> None:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented, and not in its __all__

    # By default it writes blocks of 10 MB, which a slow connection does not fill before the download counts as stalled.
    constants.DOWNLOAD_CHUNK_SIZE = _BLOCK_BYTES
    target = Path(name)
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    url = hf_hub_url(repository, name, revision=commit)
    found = get_hf_file_metadata(url, timeout=_HEAD_S)
    version = hashlib.sha256((found.etag or "").encode()).hexdigest()[:8]
    partial = target.with_name(f"{target.name}.{version}.partial")
    with partial.open("ab" if found.size else "wb") as out:
        is_own = found.location.startswith(f"{constants.ENDPOINT}/")
        headers = build_hf_headers() if is_own else {}  # another host must not receive the token
        http_get(found.location, out, resume_size=out.tell(), headers=headers, expected_size=found.size)
    partial.replace(target)


if __name__ == "__main__":
    main()
