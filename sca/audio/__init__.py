"""Audio input: decoding, resampling, chunking, log-mel features and voice activity.

Uses neither torch nor the network.
"""
