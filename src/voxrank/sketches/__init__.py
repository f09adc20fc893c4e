"""Additive statistics of (sample, target) pairs: they update, merge and know nothing of audio."""
