"""Public records. They import no feature."""
