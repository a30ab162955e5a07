"""The sandbox's own OpenAPI document, a file for each noun. A reconstruction: the service's document is not public."""

from .document import OPERATIONS, SCHEMAS, document

__all__ = ["OPERATIONS", "SCHEMAS", "document"]
