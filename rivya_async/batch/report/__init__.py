"""One HTML page of a batch: its results, how it went, what failed and why."""

from .html import load_template, write_contact_sheet, write_report

__all__ = ["load_template", "write_contact_sheet", "write_report"]
