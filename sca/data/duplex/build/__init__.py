"""The builder: turns a two-speaker corpus into a duplex data set."""
