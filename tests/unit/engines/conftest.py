"""Encoders that workers can load: they are sent by value, since no worker can import a test."""

import pytest


@pytest.fixture(scope="session")
def load():
    """Return a loader of "fake", "choosy" (NaN for some audio), "missing", "broken", "told:…", "kills:…", "deadly"."""

    def load(spec, options):
        import os
        import signal
        from contextlib import suppress
        from pathlib import Path

        from voxrank.errors import ModelError
        from voxrank.testing.encoders import FakeEncoder

        kind, _, rest = spec.partition(":")

        class Encoder(FakeEncoder):
            seen = 0

            def _forward(self, windows):
                after, _, mark = rest.partition(":")
                if kind == "kills" and self.seen >= int(after):
                    with suppress(FileExistsError):  # one worker only, even if two come at the same moment
                        Path(mark).touch(exist_ok=False)
                        os.kill(os.getpid(), signal.SIGKILL)
                if kind == "deadly":
                    os.kill(os.getpid(), signal.SIGKILL)
                if kind == "broken":
                    raise KeyError("no such tensor")
                self.seen += 1
                for piece in super()._forward(windows):
                    if kind == "choosy" and abs(windows[0][0]) > 0.05:
                        piece.frames[: piece.lengths[0]] = float("nan")
                    yield piece

        if kind == "missing":
            raise ModelError("no such model; name another")
        if kind == "told":
            import torch

            Path(rest).write_text(f"{torch.get_num_threads()} {options.device}")
        encoder = FakeEncoder() if kind == "fake" else Encoder()  # which has a source file on every worker
        encoder.spec, encoder.budget_samples = spec, 16_000
        return encoder

    return load
