"""Qwen3-Omni in fixed shapes: sessions in slots of static caches, and one call per chunk of all of them.

The forwards of the library are written out over its layers, so that sessions of different lengths can be stepped
together and a CUDA graph can contain the whole step. The same code runs on a CPU.
"""
