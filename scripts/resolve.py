"""Check that every extra can be installed at the pinned versions: `python scripts/resolve.py`; it installs nothing.

It exits with 1 and names the extras if a pin is no longer available or two requirements exclude each other.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def extras() -> list[str]:
    """Return the names of the extras of the project."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return sorted(about["project"]["optional-dependencies"])


def problem(names: list[str]) -> str:
    """Return pip's message if these extras cannot be installed together, or an empty string."""
    options = ("--dry-run", "--ignore-installed", "--quiet", "--constraint", "constraints.txt")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options]
    done = subprocess.run([*command, f".[{','.join(names)}]"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("WARNING: ")]
    return "\n".join(lines[-6:]) or f"pip ended with {done.returncode}"


def main() -> None:
    """Try all extras at once, and each one only if that fails."""
    names = extras()
    together = problem(names)
    if not together:
        print(f"ok: constraints.txt serves {', '.join(names)}")
        return
    apart = {name: found for name in names if (found := problem([name]))}
    for name, found in (apart or {"all extras together": together}).items():
        print(f"FAILED: {name}\n{found}")
    sys.exit(1)


if __name__ == "__main__":
    main()
