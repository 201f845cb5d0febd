"""Load a duplex data set for training."""
