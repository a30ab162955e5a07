"""HTTP as values: requests, responses, retry decisions, parsing. No I/O."""
