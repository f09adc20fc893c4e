"""Engines, which run the shards of a model and merge their sketches."""
