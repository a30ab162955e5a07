"""Uploaded files: multipart parsing, type detection and storage."""
