"""Endings of file names: those of audio files, and those of other known files."""

from __future__ import annotations

from functools import cache

import soundfile

CONTAINERS = frozenset(
    f".{name}"
    for name in (
        *("3gp", "aac", "ac3", "aif", "aifc", "amr", "ape", "asf", "avi", "dsf", "dts", "f4a", "flv", "m4a", "m4b"),
        *("m4v", "mka", "mkv", "mov", "mp2", "mp4", "mpeg", "mpg", "mts", "oga", "ogv", "opus", "qt", "ra", "shn"),
        *("sph", "spx", "tta", "vob", "weba", "webm", "wma", "wmv", "wv"),
    )
)
"""Endings of audio files besides libsndfile's. Files that libsndfile cannot read are skipped and listed."""
NO_AUDIO = frozenset(
    f".{name}"
    for name in (
        *("txt", "md", "rst", "pdf", "doc", "docx", "html", "htm", "rtf", "tex", "log", "nfo", "url", "lnk", "bib"),
        *("csv", "tsv", "json", "jsonl", "ndjson", "xml", "yaml", "yml", "toml", "ini", "cfg", "conf", "xls", "xlsx"),
        *("parquet", "arrow", "feather", "db", "sqlite", "dat", "npy", "npz", "pt", "pth", "pkl", "pickle", "h5"),
        *("hdf5", "mat", "ark", "scp", "bin", "safetensors", "onnx", "ckpt", "mfc", "feat", "f0", "pitch"),
        *("lab", "label", "labels", "textgrid", "ctm", "rttm", "stm", "trn", "trs", "trans", "eaf", "phn", "wrd"),
        *("srt", "vtt", "ass", "sub", "cha", "mlf", "align", "ali", "par", "segments", "annot", "svl", "ges"),
        *("png", "jpg", "jpeg", "gif", "bmp", "svg", "webp", "tif", "tiff", "eps", "ico", "heic", "psd"),
        *("py", "ipynb", "sh", "js", "m", "c", "cpp", "h", "r", "java", "bat", "pl", "css", "pyc"),
        *("zip", "gz", "tar", "tgz", "bz2", "xz", "7z", "rar", "zst", "iso"),
        *("md5", "sha1", "sha256", "sha512", "sig", "asc", "lock", "tmp", "temp", "bak", "old", "orig", "part", "swp"),
        *("mid", "midi", "musicxml", "sfk", "pkf", "reapeaks", "asd", "cue", "m3u", "m3u8", "pls", "praat", "done"),
    )
)
"""Endings of other files beside recordings, which are ignored."""


@cache
def audio_suffixes() -> frozenset[str]:
    """Return the endings of audio files, in lower case with the dot."""
    formats = {f".{name.lower()}" for name in soundfile.available_formats()}
    return frozenset(formats | CONTAINERS)


def ending_of(name: str) -> str:
    """Return the ending of a file's name, in lower case with the dot, or empty text where it has none.

    Example:
        >>> ending_of("clips/a.WAV"), ending_of("README")
        ('.wav', '')
    """
    base = name.replace("\\", "/").rpartition("/")[2].strip()
    stem, dot, ending = base.rpartition(".")
    return f".{ending.lower()}" if dot and stem and ending else ""


def has_audio_ending(name: str) -> bool:
    """Return whether a file's name has the ending of an audio file."""
    return ending_of(name) in audio_suffixes()
