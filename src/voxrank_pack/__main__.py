"""Fetches the wheels of the offline pack: ``python -m voxrank_pack``; exits with 1 if any is missing."""

import sys

from voxrank_pack.wheels import install

missing = [result for result in install() if not result.ok]
for result in missing:
    sys.stderr.write(f"left out {result.name}: {result.reason}\n")
sys.exit(bool(missing))
