"""Completion in bash of words with colons, such as ids of rows.

Bash divides the command line at the characters of COMP_WORDBREAKS, and a colon is one of them: `D0001:G0001` arrives as
three words, and what is printed replaces only the text after the last colon.
"""

import os
from itertools import pairwise

from typer._click.shell_completion import split_arg_string
from typer._completion_classes import BashComplete
from typing_extensions import override

__all__ = ["BashWithColons"]


class BashWithColons(BashComplete):
    """The completion of Typer for bash, which joins words at colons and prints what follows the last colon."""

    @override
    def get_completion_args(self) -> tuple[list[str], str]:
        given = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
        words = given[:1]
        for before, word in pairwise(given):
            if _is_colons(before) or _is_colons(word):
                words[-1] += word
            else:
                words.append(word)
        unquoted = ["".join(split_arg_string(word)) for word in words]
        return unquoted[1:-1], unquoted[-1]

    @override
    def complete(self) -> str:
        args, incomplete = self.get_completion_args()
        current = os.environ["COMP_WORDS"].split("\n")[int(os.environ["COMP_CWORD"])]
        # Without the colon in COMP_WORDBREAKS the whole word is replaced.
        kept = 0 if ":" in current and not _is_colons(current) else incomplete.rfind(":") + 1
        return "\n".join(self.format_completion(item)[kept:] for item in self.get_completions(args, incomplete))


def _is_colons(word: str) -> bool:
    return bool(word) and not word.strip(":")
