#!/usr/bin/env python3
"""`sca search` as a file: the same arguments, from any folder."""

from _cli import run

run("search")
