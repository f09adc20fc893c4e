"""The main job on recorded speech: the offline pack and the baselines on fsdd and arabic-commands, each a command.

Writes what each ranking printed, the seconds that it took and its peak memory (a process of its own). Rankings that
are there already, with the same options, are left; delete the result to make them anew.

Run: python benchmarks/rankings.py [--whisper-window full|fit]
"""

from __future__ import annotations

import json
import subprocess
import sys

from common import DATA, MODELS, load, provenance, save

SETS = ("arabic-commands", "fsdd")


def main() -> None:
    extra = sys.argv[1:] or ["--whisper-window", "fit"]
    rankings = load("rankings").get("rankings", {})
    for name in SETS:
        key = f"{name} {' '.join(extra)}"
        if key in rankings:
            continue
        models = [word for model in MODELS for word in ("--model", model)]
        command = ["rank", f"{name}/manifest.csv", *models, *extra]
        voxrank = [sys.executable, "-m", "voxrank"]
        done = subprocess.run([*voxrank, *command, "--json"], cwd=DATA, stdout=subprocess.PIPE, text=True, check=True)
        ranking = json.loads(done.stdout)
        rankings[key] = {"made": provenance(), "command": "voxrank " + " ".join(command), **ranking}
        save("rankings", {"rankings": rankings})
        print(name, ranking["cost"], flush=True)


if __name__ == "__main__":
    main()
