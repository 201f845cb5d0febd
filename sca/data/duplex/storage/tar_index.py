"""Where the rows of a WebDataset are in its tar files, so that one row is read by one range of bytes."""

import io
import json
import math
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.records import RowRecord
from sca.errors import InputError
from sca.files.bounded import MAX_MEMBER_BYTES, too_large
from sca.textutil import first_line

__all__ = ["TarRow", "TarSample", "content_of", "first_member", "index_tar", "npy_array", "read_sample"]


@dataclass(frozen=True, slots=True)
class TarRow:
    """A row in a tar file.

    Attributes:
        split: Its split.
        row_id: Its id.
        session_id: Its session.
        n_tokens: Number of its tokens.
        file: Name of the tar file.
        offset: Where its first member starts.
        size: Bytes of its members with their headers.
    """

    split: str
    row_id: str
    session_id: str
    n_tokens: int
    file: str
    offset: int
    size: int

    def to_line(self) -> str:
        """Return the row as a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class TarSample:
    """The content of a row in a tar file.

    Attributes:
        record: The row as stored.
        heard: FLAC file of its chunks at 16 kHz.
        spoken: FLAC file of its chunks at 24 kHz.
        codes: int16 `(n_chunks, 16, frames)`; None without codes.
    """

    record: RowRecord
    heard: bytes
    spoken: bytes
    codes: NDArray[np.int16] | None


def index_tar(tar_file: IO[bytes], name: str, split: str) -> Iterator[TarRow]:
    """Find the rows of a tar file. Audio is skipped.

    Args:
        tar_file: The file, seekable.
        name: Its name.
        split: The split of its rows.

    Raises:
        InputError: The file is not a WebDataset that `sca export` wrote.
    """
    try:
        with tarfile.open(fileobj=tar_file, mode="r:") as tar:
            for _, group in groupby((member for member in tar if member.isfile()), key=_key):
                members = {_field(member): member for member in group}
                record = json.loads(content_of(tar, members["json"]))
                n_tokens = len(npy_array(content_of(tar, members["input_ids.npy"])))
                start = min(member.offset for member in members.values())
                end = max(member.offset_data + -(-member.size // 512) * 512 for member in members.values())
                yield TarRow(split, record["row_id"], record["session_id"], n_tokens, name, start, end - start)
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise _damaged(name, error) from error


def first_member(content: bytes) -> bytes | None:
    """Return the first file in the bytes of a tar file; None if they end before it."""
    try:
        size = tarfile.TarInfo.frombuf(content[: tarfile.BLOCKSIZE], "utf-8", "strict").size
    except tarfile.TarError:
        return None
    found = content[tarfile.BLOCKSIZE : tarfile.BLOCKSIZE + size]
    return found if len(found) == size else None


def read_sample(content: bytes, name: str) -> TarSample:
    """Parse the bytes of one row.

    Args:
        content: The bytes `[offset, offset + size)` of the tar file.
        name: Name of the tar file, for messages.

    Raises:
        InputError: The bytes are not a row.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            parts = {_field(member): content_of(tar, member) for member in tar if member.isfile()}
        record: RowRecord = json.loads(parts["json"])
        record.setdefault("unlabelled", [])
        record["input_ids"] = npy_array(parts["input_ids.npy"]).tolist()
        codes = npy_array(parts["codes.npy"]) if "codes.npy" in parts else None
        return TarSample(record, parts["heard.flac"], parts["spoken.flac"], codes)
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name} cannot be read: {first_line(error)}", hint="export it again with --force")


def _key(member: tarfile.TarInfo) -> str:
    return member.name.partition(".")[0]


def _field(member: tarfile.TarInfo) -> str:
    return member.name.partition(".")[2]


def content_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the content of a file in a tar archive. A sparse one can state any size in a few bytes.

    Raises:
        TooLargeError: It has more than `MAX_MEMBER_BYTES`.
    """
    if member.size > MAX_MEMBER_BYTES:
        raise too_large(member.name, MAX_MEMBER_BYTES)
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def npy_array(content: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a `.npy` file, which is not larger than these.

    Raises:
        ValueError: They are not such a file.
    """
    stream = io.BytesIO(content)
    try:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # numpy passes on what its parsers raise, such as TokenError
        raise ValueError("the npy header cannot be read") from error
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"the npy header states another length: {shape}")
    stream.seek(0)
    array: NDArray[Any] = np.load(stream)
    return array
