"""Commands of `sca turn`: a server that predicts the end of a turn, its clients and tools."""
