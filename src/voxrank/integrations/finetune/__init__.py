"""Generates a fine-tuning script for the winner of a ranking, which users can edit and run."""

from voxrank.integrations.finetune.script import script
from voxrank.integrations.finetune.winner import check_tunable

__all__ = ["check_tunable", "script"]
