"""Load a Python file that cannot be imported by its name."""

import importlib.util


def load_file(path):
    """Return the file's module, which is new each time and cannot be imported by others."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
