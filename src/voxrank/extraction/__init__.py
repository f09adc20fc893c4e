"""Extraction of the sketches of a shard, from audio and the frames of every layer."""
