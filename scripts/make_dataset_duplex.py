#!/usr/bin/env python3
"""Run `sca build-duplex` from any folder, with the same arguments."""

from _cli import run

if __name__ == "__main__":  # worker processes import this file
    run("build-duplex")
