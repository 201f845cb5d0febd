"""The words of a text, and how many of them a recogniser gets wrong."""

import re


def words_of(text):
    return re.findall(r"[a-z']+", text.lower())


def errors(truth, heard):
    """The smallest number of words that are replaced, left out or added."""
    costs = list(range(len(heard) + 1))
    for n, word in enumerate(truth, 1):
        before, costs[0] = costs[0], n
        for i, other in enumerate(heard, 1):
            before, costs[i] = costs[i], min(before + (word != other), costs[i] + 1, costs[i - 1] + 1)
    return costs[-1]
