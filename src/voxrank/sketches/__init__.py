"""Sketches: additive statistics of (sample, target) pairs that update and merge, independent of audio."""
