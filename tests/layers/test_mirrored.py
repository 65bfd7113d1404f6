"""What a network makes of a picture and of its mirror image, averaged."""

import numpy as np
import pytest
import torch

from gridcell.axes import Layout
from gridcell.errors import NetworkError, ShapeError
from gridcell.layers import Chain, Conv, Flatten, Mirrored
from gridcell.networks import build, rows

PHOTO = Layout(3, (8, 8), steps=1)
BODY = "conv(4, 3) batchnorm relu maxpool(2) flatten"


def built(notation=f"mirrored({BODY})"):
    network = build(notation, PHOTO, outputs=5, generator=torch.Generator().manual_seed(0))
    return network.eval()


def pictures(count=6):
    return torch.randn(count, 1, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_answer_is_the_mean_of_both_ways_of_looking():
    x = pictures()
    network, plain = built(), built(BODY)  # of one generator, so with the same weights
    torch.testing.assert_close(network(x), (plain(x) + plain(x.flip(-1))) / 2)


def test_a_picture_and_its_mirror_image_get_the_same_answer():
    x = pictures()
    network = built()
    torch.testing.assert_close(network(x), network(x.flip(-1)))
    assert not torch.allclose(built(BODY)(x), built(BODY)(x.flip(-1)))


def moved(x, cells):
    """By hand, with numpy's padding."""
    padded = np.pad(x.numpy(), ((0, 0),) * 3 + ((abs(cells),) * 2,) * 2, mode="edge")
    down, across = x.shape[3:]
    first = abs(cells) - cells
    return torch.from_numpy(padded[..., first : first + down, first : first + across].copy())


@pytest.mark.parametrize("shift", [1, 2, 7])
def test_six_ways_of_looking_are_two_in_three_places(shift):
    x = pictures()
    plain = built(BODY)
    both = {
        cells: plain(moved(x, cells)) + plain(moved(x.flip(-1), cells))
        for cells in (0, shift, -shift)
    }
    wanted = both[0] / 4 + (both[shift] + both[-shift]) / 8
    network = built(f"mirrored({BODY}, shift={shift})")
    torch.testing.assert_close(network(x), wanted)
    torch.testing.assert_close(network(x), network(x.flip(-1)))
    assert not torch.allclose(network(x), built()(x))
    torch.testing.assert_close(network.train()(x), built().train()(x))


def test_sounds_are_moved_along_their_only_axis():
    layer = Mirrored(Chain([Flatten()]), shift=1).eval()
    y = layer(torch.tensor([[[[1.0, 2.0, 6.0]]]]))
    # In place 1 2 6 and 6 2 1, moved on 1 1 2 and 6 6 2, moved back 2 6 6 and 2 1 1.
    assert y.tolist() == [[[3.125, 2.75, 3.125]]]


def test_a_shift_out_of_sight_is_refused():
    with pytest.raises(NetworkError, match="shift=8 moves all of"):
        build(f"mirrored({BODY}, shift=8)", PHOTO, outputs=5)
    with pytest.raises(ShapeError, match="shift must be 0 or more; got -1"):
        Mirrored(Chain([]), shift=-1)


def test_training_looks_once():
    x = pictures()
    network = built().train()
    seen = []
    network.steps[0].module.body.layers[0].register_forward_hook(lambda *_: seen.append(1))
    network(x)
    assert len(seen) == 1
    network.eval()(x)
    assert len(seen) == 3
    network.steps[0].module.shift = 1
    network(x)
    assert len(seen) == 9


def test_steps_and_lengths_are_the_body_s():
    layer = Mirrored(Chain([Flatten()])).eval()
    x, lengths = torch.randn(2, 4, 1, 2, 2), torch.tensor([4, 2])
    assert layer(x, lengths).shape == (2, 4, 4)
    assert layer.out_lengths(lengths) is lengths
    assert layer.out_layout(Layout(1, (2, 2), steps=None)).channels == 4


def test_what_has_no_sides_or_keeps_them_is_refused():
    with pytest.raises(ShapeError, match="mirrored needs a grid"):
        Mirrored(Chain([])).out_layout(Layout(3, steps=5))
    with pytest.raises(NetworkError, match="places are mirrored too"):
        build("mirrored(conv(4, 3))", PHOTO, outputs=5)


def test_it_is_refused_step_by_step():
    network = build("mirrored(flatten) lstm(4)", Layout(1, (4, 4), steps=None), outputs=2)
    with pytest.raises(NetworkError, match="cannot stream"):
        network.stream()


def test_its_row_counts_nothing_twice():
    table = rows(built())
    assert table[0].layer == "mirrored"
    assert table[0].parameters == table[0].multiply_adds == 0
    assert sum(row.parameters for row in table) == built().parameters_count


def test_an_output_has_seen_the_other_side_too():
    network = build("mirrored(conv(2, 3) flatten)", PHOTO, outputs=2)
    assert rows(network)[0].receptive_field == "3xall"
    assert "mirror image, averaged" in rows(network)[0].arithmetic
    moved = build("maxpool(2) mirrored(conv(2, 3) flatten, shift=1)", PHOTO, outputs=2)
    # Six pixels, and two more on either side: a cell is two of them.
    assert rows(moved)[1].receptive_field == "10xall"
    assert "in place and moved by 1 two ways" in rows(moved)[1].arithmetic


@pytest.mark.parametrize("shift", [0, 1])
def test_rows_inside_have_made_time_of_an_axis(shift):
    notation = f"mirrored(rows flatten lstm(4, both) last, shift={shift})"
    network = build(notation, PHOTO, outputs=2).eval()
    assert rows(network)[0].receptive_field.endswith("all")
    assert network(pictures()).shape == (6, 2)


def test_a_head_inside_is_seen():
    network = build("mirrored(flatten dense(5))", PHOTO, outputs=5)
    assert network.notation == "mirrored(flatten dense(5))"


def test_the_gradient_is_the_slope():
    body = Chain([Conv(1, 2, 3, grid_axes=2), Flatten()]).double()
    layer = Mirrored(body).eval()
    x = torch.randn(2, 1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,), check_undefined_grad=False)
