"""Fine-tuning, the ground truth against which scores are measured. It needs the extra `validate`."""

from importlib.util import find_spec

from voxrank._support.packages import PACKAGES
from voxrank.errors import OptionError

_missing = [name for name in PACKAGES["validate"] if find_spec(name) is None]
if _missing:
    raise OptionError(
        f"fine-tuning needs {', '.join(_missing)}; install voxrank with the extra validate: "
        "pip install 'voxrank[validate]'"
    )
