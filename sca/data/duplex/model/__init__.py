"""Data types shared by the duplex packages. Nothing here reads files or models."""
