#!/usr/bin/env bash
# Build wheel and sdist and check them. Their description is valid for an index, their files are those that git tracks,
# and a second build gives the same bytes. A fresh environment without extras runs what it can, and names the missing
# extra for the rest; then the report page, alignment and data frames are tried with their extras. This runs on the
# oldest and on the newest Python that is here, and takes minutes.
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

# Every Python from 3.11 on that is here: the one that PYTHON names, and those of pyenv. The oldest and newest are used.
candidates() {
  echo "${PYTHON:-python3}"
  find "${PYENV_ROOT:-$HOME/.pyenv}/versions" -mindepth 1 -maxdepth 1 -name '3.*' -exec echo '{}/bin/python3' ';' 2>/dev/null
}
versions=$(candidates | while read -r python; do
  "$python" -c 'import sys; v = sys.version_info; v >= (3, 11) and print("%d.%d" % v[:2], sys.executable)' || true
done | sort -V -u -k 1,1 | sed -n '1p;$p' | uniq)

try_wheel() { # VERSION PYTHON: install the wheel without extras in a fresh environment, and try it
  local fresh=$work/fresh-$1
  "$2" -m venv "$fresh"
  local pip=("$fresh/bin/pip" --disable-pip-version-check install --quiet --constraint "$root/constraints.txt")
  "${pip[@]}" "$root"/dist/*.whl
  "$fresh/bin/pip" check
  "$fresh/bin/python" "$root/scripts/try_release.py"
  "${pip[@]}" --no-deps "$root/examples/voxrank-example"
  "$fresh/bin/voxrank" models --json | grep -q '"voxrank-example"'
  "$fresh/bin/voxrank" models example:bank >/dev/null
  echo "ok: the example package is found when it is installed"
  "${pip[@]}" "$(echo "$root"/dist/*.whl)[align,page,praat,table]"
  "$fresh/bin/python" "$root/scripts/try_release.py" --extras
}

root=$PWD
cd "$work"
while read -r version python; do
  echo "Python $version"
  try_wheel "$version" "$python" </dev/null
done <<<"$versions"
