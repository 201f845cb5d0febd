"""The script of the third-party notices: the closure of dependencies, licences, and the bill of materials."""

import json
from email.message import Message

import pytest

from sca.models import models
from scripts import make_notices
from scripts.make_notices import Binary, Package, bill, licence_of, notices, packages_of

PROJECT = """
[project]
name = "mine"
dependencies = ["rich>=1", "no-such-package>=2; python_version > '3'", "never; sys_platform == 'none'"]
[project.optional-dependencies]
web = ["httpx[http2]", "mine[more]"]
more = ["rich"]
"""


@pytest.fixture
def packages(tmp_path):
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return packages_of(tmp_path)


class Stated:
    def __init__(self, *fields):
        self.metadata = Message()
        for name, value in fields:
            self.metadata[name] = value


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "other")], "MIT"),
        ([("License", "BSD 3-Clause License\n\nCopyright …")], "BSD 3-Clause License"),
        ([("License", "Permission is hereby granted " * 9), ("Classifier", "License :: OSI Approved :: ISC")], "ISC"),
        ([("License", "UNKNOWN"), ("Classifier", "Typing :: Typed")], "not stated"),
        ([], "not stated"),
    ],
)
def test_licence_is_the_stated_one(fields, licence):
    assert licence_of(Stated(*fields)) == licence


def test_dependencies_of_dependencies_are_found(packages):
    assert {"rich", "pygments", "markdown-it-py", "mdurl", "httpx", "httpcore", "certifi"} <= set(packages)
    assert "never" not in packages
    assert packages["pygments"].extras == {"", "more"}
    assert packages["httpx"].extras == {"web"}
    assert "pygments" in packages["rich"].needs
    assert packages["no-such-package"].version is None


def test_notices_name_packages_weights_and_programs(packages):
    inside = [Binary("a", "tool", "1", "GPL-3.0-or-later", "x|y")]
    text = notices(packages.values(), inside, models().values())
    assert "| a | tool 1 | GPL-3.0-or-later | x/y |" in text
    assert f"| rich | {packages['rich'].version} | MIT | base |" in text
    assert f"| httpx | {packages['httpx'].version} | BSD-3-Clause | web |" in text
    assert "Not installed where this list was made: no-such-package" in text
    assert all(f"| {name} | {model.licence}" in text for name, model in models().items())


def test_bill_has_each_component_once(packages):
    inside = [Binary("rich", "ffmpeg", "7", "GPL-3.0-or-later", "")]
    document = json.loads(json.dumps(bill(packages.values(), inside, models().values(), "1")))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    refs = [component["bom-ref"] for component in document["components"]]
    assert len(refs) == len(set(refs))
    known = {*refs, "sca"}
    assert all({entry["ref"], *entry["dependsOn"]} <= known for entry in document["dependencies"])
    rich = next(entry for entry in document["dependencies"] if entry["ref"].startswith("pkg:pypi/rich@"))
    assert "rich/ffmpeg" in rich["dependsOn"]
    assert Package("a", "1", "Apache 2.0").ref == "pkg:pypi/a@1"


def test_binaries_state_their_licences():
    found = {one.name: one for one in make_notices.binaries()}
    assert found["ffmpeg"].licence == "GPL-3.0-or-later"
    assert found["ffmpeg"].version[0].isdigit()
    assert "GPL" in found["FFmpeg libraries (libavcodec)"].licence
