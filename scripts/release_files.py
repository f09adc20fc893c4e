"""Compare the contents of a wheel and an sdist with git: `python scripts/release_files.py DIST`."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

IN_SDIST = ("src", "tests", "docs", "examples", "benchmarks", "scripts", ".github", ".ci")
FILES = (
    *("README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "SUPPORT.md", "CODE_OF_CONDUCT.md"),
    *("CITATION.cff", "Makefile", "Dockerfile", "constraints.txt"),
)
MADE = {"PKG-INFO", ".gitignore", "pyproject.toml"}
"""Files that hatchling adds to every sdist."""


def tracked(root: Path) -> set[str]:
    """Return the files that git tracks."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name and (root / name).is_file()}


def of_wheel(path: Path) -> set[str]:
    """Return the files of the package, without its metadata."""
    with zipfile.ZipFile(path) as wheel:
        return {name for name in wheel.namelist() if ".dist-info/" not in name}


def of_sdist(path: Path) -> set[str]:
    """Return the files, without their common folder."""
    with tarfile.open(path) as sdist:
        return {str(PurePosixPath(*PurePosixPath(m.name).parts[1:])) for m in sdist.getmembers() if m.isfile()}


def differences(dist: Path, root: Path) -> list[str]:
    """Return a line for each file that is missing or too much."""
    known = tracked(root)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    package = {name.removeprefix("src/") for name in known if name.startswith("src/")}
    whole = {name for name in known if name.split("/")[0] in IN_SDIST or name in FILES} | MADE
    pairs = ((wheel.name, of_wheel(wheel), package), (sdist.name, of_sdist(sdist), whole))
    return [
        line
        for name, got, expected in pairs
        for line in (
            *(f"{name} lacks {one}" for one in sorted(expected - got)),
            *(f"{name} holds {one}, which git does not track" for one in sorted(got - expected)),
        )
    ]


def main() -> None:
    """Print the differences, and the sizes of both files."""
    dist = Path(sys.argv[1])
    if wrong := differences(dist, Path(__file__).resolve().parents[1]):
        sys.exit("\n".join(wrong))
    for path in sorted(dist.iterdir()):
        print(f"ok: {path.name}, {path.stat().st_size / 1e6:.2f} MB, holds what git tracks")


if __name__ == "__main__":
    main()
