"""Tests of plug-ins in a project that is not installed.

Example::

    from voxrank.testing.plugins import announced

    def test_the_command_line_finds_it():
        with announced("."):
            ranking = voxrank.rank("train.csv", models=["example:bank"])
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voxrank.errors import OptionError


@contextmanager
def announced(project: str | os.PathLike[str], source: str = "src") -> Iterator[Path]:
    """Make a project's entry points available as if it were installed, also to child processes.

    Args:
        project: folder that contains `pyproject.toml`, with a name and a version.
        source: subfolder from which packages are imported.

    Yields:
        A temporary folder with the metadata that an installer would write.

    Raises:
        OptionError: there is no such project.
    """
    table = _project_table(Path(project))
    with tempfile.TemporaryDirectory(prefix="voxrank-plugins-") as temporary:
        announce(Path(temporary), table["name"], table["version"], table.get("entry-points", {}))
        paths = [temporary, str((Path(project) / source).resolve())]
        path_before, inherited = list(sys.path), os.environ.get("PYTHONPATH")
        sys.path[:0] = paths
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *([inherited] if inherited else [])])
        try:
            yield Path(temporary)
        finally:
            sys.path[:] = path_before
            if inherited is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = inherited


def announce(folder: Path, name: str, version: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Write the metadata of a package, as an installer does, into a folder that is or will be on Python's path.

    Args:
        folder: folder, created if it does not exist.
        name: name of the package.
        version: version of the package.
        entry_points: group → name → "module:object".
    """
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    table = ConfigParser(delimiters=("=",))
    table.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    table.read_dict(entry_points)
    with (metadata / "entry_points.txt").open("w", encoding="utf-8") as file:
        table.write(file)


def _project_table(project: Path) -> dict[str, Any]:
    try:
        with (project / "pyproject.toml").open("rb") as file:
            table: dict[str, Any] = tomllib.load(file)["project"]
        table["name"], table["version"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise OptionError(f"expected a pyproject.toml with a name and a version in {project} ({error})") from error
    return table
