#!/usr/bin/env python3
"""`sca download` as a file: the same arguments, from any folder."""

from _cli import run

if __name__ == "__main__":  # worker processes import this file
    run("download")
