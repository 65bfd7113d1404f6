"""How a layer is run beside its NumPy twin, and what every layer owes its padding.

A twin is a function `twin(case, x, *parameters, grad_y)` that gives y and the gradients for x and
each parameter, all made of functions of the reference. It is an argument of the comparison, so
that a wrong twin can be shown to be refused.
"""

from copy import deepcopy

import numpy as np
import torch
from hypothesis import strategies as st

from ..reference.comparison import assert_agrees, normal

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
FILLERS = [99.0, float("inf"), float("nan")]

dtypes = st.sampled_from([torch.float64, torch.float32])


def tensor(values, dtype=torch.float64):
    return torch.tensor(np.asarray(values), dtype=dtype)


def randomize(layer, seed=0):
    """Give a layer's weights, and its running statistics, numbers that hide no fault."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
        for buffer in layer.buffers():
            buffer.uniform_(0.5, 2, generator=generator)
    return layer


def run(layer, x, lengths=None, *, seed=0, spared=None):
    """Return y, a random gradient for it (0 where `spared`), and those for x and each parameter."""
    x = x.detach().requires_grad_()
    y = layer(x, lengths)
    grad_y = tensor(normal(seed, *y.shape), y.dtype)
    if spared is not None:
        grad_y = filled(grad_y, spared, 0)
    return y.detach(), grad_y, torch.autograd.grad(y, [x, *layer.parameters()], grad_y)


def compare(case, twin):
    """Raise AssertionError where the case's layer differs from the twin, forward or backward."""
    dtype = case["dtype"]
    layer = randomize(deepcopy(case["layer"]), case["seed"]).to(dtype)
    parameters = [p.detach().double().numpy() for p in layer.parameters()]
    lengths = None if case["lengths"] is None else torch.tensor(case["lengths"])
    x = tensor(case["x"], dtype)
    y, grad_y, gradients = run(layer, x, lengths, seed=case["seed"] + 1)
    # The twin computes in float64, on the very numbers that the layer was given.
    wanted = twin(case, x.double().numpy(), *parameters, grad_y=grad_y.double().numpy())
    for actual, other in zip([y, *gradients], wanted, strict=True):
        scale = max(1.0, float(np.abs(other).max(initial=0)))
        assert_agrees(other / scale, actual.double() / scale, tolerance=TOLERANCE[dtype])


def silenced(values, lengths):
    """A copy with 0 at and past each item's length, as the reference knows no lengths."""
    values = np.array(values)
    for item, length in zip(values, lengths if lengths is not None else (), strict=False):
        item[length:] = 0
    return values


def steps_in_the_batch(values):
    """[B, T, C, *grid] -> [B * T, C, *grid]."""
    return values.reshape(-1, *values.shape[2:])


def filled(x, lengths, filler):
    x = x.clone()
    for item, length in zip(x, lengths.tolist(), strict=True):
        item[length:] = filler
    return x


def assert_padding_changes_nothing(layer, x, lengths, *, silences=True):
    """Fill the padding with 0 and then with worse: valid outputs and gradients keep every bit.

    A layer that `silences` its padding gives exactly 0 there, and no gradient goes back to it. One
    that looks at each number alone leaves a 0 a 0, and no more is asked of it.
    """

    def outcome(filler):
        copy = deepcopy(layer)
        for module in copy.modules():
            if hasattr(module, "generator"):
                module.generator = torch.Generator().manual_seed(7)
        left = copy.out_lengths(lengths)
        y, _, (grad_x, *gradients) = run(
            copy, filled(x, lengths, filler), lengths, spared=None if silences else left
        )
        if left is not None and (silences or filler == 0):
            assert torch.equal(y, filled(y, left, 0))
        if silences:
            assert torch.equal(grad_x, filled(grad_x, lengths, 0))
        y = y if left is None else filled(y, left, 0)
        return [y, filled(grad_x, lengths, 0), *gradients, *copy.buffers()]

    clean = outcome(0)
    assert all(values.isfinite().all() for values in clean)
    for filler in FILLERS:
        for one, other in zip(clean, outcome(filler), strict=True):
            assert torch.equal(one, other)


def assert_no_step_reaches_the_wrong_way(layer, x):
    """Of one recurrent layer, outputs forward hear no later step, backward no earlier one."""
    assert layer.layers == 1
    width = layer.features // layer.directions
    whole = layer(x)
    for step in range(1, x.shape[1]):
        later, earlier = x.clone(), x.clone()
        later[:, step:] += 1
        earlier[:, :step] += 1
        y = layer(later)
        assert torch.equal(y[:, :step, :width], whole[:, :step, :width])
        assert not torch.equal(y[:, step:, :width], whole[:, step:, :width])
        if layer.both:
            y = layer(earlier)
            assert torch.equal(y[:, step:, width:], whole[:, step:, width:])
            assert not torch.equal(y[:, :step, width:], whole[:, :step, width:])


def assert_same_alone_and_in_a_batch(layer, x, lengths):
    layer = deepcopy(layer).eval()
    y, left = layer(x, lengths), layer.out_lengths(lengths)
    for item, length in enumerate(lengths.tolist()):
        alone = lengths[item : item + 1]
        y_alone = layer(x[item : item + 1, : max(length, 1)], alone)
        if left is None:
            assert_agrees(y_alone[0].detach(), y[item])
        else:
            steps = int(left[item])
            assert int(layer.out_lengths(alone)) == steps
            assert_agrees(y_alone[0, :steps].detach(), y[item, :steps])
