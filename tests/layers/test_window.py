"""The arithmetic of windows against the reference, and against what PyTorch makes of it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers.window import NoPlaceError, Window, check_places, per_axis, slid
from gridcell.reference import padding_cells

from ..reference.comparison import quick

windows = st.builds(
    Window,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.sampled_from(["same", "valid", 0, 1, 3]),
    dilation=st.integers(1, 3),
    is_time=st.booleans(),
)
sizes = st.integers(1, 40)


def padded(window, size):
    return size + sum(window.sides(size))


@quick
@given(windows, sizes)
def test_places_are_those_that_pytorch_finds(window, size):
    room = padded(window, size)
    options = {"stride": window.stride, "dilation": window.dilation}
    wanted = 0
    if room >= window.reach:
        ones = torch.ones(1, 1, window.kernel)
        wanted = torch.nn.functional.conv1d(torch.ones(1, 1, room), ones, **options).shape[-1]
    assert window.places(size) == wanted


@quick
@given(windows, sizes)
def test_same_gives_the_ceiling_and_puts_the_odd_cell_on_the_right(window, size):  # S9
    if window.padding != "same":
        return
    assert window.places(size) == math.ceil(size / window.stride)
    options = {"stride": window.stride, "dilation": window.dilation}
    if not window.is_time or size % window.stride == 0:
        assert window.sides(size) == padding_cells(size, window.kernel, **options)


@quick
@given(windows, sizes, sizes)
def test_the_start_of_time_does_not_depend_on_its_end(window, size, other):
    if window.is_time:
        assert window.sides(size)[0] == window.sides(other)[0]


@quick
@given(windows, st.lists(sizes, min_size=1, max_size=5))
def test_lengths_are_counted_as_sizes_are(window, lengths):
    left = window.lengths(torch.tensor([0, *lengths])).tolist()
    assert left == [0, *(window.places(length) for length in lengths)]


@quick
@given(windows)
def test_least_is_the_smallest_size_with_a_place(window):
    assert window.places(window.least()) >= 1
    assert window.least() == 1 or window.places(window.least() - 1) == 0


def test_same_with_a_stride_pads_as_tensorflow_does():
    assert Window(7, stride=2, padding="same").sides(224) == (2, 3)
    assert Window(7, stride=2, padding="same").places(224) == 112
    assert Window(3, stride=2, padding="same").sides(6) == (0, 1)
    assert Window(3, stride=2, padding="same").places(6) == 3


def test_a_window_without_a_place_is_refused_with_kernel_input_and_padding():
    with pytest.raises(NoPlaceError) as caught:
        check_places([2], [Window(3)], layer="conv")
    assert str(caught.value) == ("conv: a kernel of 3 with padding valid has no place on 2 cells.")
    with pytest.raises(NoPlaceError) as caught:
        check_places([1], [Window(2, padding=1, dilation=4, is_time=True)], layer="conv")
    assert str(caught.value) == (
        "conv: a kernel of 2 with padding 1 and dilation 4 has no place on 1 step."
    )


def test_sizes_for_other_axes_are_refused():
    with pytest.raises(ShapeError, match=r"conv kernel 3x3x3 has 3 axes, not 2\."):
        per_axis((3, 3, 3), 2, layer="conv", name="kernel")
    with pytest.raises(ShapeError, match=r"conv stride must be 1 or more; got 2x0\."):
        per_axis((2, 0), 2, layer="conv", name="stride")


def test_unknown_steps_stay_unknown():
    layout = slid(Layout(3, (8,)), [Window(3, is_time=True), Window(2, stride=2)], layer="conv")
    assert layout == Layout(3, (4,), steps=None)
