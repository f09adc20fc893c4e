"""From a ranking to fine-tuning: a script for its winner, to be edited and run."""

from voxrank.integrations.finetune.script import script
from voxrank.integrations.finetune.winner import check_tunable

__all__ = ["check_tunable", "script"]
