"""Lets voxrank be imported without the audio libraries: benchmarks of synthetic audio decode nothing.

Import this module before voxrank. It removes its stand-ins afterwards, so that other packages do not mistake them for
the real libraries.
"""

import importlib.util
import sys
from types import ModuleType

_missing = [name for name in ("soundfile", "soxr") if importlib.util.find_spec(name) is None]
sys.modules.update({name: ModuleType(name) for name in _missing})
importlib.import_module("voxrank.data.audio")
importlib.import_module("voxrank.data.sources")
for _name in _missing:
    del sys.modules[_name]
