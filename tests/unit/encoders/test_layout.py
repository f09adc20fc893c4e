"""Axes are found in any order, and hops exactly."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from voxrank.encoders.layout import BASE_ROWS, SPAN_SAMPLES, WIDER_ROWS, Clock, Layout, find_clock, find_layout
from voxrank.errors import ModelError

AXES = ("batch", "time", "a", "b")


@given(order=st.permutations(AXES), a=st.integers(1, 4), b=st.integers(1, 4), more=st.integers(1, 9))
def test_batch_and_time_axes_are_found_in_any_order(order, a, b, more):
    def shape(rows, steps):
        sizes = {"batch": rows, "time": steps, "a": a, "b": b}
        return tuple(sizes[axis] for axis in order)

    layout = find_layout("x", shape(BASE_ROWS, 5), shape(BASE_ROWS, 5 + more), shape(WIDER_ROWS, 5))
    assert layout == Layout(order.index("batch"), order.index("time"), a * b)
    assert layout.count(shape(1, 7)) == 7
    tensor = torch.arange(float(4 * 6 * a * b)).reshape(shape(4, 6))
    rest = [axis for axis in order if axis in "ab"]
    expected = np.einsum(tensor.numpy(), [AXES.index(x) for x in order], [AXES.index(x) for x in (*AXES[:2], *rest)])
    np.testing.assert_array_equal(layout.frames(tensor), expected.reshape(4, 6, a * b))


@given(sizes=st.lists(st.integers(1, 4), max_size=3), place=st.integers(0, 3))
def test_a_tensor_that_does_not_grow_is_an_embedding(sizes, place):
    place = min(place, len(sizes))
    base, wider = ((*sizes[:place], rows, *sizes[place:]) for rows in (BASE_ROWS, WIDER_ROWS))
    layout = find_layout("x", base, base, wider)
    assert layout == Layout(place, None, prod(sizes))
    assert layout.count(base) == 1
    assert layout.frames(torch.zeros(base)).shape == (BASE_ROWS, 1, prod(sizes))


@pytest.mark.parametrize(
    ("base", "longer", "layout"),
    [
        ((1, 9, 4), (1, 11, 4), Layout(0, 1, 4)),
        ((1, 4, 9), (1, 4, 11), Layout(0, 2, 4)),
        ((9, 1, 4), (11, 1, 4), Layout(None, 0, 4)),
        ((9,), (11,), Layout(None, 0, 1)),
        ((1, 6), (1, 6), Layout(0, None, 6)),
        ((6,), (6,), Layout(None, None, 6)),
    ],
)
def test_a_model_of_one_utterance_may_have_no_batch_axis(base, longer, layout):
    assert find_layout("x", base, longer, None) == layout
    assert layout.frames(torch.zeros(longer)).shape == (1, layout.count(longer), layout.dim)


@pytest.mark.parametrize(
    ("base", "longer", "wider", "message"),
    [
        ((2, 8, 5, 5), (2, 8, 7, 7), (3, 8, 5, 5), r"attn: expected one axis that grows with the audio, got shapes"),
        ((10, 8), (14, 8), (15, 8), r"attn: expected one axis that follows the number of utterances"),
        ((16, 5, 8), (16, 7, 8), (24, 5, 8), r"got shapes \(16, 5, 8\) and then \(24, 5, 8\); pick other layers"),
        ((5, 8), (7, 8), (5, 8), r"attn: expected one axis that follows the number of utterances"),
        ((2, 5), (2, 5, 1), (3, 5), r"attn: expected as many axes for every input, got shapes \(2, 5\)"),
        ((), (), (), r"attn: expected one axis that follows the number of utterances"),
    ],
)
def test_shapes_without_a_clear_layout_are_refused(base, longer, wider, message):
    with pytest.raises(ModelError, match=message):
        find_layout("attn", base, longer, wider)


@given(hop=st.integers(1, 4000), phase=st.integers(-3000, 3000), shortest=st.integers(1, 5000))
def test_hop_and_phase_are_found_exactly(hop, phase, shortest):
    shortest = max(shortest, hop - phase)  # at least one frame
    true = Clock(hop, phase)
    assert find_clock(true.count, shortest) == true


@given(strides=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=5))
def test_the_hop_of_a_stack_of_convolutions_is_found(strides):
    def count(samples):
        for kernel, stride in strides:
            samples = (samples - kernel) // stride + 1
        return samples

    clock = find_clock(count, 5000)
    assert clock is not None
    assert clock.hop == prod(stride for _, stride in strides)
    assert all(clock.count(samples) == count(samples) for samples in range(5000, 5000 + 2 * clock.hop, 7))


@pytest.mark.parametrize(
    "count",
    [
        lambda samples: 1,
        lambda samples: samples // 1000 * 2,  # two frames at a time
        lambda samples: samples * 3 // 1000,  # a hop of 333.3 samples
        lambda samples: min(samples // 320, 40),  # cut at 40 frames
        lambda samples: samples // 320 if samples < SPAN_SAMPLES else samples // 640,
    ],
)
def test_frame_counts_without_a_constant_hop_give_no_clock(count):
    assert find_clock(count, 400) is None
