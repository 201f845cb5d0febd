"""Commands of an earlier turn server under their names. The tests of sca are in `tests`."""
