"""Readers of other packages: asked for by name, ``NAME:PATH``, or where no reader of voxrank's own knows the data."""

from __future__ import annotations

from dataclasses import replace

from voxrank._support.plugins import Plugin, PluginError, find_plugin, plugin_names, plugins
from voxrank.data.formats import Format
from voxrank.data.hub import SCHEME
from voxrank.data.rows import Request
from voxrank.data.utterance import Dataset
from voxrank.errors import DataError, VoxrankError, reason


def named_format(source: str) -> tuple[Format, str] | None:
    """The format that a name begins with, and the rest of the name; None where it begins with none.

    What begins with ``hf://`` is voxrank's own, whatever a plug-in is called.

    Raises:
        PluginError: it is a plug-in's, which cannot be used.
    """
    name, colon, rest = source.partition(":")
    if not colon or source.startswith(SCHEME) or name not in plugin_names("readers"):
        return None
    plugin = find_plugin("readers", name)
    return None if plugin is None else (_format(plugin), rest)


def plugged_format(source: str) -> tuple[Format | None, str]:
    """The format of a plug-in that a name is of, for one that no other reader knows.

    Returns:
        The format, None where there is none; and what kept plug-ins from being asked, or nothing.
    """
    faults: list[str] = []
    for plugin in plugins("readers"):
        try:
            form = _format(plugin)
            if form.matches(source):
                return form, ""
        except PluginError as error:
            faults.append(str(error))
        except Exception as error:  # noqa: BLE001, of any kind in code of others
            faults.append(f"the plug-in {plugin.name!r} of {plugin.origin} failed to look at it ({reason(error)})")
    return None, "; ".join(faults)


def _format(plugin: Plugin) -> Format:
    form = plugin.load()
    if not isinstance(form, Format):
        raise plugin.refuse("a voxrank.data.formats.Format", form)

    def read(source: str, request: Request) -> Dataset:
        try:
            made = form.read(source, request)
        except (VoxrankError, OSError, UnicodeDecodeError, MemoryError):
            raise
        except Exception as error:
            raise DataError(f"{plugin.origin} cannot read {source} ({reason(error)})") from error
        if not isinstance(made, Dataset):
            raise plugin.refuse("a reader that returns a Dataset", made)
        return made

    return replace(form, read=read)
