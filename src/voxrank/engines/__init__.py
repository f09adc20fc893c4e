"""Engines: run the shards of one model and merge their sketches."""
