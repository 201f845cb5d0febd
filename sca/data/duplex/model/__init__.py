"""Data types shared by the duplex packages.

Nothing here reads files or runs models, and every other duplex package may import it.
"""
