"""Forced alignment on all small problems, most of which have ties, against every path."""

from itertools import pairwise

import numpy as np
import pytest

from small_alignments import FINITE, WITH_IMPOSSIBLE, all_paths, all_problems, collapsed, families, targets
from voxrank.errors import UtteranceError
from voxrank.targets import ctc
from voxrank.targets.ctc import align

IMPOSSIBLE = "^no path through its frames has a probability above 0$"


def check(problems):
    """Check every problem of a family, and return how many there are."""
    length, n_frames = len(problems.target), problems.log_probs.shape[1]
    repeats = sum(left == right for left, right in pairwise(problems.target))
    too_short = f"^its {length} labels need at least {max(length + repeats, 1)} frames, and it has {n_frames}$"
    message = IMPOSSIBLE if len(problems.paths) else too_short
    for log_probs, best, chosen in zip(problems.log_probs, problems.best, problems.chosen, strict=True):
        if best == -np.inf:
            with pytest.raises(UtteranceError, match=message):
                align(log_probs, problems.target)
            continue
        found = align(log_probs, problems.target)
        assert found.log_probability == best
        assert found.symbols(problems.target, 0).tolist() == problems.paths[chosen].tolist()
    return len(problems.log_probs)


def test_every_small_alignment_is_the_preferred_one_of_the_best_paths():
    assert sum(check(problems) for problems in families(frames_finite=4, frames_impossible=2)) == 23_076


@pytest.mark.parametrize("stretch", [1, 2])
def test_checkpoints_do_not_change_the_choice_between_equal_paths(monkeypatch, stretch):
    monkeypatch.setattr(ctc, "CHOICE_BYTES", 0)
    monkeypatch.setattr(ctc, "STRETCH", stretch)
    assert sum(check(all_problems(3, target, FINITE)) for target in targets(3)) == 2_248


def test_small_problems_often_have_ties():
    assert np.mean(np.concatenate([problems.tied for problems in families(4, 0)])) > 0.3


def test_the_enumeration_has_every_path_once():
    assert targets(2) == [(), (1,), (1, 1), (1, 2)]
    assert all_paths(2, (1, 1)) == []
    assert all_paths(3, (1, 1)) == [(1, 0, 1)]
    assert all_paths(2, (1,)) == [(1, 1), (0, 1), (1, 0)]
    assert all(collapsed(path) == (1, 2) for path in all_paths(4, (1, 2)))
    assert len(set(all_paths(4, (1, 2)))) == len(all_paths(4, (1, 2))) == 15
    assert len(all_problems(1, (1,), WITH_IMPOSSIBLE).log_probs) == 9
