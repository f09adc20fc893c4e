"""Data: one reader per input format, then audio, decoded ahead of its use."""
