"""MiniCPM-V and MiniCPM-o on this machine: native classes of transformers, or the code of the checkpoint."""
