"""Run the main job: the demo, and the offline pack and the baselines on fsdd, arabic-commands and asterisk-en.

It writes the output of each ranking, its seconds and its peak memory (in a separate process). Stored rankings with the
same options are kept; delete the result to compute them again.

Run: python benchmarks/rankings.py [OPTION …]     (options of `voxrank rank`)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from common import DATA, MODELS, in_own_process, load, provenance, save

DEMO = ["demo"]
SETS = ("arabic-commands", "fsdd")
TRANSCRIPTS = {"char": [], "phone": ["--language", "en-us"]}
"""Further options of the command, by unit, on asterisk-en, which has transcripts and no times."""


def main(words: Sequence[str]) -> None:
    models = [word for model in MODELS for word in ("--model", model)]
    commands = {"demo": DEMO}
    commands |= {f"{' '.join([name, *words])}": ["rank", f"{name}/manifest.csv", *models, *words] for name in SETS}
    against = ["--against", "uniform", "--against", "jitter"]
    commands |= {
        f"asterisk-en {unit}": ["rank", "asterisk-en/manifest.csv", *models, *words, "--unit", unit, *more, *against]
        for unit, more in TRANSCRIPTS.items()
    }
    rankings = load("rankings").get("rankings", {})
    for key, command in commands.items():
        if key in rankings:
            continue
        started = time.perf_counter()
        uncached = [] if key == "demo" else ["--no-cache"]
        printed = in_own_process("-m", "voxrank", *command, "--json", *uncached, folder=DATA)
        process_s = round(time.perf_counter() - started, 1)
        made = {"made": provenance(), "command": "voxrank " + " ".join(command), "process_s": process_s}
        ranking = json.loads(printed)
        rankings[key] = made | ranking
        save("rankings", {"rankings": rankings})
        print(key, process_s, ranking["cost"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
