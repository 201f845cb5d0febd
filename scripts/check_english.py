#!/usr/bin/env python3
"""Measure how plain the English of this repository is, and fail where it is not.

    python scripts/check_english.py [--list] [--tests] [--limit 20]

Counts turns of phrase that standard technical English does without, per 10,000 words: in the docstrings and comments
of `sca/`, and in the Markdown of the top level and `docs/`. Exits with 1 if either figure is above the limit, or if the
subject of a commit that is not on `origin/main` yet is longer than 72 characters. With `--tests`, names of test
functions may have at most 60 characters. Uses the standard library and git only.
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 20.0
MAX_TEST_NAME = 60
MAX_SUBJECT = 72
WORST_FILES = 15

# Assembled from parts where needed, so that a search for the phrases does not find this list.
PATTERNS = {
    "relative pronoun for a program": r"\b(?:who|whose|whoever|whom)\b",
    "indefinite person": r"\b(?:nobody|somebody)\b",
    "archaic adverb": r"\ba" + r"new\b",
    "code that speaks": r"\b(?:told|tells?|says?|said)\b",
    "negation by 'no'": r"\b(?:is|are|was) (?:no|none)\b",
    "personal pronoun": r"\b(?:he|his|him)\b",
    "code that is questioned": r"\basked\b",
    "standing": r"\bstands?\b",
}
INLINE_PARAMETERS = "inline parameters"
# "path: the file.   rate_hz: the rate." instead of an `Args:` section.
_INLINE = re.compile(r"\S {3,}[`*]*[a-z_][\w`*, ]*: ")
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in PATTERNS.items()}
_WORD = re.compile(r"[A-Za-z']+")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_INLINE_CODE = re.compile(r"`[^`\n]+`")


class Prose(NamedTuple):
    """The words of one file and how often each pattern occurs in them."""

    path: Path
    words: int
    found: Counter[str]

    @property
    def total(self) -> int:
        """Occurrences of all patterns."""
        return sum(self.found.values())


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def comments(source: str) -> Iterator[str]:
    """Yield the comments of a Python source."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def count(text: str) -> tuple[int, Counter[str]]:
    """Count the words of a text, and the occurrences of each pattern."""
    found = Counter({name: len(pattern.findall(text)) for name, pattern in _COMPILED.items()})
    return len(_WORD.findall(text)), +found


def read_python(path: Path) -> Prose:
    """Read the docstrings and comments of a Python file."""
    source = path.read_text(encoding="utf-8")
    texts = list(docstrings(ast.parse(source)))
    words, found = count("\n".join([*texts, *comments(source)]))
    inline = sum(len(_INLINE.findall(text)) for text in texts)
    return Prose(path, words, found + Counter({INLINE_PARAMETERS: inline}))


def read_markdown(path: Path) -> Prose:
    """Read the prose of a Markdown file: all of it except code."""
    text = _INLINE_CODE.sub("", _FENCE.sub("", path.read_text(encoding="utf-8")))
    return Prose(path, *count(text))


def rate(files: Iterable[Prose]) -> float:
    """Return the occurrences of all patterns per 10,000 words."""
    files = list(files)
    words = sum(file.words for file in files)
    return 10_000 * sum(file.total for file in files) / words if words else 0.0


def long_test_names(folder: Path) -> list[str]:
    """List the test functions whose names are too long, as `path:line: name`."""
    found = []
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
            if is_test and len(node.name) > MAX_TEST_NAME:
                found.append(f"{_shown(path)}:{node.lineno}: {node.name} has {len(node.name)} characters")
    return found


def long_subjects(root: Path, base: str = "origin/main") -> list[str]:
    """List the commits since `base` whose subjects are too long; none if `base` does not exist."""
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"], cwd=root, capture_output=True
    )
    if known.returncode:
        return []
    log = subprocess.run(
        ["git", "log", "--no-merges", "--format=%h %s", f"{base}..HEAD"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    subjects = (line.split(" ", 1) for line in log.stdout.splitlines())
    return [f"{commit} {text}" for commit, text in subjects if len(text) > MAX_SUBJECT]


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def report(title: str, files: list[Prose], *, limit: float, listing: bool) -> bool:
    """Print the rate of a group of files, and return whether it is within the limit."""
    value = rate(files)
    totals = sum((file.found for file in files), Counter[str]())
    parts = ", ".join(f"{name} {number}" for name, number in totals.most_common())
    print(f"{title}: {value:.1f} per 10,000 words (limit {limit:g}){f': {parts}' if parts else ''}")
    if listing:
        worst = sorted((file for file in files if file.total), key=lambda file: (-file.total, file.path))
        for file in worst[:WORST_FILES]:
            print(f"  {file.total:4d} in {file.words:5d} words  {_shown(file.path)}")
    return value <= limit


def main(arguments: list[str] | None = None) -> int:
    """Run the checks of the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the files with the most occurrences")
    parser.add_argument("--tests", action="store_true", help="check the length of test names too")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="occurrences per 10,000 words (default: %(default)g)"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="repository to check (default: this one)")
    given = parser.parse_args(arguments)
    root = given.root

    code = [read_python(path) for path in sorted((root / "sca").rglob("*.py"))]
    pages = [read_markdown(path) for path in [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]]
    good = report("sca, docstrings and comments", code, limit=given.limit, listing=given.list)
    good &= report("README, docs and top-level pages", pages, limit=given.limit, listing=given.list)

    problems = long_subjects(root)
    if given.tests:
        problems += long_test_names(root / "tests")
    for problem in problems:
        print(f"too long: {problem}")
    return 0 if good and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
