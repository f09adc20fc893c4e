"""The engine of a Ray cluster: each worker holds an encoder, and sketches merge in a tree.

The driver sends shards to workers in chunks, large at first and single shards at the end, so that all workers finish
together. A worker adds its shards to one sketch, and hands that sketch over from time to time, and at the end. Sketches
stay on the node where they were computed. A free worker merges two of them, and the driver fetches the last one. A lost
worker is replaced, and the shards that it had not handed over are encoded again.
"""
