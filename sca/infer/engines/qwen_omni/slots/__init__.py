"""The same model in fixed shapes: sessions in slots of static caches, a chunk of all of them in one call that never asks the GPU.

What `thinker.py`, `talker.py` and `code2wav.py` do by the library's forwards is written out here over the library's layers, so that
sessions of unlike lengths go together and a CUDA graph can hold all of it. On a CPU the same code runs as it is.
"""
