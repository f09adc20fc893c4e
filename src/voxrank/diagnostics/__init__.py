"""Diagnostics of layers, computed from their sketches: classes, pictures, probing of columns, learning curves."""
