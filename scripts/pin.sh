#!/usr/bin/env bash
# Write constraints.txt from a fresh environment with every extra. It uses releases that are at least two weeks old:
# newer ones may be withdrawn, and mirrors may not serve them yet. `scripts/pin.sh --keep` keeps the version of each
# pinned package, and adds new packages.
set -euo pipefail
cd "$(dirname "$0")/.."
age=P14D
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" -m venv "$fresh"
pip=("$fresh/bin/pip" install --quiet --disable-pip-version-check)
"${pip[@]}" 'pip>=26.0' # knows --uploaded-prior-to
"${pip[@]}" --uploaded-prior-to "$age" 'torch==2.13.0'
touch "$fresh/none.txt"
pinned=$fresh/none.txt
if [[ ${1:-} == --keep ]]; then pinned=constraints.txt; fi
"${pip[@]}" --uploaded-prior-to "$age" --constraint "$pinned" '.[dev,docs,audit,release,workflows]'
{
  echo "# Every version that make installs. Made by scripts/pin.sh; do not edit by hand."
  "$fresh/bin/pip" freeze --exclude voxrank | sed 's/+cpu$//'
} > "$fresh/constraints.txt"
cp "$fresh/constraints.txt" constraints.txt
