"""Pages of the documentation: their code blocks, the marks before them, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "dataset" / "README.md"]
SHELL_LANGUAGES = ("bash", "console", "sh", "text", "")

NOT_RUN = {
    "gpu": "needs a GPU, or a server on one",
    "hub": "downloads from a model hub, or uploads to it",
    "site": "needs a web site, a network service or a key of one",
    "microphone": "needs a microphone and a loudspeaker",
    "system service": "needs a service or a program that tests do not have beside them",
    "minutes": "takes long, and scripts/check or other tests run the same",
}
"""The reasons why a block is not run: the text of the comment `<!-- not run: REASON -->` on the line before the block."""

_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```\s*$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- not run: ([^>]*?) -->\n\s*\Z")
_INLINE_COMMAND = re.compile(r"`((?:uv run )?sca [^`\n]+)`")
_STARTS = (
    "sca ",
    "uv run sca ",
    "python ",
    "uv run python ",
    "bash ",
    "./",
    "scripts/",
    "uv ",
    "pip ",
    "curl ",
    "wscat ",
)
_ASSIGNMENT = re.compile(r"^[A-Z_][A-Z0-9_]*=")


@dataclass(frozen=True)
class Block:
    """A fenced code block of a page.

    Attributes:
        page: The page.
        line: The line of its opening fence, from 1.
        language: The word after the fence.
        text: The lines between the fences.
        not_run: The reason of the mark before it, or None.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The code blocks of a page, of these languages only if any are given."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2], mark[1] if mark else None)
        for match in _BLOCK.finditer(text)
        for mark in [_MARK.search(text, 0, match.start())]
    ]
    return [block for block in found if not languages or block.language in languages]


def commands(block: Block) -> list[list[str]]:
    """The commands of a shell block, split into words, without redirections, assignments and explanations.

    In a block that is not `bash`, what follows a command after two spaces explains it. In a block with prompts, lines
    without one are output.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line for line in lines if line.startswith("$ ")]
    found = []
    for raw in lines:
        line = raw.strip().removeprefix("$ ")
        while _ASSIGNMENT.match(line):
            line = line.partition(" ")[2]
        if not line.startswith(_STARTS):
            continue
        if block.language != "bash":
            line = re.split(r" {2,}", line)[0]
        found += split(line)
    return found


def inline_commands(page: Path) -> list[list[str]]:
    """The `sca` commands that the prose of a page quotes."""
    prose = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [words for text in _INLINE_COMMAND.findall(prose) for words in split(text)]


def split(line: str) -> list[list[str]]:
    """The commands of a line of shell, each as its words: the parts of a pipeline, and those inside `<(...)`."""
    parts = []
    for inner in re.findall(r"<\(([^)]*)\)", line):
        parts += split(inner)
    words = shlex.split(re.sub(r"<\([^)]*\)", "SUBSTITUTION", line), comments=True)
    command: list[str] = []
    for word in [*words, "&&"]:
        if word in ("&&", "|", ";"):
            if command[:2] == ["uv", "run"]:
                command = [word for word in command[2:] if word not in ("--extra", "live")]
            parts += [command] if command else []
            command = []
        else:
            command.append(word)
    return [_without_redirections(part) for part in parts]


def _without_redirections(words: list[str]) -> list[str]:
    for i, word in enumerate(words):
        if word in (">", ">>", "2>", "<"):
            return words[:i]
    return words
