"""The engine of a Ray cluster: workers that hold an encoder each, and sketches that merge in a tree.

The driver deals shards to workers in chunks, large at first and single shards at the end, so that all finish together.
A worker adds what it encodes to one sketch of its own, and hands that over now and then, and at the end. Sketches stay
where they were made; two at a time are merged by a worker that is free, and the driver fetches the last one. A worker
that is lost is replaced, and what it had not handed over is encoded again.
"""
