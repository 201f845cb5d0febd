"""The layers of the library in few operations: on a GPU the number of launches limits the speed of a chunk.

The weights remain those of the modules of the library, so that a session without slots reads the same ones.
"""
