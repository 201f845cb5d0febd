"""What a run reads at its start without reading all of it: the entries of its ledger, and the digests of its inputs."""
