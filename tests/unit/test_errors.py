"""The errors: exit codes, the tree in the docstring, pickling, and the conversion of system errors."""

import errno
import inspect
import pickle
import re
import socket
import ssl
from pathlib import Path

import pytest

from sca import errors
from sca.errors import (
    DamageError,
    GridError,
    InputError,
    NoMemoryError,
    OutputError,
    PartialFailure,
    ScaError,
    UpstreamError,
    check_target,
    error_of_system,
    writing,
)

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ScaError)]


def test_docstring_lists_every_class_and_code():
    drawn = {name: int(code) for name, code in re.findall(r"(\w+)  +(\d)  ", errors.__doc__)}
    assert drawn == {kind.__name__: kind.exit_code for kind in CLASSES}


def test_every_class_is_public_and_documented():
    functions = {"check_target", "error_of_system", "is_of_system", "unknown_name", "writing"}
    assert {kind.__name__ for kind in CLASSES} | functions == set(errors.__all__)
    assert all(kind.__doc__ for kind in CLASSES)


def test_message_and_hint():
    error = InputError("row 3 is empty", hint="delete it")
    assert (str(error), error.message, error.hint) == ("row 3 is empty", "row 3 is empty", "delete it")
    assert InputError("x").hint is None


@pytest.mark.parametrize("kind", CLASSES)
def test_pickling_keeps_class_message_and_hint(kind):
    copy = pickle.loads(pickle.dumps(kind("what", hint="do this")))
    assert (type(copy), copy.message, copy.hint) == (kind, "what", "do this")


def test_pickling_keeps_the_limit_of_damage():
    copy = pickle.loads(pickle.dumps(DamageError("what", hint="do this", needed_s=26.0)))
    assert (copy.message, copy.hint, copy.needed_s) == ("what", "do this", 26.0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOENT, "the folder does not exist"),
        (errno.ENAMETOOLONG, "cannot create"),
        (errno.ELOOP, "cannot create"),
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EFBIG, "larger than its file system"),
        (errno.EACCES, "no permission"),
        (errno.EPERM, "no permission"),
        (errno.EROFS, "no permission"),
        (errno.ENOTDIR, "cannot create"),
        (errno.EEXIST, "cannot create"),
        (errno.EISDIR, "cannot create"),
        (errno.EMFILE, "too many files are open"),
        (errno.ENOLCK, "cannot be locked"),
        (errno.EIO, "the system's text"),
        (errno.ESTALE, "the system's text"),
        (errno.EXDEV, "the system's text"),
        (errno.EREMOTEIO, "the system's text"),
        (errno.ETIMEDOUT, "the system's text"),
    ],
)
def test_system_errors_while_writing_name_the_target(code, words):
    cause = OSError(code, "the system's text")
    with pytest.raises(OutputError, match=f"(?s)(?=.*{words})(?=.*out/rows)") as caught, writing(Path("out/rows")):
        raise cause
    assert caught.value.__cause__ is cause


def test_other_errors_while_writing_pass_through():
    with pytest.raises(InterruptedError), writing(Path("out")):
        raise OSError(errno.EINTR, "interrupted")
    with pytest.raises(GridError), writing(Path("out")):
        raise GridError("not about files")


def test_converts_a_real_system_error(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="the name is already in use"), writing(file / "below"):
        (file / "below").mkdir()


def test_names_the_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=f"{tmp_path}/file is not a folder"), writing(tmp_path / "file" / "a" / "b"):
        (tmp_path / "file" / "a").mkdir()


def test_missing_input_is_not_an_output_error(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "out" / "o"):
        (tmp_path / "in" / "i").read_bytes()


def test_checks_a_target_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for path, words in [
        (tmp_path, "the name is already in use"),
        (tmp_path / "file" / "o", "is not a folder"),
        (Path("/dev/full"), "/dev/full is a device or pipe, not a regular file"),
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
        (errno.ENOENT, "in/i does not exist"),
        (errno.EACCES, "no permission to use in/i"),
        (errno.EISDIR, "cannot use in/i: the system's text"),
        (errno.ENAMETOOLONG, "cannot use in/i: the system's text"),
        (errno.ENOSPC, "the disk is full while writing in/i"),
    ],
)
def test_converts_an_unexpected_system_error(code, message):
    error = error_of_system(OSError(code, "the system's text", "in/i"))
    assert (error.message, error.exit_code) == (message, 5)
    assert error.hint


def test_full_disk_without_a_file_name():
    error = error_of_system(OSError(errno.ENOSPC, "no space left"))
    assert error.message == "the disk is full while writing a file or standard output"
    assert "second run" in error.hint


def test_mistakes_of_the_program_are_not_converted():
    assert error_of_system(OSError(errno.EBADF, "bad file descriptor", "in/i")) is None
    assert error_of_system(OSError(errno.EINVAL, "invalid argument")) is None
    assert error_of_system(OSError("no number")) is None
    assert error_of_system(BrokenPipeError(errno.EPIPE, "broken pipe")) is None
    assert error_of_system(ValueError("not of the system")) is None


def test_every_error_without_a_name_has_a_family():
    for code in errno.errorcode:
        error = error_of_system(OSError(code, "the system's text"))
        if error is not None:
            assert error.exit_code in (5, 6), errno.errorcode[code]
            assert error.hint


def test_errors_of_the_network():
    for cause in (
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        socket.gaierror(-2, "Name or service not known"),
        ssl.SSLError(1, "certificate verify failed"),
    ):
        error = error_of_system(cause)
        assert (error.exit_code, error.message) == (6, f"no connection: {cause.strerror}")


def test_lack_of_memory_may_pass():
    error = error_of_system(MemoryError())
    assert (type(error), error.exit_code, error.message) == (NoMemoryError, 5, "there is not enough memory")


def test_families():
    assert issubclass(GridError, errors.ConfigError)
    assert issubclass(errors.VerificationError, InputError)
    assert not issubclass(UpstreamError, OSError)
    assert PartialFailure("3 of 10 failed").exit_code == 7
