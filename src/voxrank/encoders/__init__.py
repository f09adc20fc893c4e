"""Encoders: one file per model family, every layer from one forward pass."""
