"""The page for people: what the sandbox does, live, and its faults as switches. Nothing here is part of the API."""

from .handlers import DashboardHandlers

__all__ = ["DashboardHandlers"]
