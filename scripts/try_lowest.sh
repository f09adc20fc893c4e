#!/usr/bin/env bash
# Install voxrank with the lowest version of each dependency that pyproject.toml allows, and try it: without extras, and
# then with those that were once part of the base.
# uv resolves them. This downloads gigabytes: old versions of torch have no small build on the package index.
# `scripts/try_lowest.sh [PYTHON]`: PYTHON is the interpreter, by default python3.
set -euo pipefail
cd "$(dirname "$0")/.."
unset VIRTUAL_ENV PYTHONPATH
python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/uv"
"$work/uv/bin/pip" --disable-pip-version-check install --quiet 'uv>=0.8'
"$python" -m venv "$work/lowest"
export VIRTUAL_ENV=$work/lowest
"$work/uv/bin/uv" pip install --quiet --resolution lowest-direct .
"$work/uv/bin/uv" pip list --quiet
cd "$work"
"$work/lowest/bin/python" "$OLDPWD/scripts/try_release.py"
"$work/uv/bin/uv" pip install --quiet --resolution lowest-direct "$OLDPWD[align,page,praat,table]"
"$work/lowest/bin/python" "$OLDPWD/scripts/try_release.py" --extras
