"""A ranking and its parts, as data: printed, saved and read back."""
