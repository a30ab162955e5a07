"""One HTML page of a batch: what it made, how it went, what failed and why."""

from .html import write_report

__all__ = ["write_report"]
