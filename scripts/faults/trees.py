"""The content of folders: taken, restored and compared."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["Tree", "differences", "restore", "stable", "take"]

Tree = dict[str, bytes | str | None]
"""Paths below a folder: bytes of a file, None for a folder, the target of a link as text."""
_MASK = "(differs in every run)"
_FACTS = ".sca/.files.jsonl"  # a cache with inodes and times: no two runs have equal ones


def take(root: Path, skip: Iterable[str] = ()) -> Tree:
    """Return the content of a folder.

    Args:
        root: The folder.
        skip: Names directly below it to leave out.
    """
    tree: Tree = {}
    _take(root, "", frozenset(skip), tree)
    return tree


def _take(root: Path, below: str, skip: frozenset[str], tree: Tree) -> None:
    for entry in os.scandir(root / below if below else root):
        name = f"{below}/{entry.name}" if below else entry.name
        if name in skip:
            continue
        if entry.is_symlink():
            tree[name] = os.readlink(entry.path)  # noqa: PTH115 - for speed
        elif entry.is_dir():
            tree[name] = None
            _take(root, name, skip, tree)
        elif entry.is_file():
            tree[name] = Path(entry.path).read_bytes()


def restore(root: Path, tree: Tree) -> None:
    """Make a folder hold exactly this."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for name, content in sorted(tree.items()):
        path = root / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


def stable(first: Tree, second: Tree) -> Callable[[str, bytes], bytes | None]:
    """Return what hides the parts of files that differ between two runs without a fault.

    Of a file of JSON, or of lines of JSON, the values that differ are hidden; of another file everything.
    """
    volatile = {name for name in first if first[name] != second.get(name)}
    paths = {name: _differing(first[name], second.get(name)) for name in volatile}

    def hide(name: str, content: bytes) -> bytes | None:
        if name not in volatile:
            return content
        found = paths[name]
        documents = None if found is None else _documents(content)
        if documents is None:
            return None
        return json.dumps([_masked(one, (), found) for one in documents], sort_keys=True).encode()

    return hide


def _documents(content: object) -> list | None:
    if not isinstance(content, bytes):
        return None
    try:
        return [json.loads(content)]
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return None


def _differing(first: object, second: object) -> set[tuple] | None:
    one, other = _documents(first), _documents(second)
    if one is None or other is None or len(one) != len(other):
        return None
    found: set[tuple] = set()
    for a, b in zip(one, other, strict=True):
        _compare(a, b, (), found)
    return found


def _compare(a: object, b: object, at: tuple, found: set[tuple]) -> None:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            _compare(a[key], b[key], (*at, key), found)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            _compare(x, y, (*at, "*"), found)
    elif a != b:
        found.add(at)


def _masked(value: object, at: tuple, found: set[tuple]) -> object:
    if at in found:
        return _MASK
    if isinstance(value, dict):
        return {key: _masked(inner, (*at, key), found) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, (*at, "*"), found) for inner in value]
    return value


def differences(expected: Tree, found: Tree, normal: Callable[[str, bytes], bytes | None]) -> list[str]:
    """Return what is wrong with a tree, one line per path."""
    lines = [f"missing: {name}" for name in expected if name not in found]
    for name, content in found.items():
        if name not in expected:
            lines.append(f"left over: {name}")
            continue
        right = expected[name]
        if isinstance(content, bytes) and isinstance(right, bytes):
            if not name.endswith(_FACTS) and content != right and normal(name, content) != normal(name, right):
                lines.append(f"other bytes: {name}")
        elif content != right:
            lines.append(f"another kind: {name}")
    return sorted(lines)
