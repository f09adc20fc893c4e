"""Fine-tuning, the ground truth against which scores are measured. It needs the extra `validate`."""

from importlib.util import find_spec

from voxrank.errors import OptionError

PACKAGES = ("accelerate", "jiwer", "matplotlib", "peft", "sklearn")

_missing = [name for name in PACKAGES if find_spec(name) is None]
if _missing:
    raise OptionError(
        f"fine-tuning needs {', '.join(_missing)}; install voxrank with the extra validate: "
        "pip install 'voxrank[validate]'"
    )
