"""Train a thinker on rows of `sca build-duplex`."""
