"""The builder: a corpus becomes a duplex data set."""
