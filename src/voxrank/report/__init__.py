"""Reports: a ranking or a validation for human readers."""
