"""Run the main job: the demo, and the offline pack and the baselines on fsdd, arabic-commands and asterisk-en.

It writes the output of each ranking, its seconds and its peak memory (in a separate process). Stored rankings with the
same options are kept; delete the result to compute them again.

Run: python benchmarks/rankings.py [--whisper-window auto|full|fit]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from common import DATA, MODELS, load, provenance, save

SETS = ("arabic-commands", "fsdd")
TRANSCRIPTS = {"char": [], "phone": ["--language", "en-us"]}
"""Further options of the command, by unit, on asterisk-en, which has transcripts and no times."""


def main() -> None:
    extra = sys.argv[1:] or ["--whisper-window", "fit"]
    models = [word for model in MODELS for word in ("--model", model)]
    commands = {"demo": ["demo"]}
    commands |= {f"{name} {' '.join(extra)}": ["rank", f"{name}/manifest.csv", *models, *extra] for name in SETS}
    against = ["--against", "uniform", "--against", "jitter"]
    commands |= {
        f"asterisk-en {unit}": ["rank", "asterisk-en/manifest.csv", *models, *extra, "--unit", unit, *more, *against]
        for unit, more in TRANSCRIPTS.items()
    }
    rankings = load("rankings").get("rankings", {})
    for key, command in commands.items():
        if key in rankings:
            continue
        started = time.perf_counter()
        voxrank = [sys.executable, "-m", "voxrank", *command, "--json", *([] if key == "demo" else ["--no-cache"])]
        done = subprocess.run(voxrank, cwd=DATA, stdout=subprocess.PIPE, text=True, check=True)
        process_s = round(time.perf_counter() - started, 1)
        made = {"made": provenance(), "command": "voxrank " + " ".join(command), "process_s": process_s}
        ranking = json.loads(done.stdout)
        rankings[key] = made | ranking
        save("rankings", {"rankings": rankings})
        print(key, process_s, ranking["cost"], flush=True)


if __name__ == "__main__":
    main()
