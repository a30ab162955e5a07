"""Thousands of paid jobs from a file: a manifest in, files out, and a journal between them that outlives kill -9."""
