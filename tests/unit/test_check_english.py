"""The check of plain English: what it counts, what it leaves out, and when it fails."""

import subprocess
from collections import Counter

import pytest

from scripts import check_english


def run_git(folder, *words):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "sca").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "sca" / "clock.py").write_text('"""Read the clock."""\n')
    (tmp_path / "README.md").write_text("# A clock\n\nIt shows the time.\n")
    return tmp_path


def check(folder, *words):
    return check_english.main(["--root", str(folder), *words])


@pytest.mark.parametrize(
    "text",
    [
        "whoever reads this",
        "whom it concerns",
        "Nobody waits.",
        "made anew",
        "the client is told",
        "it says no",
        "there is no file",
        "of which none was none",
        "he speaks",
        "his track",
        "it is asked for",
        "a token stands there",
    ],
)
def test_counts_each_idiom(text):
    _, found = check_english.count(text)
    assert sum(found.values()) == 1


def test_leaves_ordinary_words_alone():
    assert check_english.count("The whole tool stood; sayings, standards, tasks, thereof.")[1] == Counter()


def test_reads_docstrings_and_comments_only(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""Nobody knows."""\nNAME = "nobody"\n\n\ndef nobody():  # whose\n    """He."""\n    return "who"\n'
    )
    prose = check_english.read_python(path)
    assert prose.total == 3
    assert prose.words == 4


def test_counts_parameters_written_inline(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""Read.\n\npath: the file.   rate_hz: the rate.   `x`: a list.\n\nArgs:\n    path: the file.\n"""\n'
    )
    assert check_english.read_python(path).found == {check_english.INLINE_PARAMETERS: 2}


def test_leaves_code_in_pages_out(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("The flag `--who`.\n\n```text\nwho, whose\n```\n\nNobody.\n\n~~~\nhe\n~~~\n")
    assert check_english.read_markdown(path).found == {"indefinite person": 1}


def test_passes_on_plain_english(repository, capsys):
    assert check(repository, "--tests") == 0
    assert capsys.readouterr().out.count("0.0 per 10,000 words") == 2


@pytest.mark.parametrize(
    ("page", "text"), [("sca/speaker.py", '"""Whose voice is it?"""\n'), ("docs/speaker.md", "Whose voice is it?\n")]
)
def test_fails_above_the_limit_and_lists_files(repository, capsys, page, text):
    (repository / page).write_text(text)
    assert check(repository, "--list") == 1
    assert page in capsys.readouterr().out
    assert check(repository, "--limit", "2000") == 0


def test_finds_long_test_names(repository, capsys):
    name = "test_" + "x" * 56
    (repository / "tests" / "unit" / "test_clock.py").write_text(
        f"async def {name}(): ...\n\n\ndef {name[:-1]}(): ...\n"
    )
    assert check(repository) == 0
    assert check(repository, "--tests") == 1
    assert f"test_clock.py:1: {name} has 61 characters" in capsys.readouterr().out


def test_finds_long_commit_subjects_after_the_base(repository, capsys):
    run_git(repository, "init", "--quiet")
    run_git(repository, "commit", "--allow-empty", "-m", "o" * 80)
    assert check(repository) == 0, "without origin/main there is nothing to compare with"
    run_git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    run_git(repository, "commit", "--allow-empty", "-m", "s" * 72)
    assert check(repository) == 0
    run_git(repository, "commit", "--allow-empty", "-m", "l" * 73)
    assert check(repository) == 1
    output = capsys.readouterr().out
    assert "l" * 73 in output
    assert "o" * 80 not in output


def test_reads_every_module_of_this_repository():
    paths = sorted((check_english.ROOT / "sca").rglob("*.py"))[::10]  # scripts/check reads all
    assert sum(check_english.read_python(path).words for path in paths) > 5_000
