"""Encoders, one file per model family; every layer comes from one forward pass."""
