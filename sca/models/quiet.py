"""Keep transformers from writing to stderr while it loads a model."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_loading"]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide the warnings of transformers for the length of the block, and its progress bars if stderr is not a terminal.

    A warning about an unknown key of a checkpoint's config.json does not help a user of sca; failures are exceptions.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
