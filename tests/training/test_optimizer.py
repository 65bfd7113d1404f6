"""The optimizers: what is pulled to zero, and one step against PyTorch's plain ones."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from gridcell.layers import Conv, Whiten
from gridcell.training import muon
from gridcell.training.muon import STEP_SIZE, Muon, orthogonal
from gridcell.training.optimizer import choose_optimizer

from .toys import OBJECTIVE, images, network

NOTATION = "conv(4, 3) batchnorm relu maxpool(2) flatten dense(5) relu"


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_vectors_are_not_pulled_to_zero(name: Any) -> None:
    net = network(NOTATION)
    optimizer = choose_optimizer(net, name, rate=0.1, weight_decay=0.5)
    decay = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    parameters = dict(net.named_parameters())
    assert len(decay) == len(parameters)
    for path, parameter in parameters.items():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), path
    assert {0.0, 0.5} == set(decay.values())


# SGD with Nesterov momentum 0.9 steps 1.9 times as far at first.
@pytest.mark.parametrize(("name", "kept"), [("adamw", 0.95), ("sgd", 0.905), ("muon", 0.95)])
def test_without_a_gradient_only_matrices_shrink(name: Any, kept: float) -> None:
    net = network(NOTATION)
    before = {path: p.detach().clone() for path, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    choose_optimizer(net, name, rate=0.1, weight_decay=0.5).step()
    for path, parameter in net.named_parameters():
        expected = before[path] * (kept if parameter.ndim > 1 else 1.0)
        torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_steps_are_those_of_pytorch_s_plain_optimizer(name: Any) -> None:
    fused, plain = network(NOTATION), network(NOTATION)
    ours = choose_optimizer(fused, name, rate=0.05, weight_decay=0.1)
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in plain.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {"fused": False, "foreach": False}
    theirs = (
        torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.99), **options)
        if name == "adamw"
        else torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, **options)
    )
    start = copy.deepcopy(plain.state_dict())
    data = images(16)
    batch = data.batch(data.rows)
    for _ in range(3):
        for net, optimizer in ((fused, ours), (plain, theirs)):
            optimizer.zero_grad()
            OBJECTIVE.loss(net(batch.values), batch.targets).backward()
            optimizer.step()
    for path, value in plain.named_parameters():
        torch.testing.assert_close(
            fused.get_parameter(path).detach(), value.detach(), rtol=1e-4, atol=1e-5
        )
        assert not torch.equal(value.detach(), start[path])


def test_muon_takes_pytorch_s_own_steps_on_matrices() -> None:
    torch.manual_seed(0)
    start = [torch.randn(5, 9), torch.randn(12, 4), torch.randn(7, 7)]
    ours = [torch.nn.Parameter(value.clone()) for value in start]
    theirs = [torch.nn.Parameter(value.clone()) for value in start]
    one = Muon(ours, lr=0.05, weight_decay=0.1)
    # Their step is smaller, and so is what decays with it.
    lr, decay = 0.05 * STEP_SIZE / 0.2, 0.1 * 0.2 / STEP_SIZE
    other = torch.optim.Muon(theirs, lr, decay, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for mine, plain in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            plain.grad = mine.grad.clone()
        one.step()
        other.step()
    for mine, plain, before in zip(ours, theirs, start, strict=True):
        # Rounded to bfloat16 at other places: some hundredths of a step, and four steps are taken.
        apart, way = (mine - plain).detach().norm(), (plain - before).detach().norm()
        assert float(apart / way) < 0.03


def test_muon_reads_filters_as_rows() -> None:
    gradient = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    filters = torch.nn.Parameter(torch.zeros_like(gradient))
    rows = torch.nn.Parameter(torch.zeros(8, 12))
    filters.grad, rows.grad = gradient, gradient.flatten(1)
    for weight in (filters, rows):
        Muon([weight], lr=0.1).step()
    assert torch.equal(filters.detach().flatten(1), rows.detach())
    assert rows.detach().abs().min() > 0


@pytest.mark.parametrize("axes", [2, 3])
def test_muon_asks_not_how_filters_lie_in_memory(axes: int) -> None:
    """Nor how the gradient and what is kept do: read from a file, they lie otherwise."""
    last = torch.channels_last if axes == 2 else torch.channels_last_3d
    layouts = {
        "plain": lambda value: value.clone(),
        "channels last": lambda value: value.clone(memory_format=last),
        "channels first of all": lambda value: value.transpose(0, 1).contiguous().transpose(0, 1),
    }
    draw = torch.Generator().manual_seed(0)
    shape = (8, 3, *(2, 3, 4)[:axes])
    start, *gradients = (torch.randn(shape, generator=draw) for _ in range(3))
    ends = []
    for lay_weight, lay_gradient, lay_kept in itertools.product(layouts.values(), repeat=3):
        weight = torch.nn.Parameter(lay_weight(start))
        optimizer = Muon([weight], lr=0.1, dtype=torch.float32)
        for gradient in gradients:
            weight.grad = lay_gradient(gradient)
            optimizer.step()
            state = optimizer.state[weight]
            state["momentum"] = lay_kept(state["momentum"])
        ends.append(weight.detach())
    assert (ends[0] - start).abs().max() > 0.05
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 16), (6, 80), (80, 6)])
def test_orthogonal_keeps_the_singular_vectors(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """By numpy's own decomposition."""
    matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = orthogonal(torch.from_numpy(matrix), dtype).float().numpy()
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ found @ right.T
    assert (np.diag(inner) > 0.6).all() and (np.diag(inner) < 1.3).all()
    assert np.abs(inner - np.diag(np.diag(inner))).max() < 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("shape", [(6, 80), (80, 6), (32, 288), (64, 576), (64, 128)])
def test_what_lies_in_two_directions_stays_in_bounds(
    shape: tuple[int, int], noise: float, dtype: torch.dtype
) -> None:
    draw = torch.Generator().manual_seed(0)
    rows, columns = shape
    matrix = torch.randn(rows, 2, generator=draw) @ torch.randn(2, columns, generator=draw)
    matrix += noise * torch.randn(shape, generator=draw)
    values = torch.linalg.svdvals(orthogonal(matrix, dtype).float())
    assert float(values[1]) > 0.6
    assert float(values[0]) < 1.6
    assert not orthogonal(torch.zeros(shape), dtype).any()


def test_muon_leaves_what_was_found_alone() -> None:
    net = network("whiten(2) relu conv(4, 3) relu")
    optimizer = choose_optimizer(net, "muon", rate=0.1, weight_decay=0.5)
    whiten = next(module for module in net.modules() if isinstance(module, Whiten))
    moved = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert id(whiten.slide.weight) not in moved
    assert len(moved) == len(set(moved)) == sum(p.requires_grad for p in net.parameters())


def test_both_ways_to_orthogonal_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(16, 96, generator=torch.Generator().manual_seed(0))
    on_squares = orthogonal(matrix, torch.float32)
    monkeypatch.setattr(muon, "LONG", 1000)
    torch.testing.assert_close(on_squares, orthogonal(matrix, torch.float32), atol=1e-4, rtol=1e-4)


def test_muon_moves_filters_and_leaves_all_else_to_adamw() -> None:
    notation = "conv(6, 3) batchnorm relu conv(6, 3, groups=3) relu flatten dense(5) relu"
    net, plain = network(notation), network(notation)
    both = choose_optimizer(net, "muon", rate=0.05, weight_decay=0.1)
    adamw = choose_optimizer(plain, "adamw", rate=0.05, weight_decay=0.1)
    draw = torch.Generator().manual_seed(0)
    for mine, other in zip(net.parameters(), plain.parameters(), strict=True):
        mine.grad = torch.randn(mine.shape, generator=draw)
        other.grad = mine.grad.clone()
    both.step()
    adamw.step()
    unlike = [
        path
        for path, value in net.named_parameters()
        if not torch.equal(value, plain.get_parameter(path))
    ]
    convolution = next(m for m in net.modules() if isinstance(m, Conv))
    (path,) = unlike
    assert net.get_parameter(path) is convolution.weight


def test_muon_refuses_vectors() -> None:
    with pytest.raises(ValueError, match="a parameter is a vector"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)


def test_a_network_without_vectors_has_one_group() -> None:
    net = torch.nn.Linear(3, 2, bias=False)
    assert len(choose_optimizer(net, "adamw", rate=0.1, weight_decay=0.1).param_groups) == 1


def test_a_training_does_not_wait_for_the_compiler_to_be_imported() -> None:
    """`torch._dynamo` takes more than a second to import, and no step here is compiled."""
    script = """
import sys
import torch
from gridcell.training.optimizer import choose_optimizer

from gridcell.layers import Conv

net = torch.nn.Sequential(Conv(2, 3, time=2, grid_axes=0), torch.nn.Linear(3, 3))
for name in ("adamw", "sgd", "muon"):
    optimizer = choose_optimizer(net, name, rate=0.1, weight_decay=0.1)
    optimizer.zero_grad()
    net[1](net[0](torch.ones(1, 2, 2))).sum().backward()
    optimizer.step()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
