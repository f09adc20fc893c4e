"""Measure the size and the licence of each dependency: `python scripts/dependency_sizes.py [PYTHON]`.

PYTHON is the interpreter of an environment with every extra. Without it, a fresh one is made from constraints.txt,
which downloads gigabytes. Sizes are those of the files that the metadata of installed packages list, with byte code.
The result is benchmarks/results/dependencies.json, from which docs/tables.py makes the tables of docs/dependencies.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = "dev,docs,audit,release,workflows"
"""Extras that contain all others."""
OWN = "voxrank"
TORCH = "torch"
MB = 1e6
MAX_LICENCE = 60
"""Maximum length of the licence field of a package that holds a name, and not a text, in characters."""


def _project() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def requirements() -> dict[str, list[Requirement]]:
    """Return the requirements of each extra in pyproject.toml, with extras of voxrank resolved; "" is the base."""
    project = _project()
    written = {"": project["dependencies"], **project["optional-dependencies"]}

    def resolved(extra: str) -> list[Requirement]:
        own = list(map(Requirement, written[extra]))
        nested = [name for one in own if one.name == OWN for name in sorted(one.extras)]
        return [one for one in own if one.name != OWN] + [one for name in nested for one in resolved(name)]

    return {extra: resolved(extra) for extra in written}


def direct_extras() -> dict[str, list[str]]:
    """Return the extras of pyproject.toml that name each package; none for a package of the base."""
    project = _project()
    found: dict[str, list[str]] = {Requirement(text).name: [] for text in project["dependencies"]}
    for extra, texts in project["optional-dependencies"].items():
        for name in (Requirement(text).name for text in texts):
            if name != OWN:
                found.setdefault(name, []).append(extra)
    return found


@cache
def closure(name: str, extras: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return a package and all packages that it requires, by canonical name; installed ones only."""
    seen: dict[tuple[str, frozenset[str]], None] = {}
    waiting = [(canonicalize_name(name), extras)]
    while waiting:
        one = waiting.pop()
        if one in seen or not _is_installed(one[0]):
            continue
        seen[one] = None
        for text in metadata.requires(one[0]) or ():
            requirement = Requirement(text)
            environments = [{"extra": extra} for extra in ("", *one[1])]
            if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return frozenset(package for package, _ in seen)


def closure_of(needed: Iterable[Requirement]) -> frozenset[str]:
    """Return the packages that requirements install."""
    return frozenset().union(*(closure(one.name, frozenset(one.extras)) for one in needed))


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache
def size_mb(name: str) -> float:
    """Return the size of the files of an installed package, in MB."""
    paths = {Path(str(file.locate())).resolve() for file in metadata.distribution(name).files or ()}
    return round(sum(path.stat().st_size for path in paths if path.is_file()) / MB, 2)


def total_mb(names: Iterable[str]) -> float:
    """Return the size of several packages, in MB."""
    return round(sum(map(size_mb, names)), 2)


def licence(name: str) -> str:
    """Return the licence that the metadata of an installed package state, or else the title of its licence file."""
    about = metadata.metadata(name)
    if "License-Expression" in about:
        return about["License-Expression"]
    stated = about["License"].strip() if "License" in about else ""
    if stated and len(stated) <= MAX_LICENCE and "\n" not in stated:
        return stated
    classifiers = [text for text in about.get_all("Classifier") or () if text.startswith("License :: ")]
    names = [text.rpartition(" :: ")[2] for text in classifiers]
    return " and ".join(names) or stated.partition("\n")[0][:MAX_LICENCE] or _title_of_licence_file(name)


def _title_of_licence_file(name: str) -> str:
    for file in metadata.distribution(name).files or ():
        if file.name.startswith("LICEN"):
            text = Path(str(file.locate())).read_text(encoding="utf-8")
            return text.strip().partition("\n")[0].strip()[:MAX_LICENCE]
    return "not stated"


def measure() -> dict[str, Any]:
    """Measure all direct dependencies, the base, and what each extra adds to it."""
    needed = requirements()
    base, torch = closure_of(needed[""]), closure(TORCH)
    rows = []
    for name, extras in direct_extras().items():
        row = {"name": name, "extras": extras, "version": metadata.version(name), "licence": licence(name)}
        added = total_mb(closure(name) - base) if extras else None
        rows.append(row | {"mb": size_mb(name), "added_mb": added})
    return {
        "packages": sorted(rows, key=lambda row: (bool(row["extras"]), row["name"].lower())),
        "base": {
            "packages": len(base),
            "torch_mb": total_mb(torch),
            "beside_torch": sorted(base - torch),
            "beside_torch_mb": total_mb(base - torch),
        },
        "extras_mb": {extra: total_mb(closure_of(those) - base) for extra, those in needed.items() if extra},
    }


def main(arguments: list[str]) -> None:
    """Measure in this environment (`--here`), or run again in the named or a fresh one."""
    if arguments == ["--here"]:
        sys.path.append(str(ROOT / "benchmarks"))
        from common import provenance, save

        save("dependencies", {"made": provenance(), **measure()})
        return
    with tempfile.TemporaryDirectory() as temporary:
        python = arguments[0] if arguments else _fresh_environment(Path(temporary))
        subprocess.run([python, __file__, "--here"], check=True)


def _fresh_environment(folder: Path) -> str:
    """Make an environment with every extra at the pinned versions; return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    options = ("--disable-pip-version-check", "--quiet", "--constraint", "constraints.txt")
    subprocess.run([python, "-m", "pip", "install", *options, f".[{EVERYTHING}]"], cwd=ROOT, check=True)
    return python


if __name__ == "__main__":
    main(sys.argv[1:])
