"""Models of the catalogue: params, reference rules, validation."""
