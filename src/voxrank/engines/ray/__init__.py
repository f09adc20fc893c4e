"""The engine of a Ray cluster: workers that hold an encoder each, and sketches that merge in a tree.

The driver deals shards to workers in chunks, large at first and single shards at the end, so that all finish together.
What a worker makes of a chunk stays where it is; two sketches at a time are merged by a worker that is free, and the
driver fetches the last one. A worker that is lost is replaced, and what it had not finished is encoded again.
"""
