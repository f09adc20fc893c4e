#!/usr/bin/env bash
# Build wheel and sdist and check them. Their description is valid for an index, their files are those that git tracks,
# and a second build gives the same bytes. A fresh environment without extras runs what it can, and names the missing
# extra for the rest. This takes minutes.
# `scripts/check_release.sh [BIN]`: BIN is the folder of a Python that has the extra `release`.
set -euo pipefail
cd "$(dirname "$0")/.."
unset VIRTUAL_ENV PYTHONPATH
bin=$(realpath "${1:-.venv/bin}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rm -rf dist
"$bin/python" -m build --outdir dist . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$bin/python" -m build --outdir "$work/again" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
(cd dist && sha256sum -- *) >"$work/first"
(cd "$work/again" && sha256sum -- *) | diff "$work/first" - || { echo "FAILED: built twice, two results"; exit 1; }
echo "ok: built twice, the same bytes"
"$bin/python" -m twine check --strict dist/*
"$bin/python" scripts/release_files.py dist

"${PYTHON:-python3}" -m venv "$work/fresh"
pip=("$work/fresh/bin/pip" --disable-pip-version-check install --quiet --constraint constraints.txt)
"${pip[@]}" dist/*.whl
"$work/fresh/bin/pip" check
cd "$work"
"$work/fresh/bin/python" "$OLDPWD/scripts/try_release.py"

cd "$OLDPWD"
"${pip[@]}" --no-deps ./examples/voxrank-example
cd "$work"
"$work/fresh/bin/voxrank" models --json | grep -q '"voxrank-example"'
"$work/fresh/bin/voxrank" models example:bank >/dev/null
echo "ok: the example package is found when it is installed"
