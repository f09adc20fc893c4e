#!/usr/bin/env bash
# Write constraints.txt from a fresh environment with every extra.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" -m venv "$fresh"
"$fresh/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0'
"$fresh/bin/pip" install --quiet --disable-pip-version-check '.[dev,docs,audit]'
{
  echo "# Every version that make installs. Made by scripts/pin.sh; do not edit by hand."
  "$fresh/bin/pip" freeze --exclude voxrank | sed 's/+cpu$//'
} > constraints.txt
