"""Corpora whose recordings are not files: tables of Hugging Face and lhotse's Shar archives."""
