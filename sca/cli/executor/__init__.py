"""Where a data command works: this machine, a Slurm array, a Ray cluster."""
