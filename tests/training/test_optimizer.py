"""The optimizers: what is pulled to zero, and one step against PyTorch's plain ones."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch

from gridcell.training.optimizer import choose_optimizer

from .toys import OBJECTIVE, images, network

NOTATION = "conv(4, 3) batchnorm relu maxpool(2) flatten dense(5) relu"


@pytest.mark.parametrize("name", ["adamw", "sgd"])
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
@pytest.mark.parametrize(("name", "kept"), [("adamw", 0.95), ("sgd", 0.905)])
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


def test_a_network_without_vectors_has_one_group() -> None:
    net = torch.nn.Linear(3, 2, bias=False)
    assert len(choose_optimizer(net, "adamw", rate=0.1, weight_decay=0.1).param_groups) == 1


def test_a_training_does_not_wait_for_the_compiler_to_be_imported() -> None:
    """`torch._dynamo` takes more than a second to import, and no step here is compiled."""
    script = """
import sys
import torch
from gridcell.training.optimizer import choose_optimizer

net = torch.nn.Linear(2, 3)
for name in ("adamw", "sgd"):
    optimizer = choose_optimizer(net, name, rate=0.1, weight_decay=0.1)
    optimizer.zero_grad()
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
