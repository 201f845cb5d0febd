"""Measure the word times and the words of recognizers and aligners on speech with exact truth."""
