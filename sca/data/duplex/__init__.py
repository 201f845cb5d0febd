"""The duplex data set: align, place, cut, build, verify, load."""
