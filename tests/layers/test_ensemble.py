"""Several networks side by side: each is taught its own items, all are asked."""

import pytest
import torch

from gridcell.axes import Layout
from gridcell.errors import NetworkError
from gridcell.layers import Chain, Dense, Ensemble, mask_steps, set_generator
from gridcell.networks import build, parse, rows, write

SERIES = Layout(2, (), steps=None)
BODY = "parallel(lstm(4) last dropout(0.5), conv(4, time=3) batchnorm relu mean)"
WRITTEN = f"ensemble({BODY}, members=3)"


def built(notation=WRITTEN, outputs=5):
    return build(notation, SERIES, outputs=outputs, generator=torch.Generator().manual_seed(0))


def items(count):
    return torch.randn(count, 6, 2, generator=torch.Generator().manual_seed(1))


def dense_members(count, width=3):
    generator = torch.Generator().manual_seed(0)
    return [Chain([Dense(width, width, generator=generator)]) for _ in range(count)]


def test_the_answer_is_the_mean_of_all_members():
    members = dense_members(3)
    x = torch.randn(5, 3)
    mean = torch.stack([member(x) for member in members]).mean(0)
    torch.testing.assert_close(Ensemble(members).eval()(x), mean)


def test_members_begin_apart():
    layer = built().steps[0].module
    one, other = (next(member.parameters()) for member in list(layer.members)[:2])
    assert not torch.equal(one, other)


@pytest.mark.parametrize("count", [6, 7, 8, 30])
def test_in_training_item_i_is_taught_to_member_i_mod_m_alone(count):
    members = dense_members(3)
    layer = Ensemble(members).train()
    x = torch.randn(count, 3)
    expected = torch.cat([members[i % 3](x[i : i + 1]) for i in range(count)])
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("count", "taught"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)])
def test_a_member_is_taught_two_items_or_none_at_a_time(count, taught):
    """Of a single item batchnorm could tell nothing."""
    members = dense_members(3)
    Ensemble(members).train()(torch.randn(count, 3)).sum().backward()
    assert sum(next(m.parameters()).grad is not None for m in members) == taught


def test_which_members_get_none_is_drawn_anew_from_the_run_s_own_generator():
    def drawn(seed):
        layer = Ensemble(dense_members(6)).train()
        set_generator(layer, torch.Generator().manual_seed(seed))
        counts = torch.zeros(6)
        for _ in range(200):
            layer.zero_grad()
            layer(torch.ones(4, 3)).sum().backward()
            counts += torch.tensor(
                [float(next(m.parameters()).grad is not None) for m in layer.members]
            )
        return counts.tolist()

    assert drawn(1) == drawn(1) != drawn(2)
    assert min(drawn(1)) > 40  # 67 of 200 are expected


def test_gradients_of_a_step_are_those_of_members_taught_apart():
    """As with m networks, each trained on its own items; the shared head has all of theirs."""
    network = built().train()
    x, lengths = items(7), torch.tensor([6, 1, 4, 0, 6, 2, 3])
    for module in network.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
    network(x, lengths).square().sum().backward()
    together = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    ensemble, head = (step.module for step in network.steps)
    x = mask_steps(x, lengths)
    for place, member in enumerate(ensemble.members):
        head(member(x[place::3], lengths[place::3])).square().sum().backward()
    for parameter, gradient in zip(network.parameters(), together, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_lengths_travel_with_their_items():
    network = built("ensemble(conv(3, time=3, stride=2) lstm(4, both) last, members=2)")
    x, lengths = items(6), torch.tensor([6, 1, 4, 2, 5, 3])
    x[1, 1:] = float("nan")
    assert torch.isfinite(network.train()(x, lengths)).all()
    assert torch.isfinite(network.eval()(x, lengths)).all()


def test_steps_that_are_left_have_the_members_lengths():
    network = built("ensemble(conv(3, time=2, stride=2), members=2) lstm(4) last")
    assert network.eval()(items(4), torch.tensor([6, 3, 0, 1])).shape == (4, 5)
    assert network.train()(items(4), torch.tensor([6, 3, 0, 1])).shape == (4, 5)


def test_notation_is_read_and_written():
    assert write(parse(WRITTEN)) == WRITTEN
    for text in ("ensemble(relu)", "ensemble(relu, members=1)", "ensemble(relu, members=-3)"):
        with pytest.raises(NetworkError, match=r"members or more: ensemble\(\.\.\., members=5\)"):
            parse(text)
    with pytest.raises(NetworkError, match="stands around one chain"):
        parse("ensemble(relu, tanh, members=2)")
    with pytest.raises(NetworkError, match="more than 10,000 layers"):
        parse("ensemble(relu tanh, members=6000)")


def test_last_is_found_behind_it_and_a_head_inside_it():
    assert built("ensemble(lstm(4, both), members=2)").notation.endswith("members=2) last dense(5)")
    inside = "ensemble(lstm(4) last dense(5), members=2)"
    assert built(inside).notation == inside


@pytest.mark.parametrize(
    ("members", "named"), [(2, "member 2 is like it"), (20, "members 2 to 20 are like it")]
)
def test_the_table_shows_one_member_and_counts_all(members, named):
    network = built(WRITTEN.replace("members=3", f"members={members}"))
    alone = rows(built(WRITTEN.removeprefix("ensemble(").replace(", members=3)", "")))
    table = rows(network)
    assert [row.layer for row in table if row.layer.startswith("member")] == ["member 1", named]
    assert table[0].arithmetic == f"the mean of {members} members"
    assert sum(row.parameters for row in table) == network.parameters_count
    head = table[-1]
    for of in ("parameters", "multiply_adds"):
        each = sum(getattr(row, of) for row in alone) - getattr(head, of)
        counted = sum(getattr(row, of) for row in table) - getattr(head, of)
        assert counted == members * each > 0
    (alike,) = [row for row in table if row.layer == named]
    assert alike.parameters == eval(alike.parameter_arithmetic)


def test_the_table_of_an_ensemble_within_another_counts_all():
    network = built("ensemble(ensemble(conv(3, time=3) relu, members=2) relu, members=3)")
    assert sum(row.parameters for row in rows(network)) == network.parameters_count


def test_it_is_refused_step_by_step():
    with pytest.raises(NetworkError, match="cannot stream"):
        build("ensemble(lstm(4), members=2)", SERIES, outputs=2, each=True).stream()


def test_the_gradient_is_the_slope():
    layer = Ensemble(dense_members(2)).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer.eval(), (x,))
    assert torch.autograd.gradcheck(layer.train(), (x,))
