"""Recorded values read in bfloat16: what they hold beyond 8 bits reaches the features."""

import pytest
import torch

from gridcell import networks
from gridcell.axes import Layout
from gridcell.layers import LSTM, Conv, Dense, read_values
from gridcell.layers.engines import has_bfloat16_kernels
from gridcell.layers.two_parts import in_two_parts


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ripple(*shape):
    """A level of 1.5 with a ripple of 0.003, which bfloat16 rounds away: it has steps of 0.008."""
    return 1.5 + 0.003 * torch.randn(*shape, generator=seeded(1)).clamp(-1, 1)


LAYERS = {
    "conv": lambda: Conv(2, 8, time=3, grid_axes=0, generator=seeded()),
    "conv of one channel": lambda: Conv(1, 8, time=3, grid_axes=0, generator=seeded()),
    "dense": lambda: Dense(2, 8, generator=seeded()),
    "lstm": lambda: LSTM(2, 8, generator=seeded()),
    "lstm of two layers": lambda: LSTM(2, 8, layers=2, both=True, generator=seeded()),
}


def in_bfloat16(layer, x, lengths=None):
    with torch.autocast("cpu", torch.bfloat16):
        return layer(x, lengths).float()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("lengths", [None, [20, 7, 0]])
def test_a_filter_that_cancels_the_level_sees_the_ripple(name, lengths):
    if "lstm" in name and not has_bfloat16_kernels():
        pytest.skip("this processor has no bfloat16 instructions, so that the LSTM stays float32")
    lengths = None if lengths is None else torch.tensor(lengths)
    layer = LAYERS[name]()
    with torch.no_grad():
        for key, weight in layer.named_parameters():
            if key == "weight" or "weight_ih_l0" in key:
                axes = tuple(range(1, weight.ndim))
                weight.sub_(weight.mean(axes, keepdim=True)).mul_(100)
            weight.copy_(weight.to(torch.bfloat16))  # whose own rounding is no part of this
    x = ripple(3, 20, 1 if "one" in name else 2).requires_grad_()

    def outcome(run):
        layer.zero_grad()
        y = run(layer, x, lengths)
        y.square().sum().backward()
        first = next(p.grad for key, p in layer.named_parameters() if "weight" in key)
        # At the ends of a sequence a window sees where the level begins, which is no ripple.
        return y.detach()[:, 1:5], first.clone()

    wanted, wanted_gradient = outcome(lambda layer, x, lengths: layer(x, lengths))
    lost, _ = outcome(in_bfloat16)
    assert read_values(layer)
    found, gradient = outcome(in_bfloat16)
    assert (lost - wanted).norm() > 0.2 * wanted.norm()
    assert (found - wanted).norm() < 0.02 * wanted.norm()
    assert (gradient - wanted_gradient).norm() < 0.02 * wanted_gradient.norm()


def test_two_parts_hold_16_bits():
    x = torch.randn(1000, generator=seeded()) * torch.logspace(-3, 3, 1000)
    high, low = in_two_parts(x[None], 0).float()
    assert ((high + low - x).abs() <= x.abs() / 2**16).all()


def test_float32_is_read_as_it_is():
    for name, make in LAYERS.items():
        layer = make()
        x = ripple(3, 20, 1 if "one" in name else 2)
        wanted = layer(x)
        read_values(layer)
        assert torch.equal(layer(x), wanted)


def readers(net, layout):
    """The layers that read values, by their place in the network."""
    network = networks.build(net, layout, outputs=2)
    found = [m for m in network.modules() if getattr(m, "reads_values", False)]
    return [
        f"{type(m).__name__.lower()} of {m.features if isinstance(m, Dense) else m.channels}"
        for m in found
    ]


def test_the_first_layers_with_products_read_values_and_no_others():
    series = Layout(3)
    assert readers("conv(4, time=3) relu conv(5, time=3) mean", series) == ["conv of 3"]
    assert readers("delta batchnorm lstm(4) lstm(5) last", series) == ["lstm of 6"]
    both = readers("parallel(lstm(4) last, conv(5, time=3) mean) dense(7)", series)
    assert both == ["lstm of 3", "conv of 3"]
    both = readers("residual(conv(4, time=3) relu conv(6, time=3)) mean", series)
    assert both == ["conv of 3", "dense of 3"]
    assert readers("rnn(4) dense(5) last", series) == ["rnn of 3"]
    assert readers("conv(4, 3) flatten lstm(5)", Layout(3, (8, 8), steps=1)) == []  # pixels
    assert readers("embed(4) lstm(5)", Layout(1, vocabulary=9)) == []
