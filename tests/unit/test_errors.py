"""The exception tree: codes, what its docstring says, and what survives a trip between processes."""

import errno
import inspect
import pickle
import re
from pathlib import Path

import pytest

from sca import errors
from sca.errors import (
    GridError,
    InputError,
    OutputError,
    PartialFailure,
    ScaError,
    UpstreamError,
    check_target,
    refused,
    writing,
)

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ScaError)]


def test_every_class_stands_in_the_docstring_with_its_code():
    drawn = {name: int(code) for name, code in re.findall(r"(\w+)  +(\d)  ", errors.__doc__)}
    assert drawn == {kind.__name__: kind.exit_code for kind in CLASSES}


def test_every_class_is_public_and_says_what_it_is():
    assert {kind.__name__ for kind in CLASSES} | {"check_target", "refused", "writing"} == set(errors.__all__)
    assert all(kind.__doc__ for kind in CLASSES)


def test_message_and_hint():
    error = InputError("row 3 is empty", hint="delete it")
    assert (str(error), error.message, error.hint) == ("row 3 is empty", "row 3 is empty", "delete it")
    assert InputError("x").hint is None


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_comes_home_from_a_worker_whole(kind):
    home = pickle.loads(pickle.dumps(kind("what", hint="do this")))
    assert (type(home), home.message, home.hint) == (kind, "what", "do this")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOENT, "there is no such folder"),
        (errno.ENAMETOOLONG, "cannot be made"),
        (errno.ELOOP, "cannot be made"),
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EFBIG, "larger than its file system"),
        (errno.EACCES, "no permission"),
        (errno.EPERM, "no permission"),
        (errno.EROFS, "no permission"),
        (errno.ENOTDIR, "cannot be made"),
        (errno.EEXIST, "cannot be made"),
        (errno.EISDIR, "cannot be made"),
    ],
)
def test_refusals_while_writing_name_the_target(code, words):
    cause = OSError(code, "said the system")
    with pytest.raises(OutputError, match=f"(?s)(?=.*{words})(?=.*out/rows)") as caught, writing(Path("out/rows")):
        raise cause
    assert caught.value.__cause__ is cause


def test_what_is_no_refusal_passes_through():
    with pytest.raises(InterruptedError), writing(Path("out")):
        raise OSError(errno.EINTR, "interrupted")
    with pytest.raises(GridError), writing(Path("out")):
        raise GridError("not about files")


def test_a_real_refusal(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(OutputError, match="something else has that name"), writing(in_the_way / "below"):
        (in_the_way / "below").mkdir()


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=f"{tmp_path}/file is no folder"), writing(tmp_path / "file" / "a" / "b"):
        (tmp_path / "file" / "a").mkdir()


def test_an_input_that_is_missing_is_not_said_of_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "out" / "o"):
        (tmp_path / "in" / "i").read_bytes()


def test_a_target_is_checked_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for path, words in [
        (tmp_path, "something else has that name"),
        (tmp_path / "file" / "o", "is no folder"),
        (Path("/dev/full"), "no file but a device"),
        (tmp_path / ("n" * 300), "File name too long"),
    ]:
        with pytest.raises(OutputError, match=words):
            check_target(path)
    check_target(tmp_path / "file")
    check_target(tmp_path / "new" / "o")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "new"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOENT, "in/i is not there"),
        (errno.EACCES, "no permission to use in/i"),
        (errno.EISDIR, "in/i cannot be used: something else has that name (said the system)"),
        (errno.ENAMETOOLONG, "in/i cannot be used: said the system"),
        (errno.ENOSPC, "the disk is full while writing in/i"),
    ],
)
def test_a_refusal_that_nobody_expected_is_a_line_too(code, message):
    told = refused(OSError(code, "said the system", "in/i"))
    assert (told.message, told.exit_code) == (message, 5)
    assert told.hint


def test_a_full_disk_is_told_without_a_name():
    told = refused(OSError(errno.ENOSPC, "no space left"))
    assert told.message == "the disk is full while writing a file or standard output"
    assert "second run" in told.hint


def test_what_no_user_can_mend_is_none():
    assert refused(OSError(errno.EACCES, "no name")) is None
    assert refused(OSError(errno.EBADF, "bad file descriptor", "in/i")) is None
    assert refused(BrokenPipeError(errno.EPIPE, "broken pipe")) is None


def test_families():
    assert issubclass(GridError, errors.ConfigError)
    assert issubclass(errors.VerificationError, InputError)
    assert not issubclass(UpstreamError, OSError)
    assert PartialFailure("3 of 10 failed").exit_code == 7
