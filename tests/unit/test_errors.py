"""The exception tree: codes, what its docstring says, and what survives a trip between processes."""

import errno
import inspect
import pickle
import re
from pathlib import Path

import pytest

from sca import errors
from sca.errors import GridError, InputError, OutputError, PartialFailure, ScaError, UpstreamError, writing

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ScaError)]


def test_every_class_stands_in_the_docstring_with_its_code():
    drawn = {name: int(code) for name, code in re.findall(r"(\w+)  +(\d)  ", errors.__doc__)}
    assert drawn == {kind.__name__: kind.exit_code for kind in CLASSES}


def test_every_class_is_public_and_says_what_it_is():
    assert {kind.__name__ for kind in CLASSES} | {"writing"} == set(errors.__all__)
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


def test_families():
    assert issubclass(GridError, errors.ConfigError)
    assert issubclass(errors.VerificationError, InputError)
    assert not issubclass(UpstreamError, OSError)
    assert PartialFailure("3 of 10 failed").exit_code == 7
