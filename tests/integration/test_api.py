"""The public API: every name can be imported, is documented, and its example runs."""

import doctest
import inspect
import re
import subprocess
import sys
import textwrap

import pytest

import sca

# The examples of `load`, `DuplexRows` and `easy_load` need a data set; test_duplex_easy_load.py and test_convert.py run
# them.
WITH_EXAMPLES = (
    "Engine",
    "LiveSession",
    "build",
    "export",
    "read_corpus",
    "run_engine",
    "synthesize",
    "transcribe",
    "verify",
)


@pytest.mark.parametrize("name", [name for name in sca.__all__ if name != "__version__"])
def test_public_names_are_documented(name):
    assert inspect.getdoc(getattr(sca, name)), name
    assert name in dir(sca)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = getattr(sca, name)
    documented = inspect.getdoc(value)
    examples = doctest.DocTestParser().get_doctest(documented, {}, name, None, 0)
    blocks = re.findall(r"```python\n(.*?)```", documented, re.DOTALL)
    assert examples.examples or blocks, f"sca.{name} has no example"
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples)
    assert results.failed == 0
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(block)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="has no attribute 'unknown'"):
        _ = sca.unknown


def test_import_loads_nothing_heavy():
    code = (
        "import sca, sys; print(sorted({'numpy', 'pydantic', 'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
