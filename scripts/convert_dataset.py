#!/usr/bin/env python3
"""`sca convert` as a file: the same arguments, from any folder."""

from _cli import run

run("convert")
