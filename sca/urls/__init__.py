"""Folders and files at URLs (`s3://`, `gs://`, `hf://`), which commands read and write through a folder on disk."""
