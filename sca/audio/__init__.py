"""Samples in, samples out: decode, resample, chunk, log-mel. numpy only, no torch, no network."""
