"""Chat requests, operations and streamed answers as values."""
