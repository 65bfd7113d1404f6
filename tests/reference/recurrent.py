"""How recurrent layers of the reference meet PyTorch's: lengths, packed sequences, weights."""

import torch
from hypothesis import strategies as st
from torch import nn

NAMES = {
    "input": "weight_ih",
    "recurrent": "weight_hh",
    "bias": "bias_ih",
    "projection": "weight_hr",
}


def draw_lengths(batch, steps):
    """No lengths, or one for each example, 0 among them."""
    return st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch)


def load(module, weights):
    """Give a PyTorch layer the weights of the reference; its second bias becomes 0."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for layer, directions in enumerate(weights):
            for each, end in zip(directions, ["", "_reverse"], strict=False):
                for name, value in each.items():
                    parameter = getattr(module, f"{NAMES[name]}_l{layer}{end}")
                    parameter.copy_(torch.as_tensor(value))


def flat(gradients):
    """Gradients in the order of PyTorch's parameters, without its second bias."""
    order = ["input", "recurrent", "bias", "projection"]
    return [
        each[name]
        for directions in gradients
        for each in directions
        for name in order
        if name in each
    ]


def on_packed(module, x, lengths, *state):
    """Outputs and last states of PyTorch's layer over true lengths.

    PyTorch refuses a length of 0, so those examples are left out and put back: outputs 0, states
    as they came. States are [layers, directions, B, D] here, [layers * directions, B, D] there.
    """
    batch, steps = x.shape[:2]
    counts = torch.full((batch,), steps) if lengths is None else torch.tensor(lengths)
    rows = counts.nonzero()[:, 0]
    directions = 2 if module.bidirectional else 1
    width = module.proj_size or module.hidden_size
    y = torch.zeros(batch, steps, directions * width, dtype=x.dtype)
    last = [kind.clone() for kind in state]
    if len(rows):
        packed = nn.utils.rnn.pack_padded_sequence(
            x[rows], counts[rows], batch_first=True, enforce_sorted=False
        )
        first = tuple(kind.flatten(0, 1)[:, rows].contiguous() for kind in state)
        output, end = module(packed, first if len(first) > 1 else first[0])
        padded, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=steps)
        y = y.index_copy(0, rows, padded)
        for number, kind in enumerate(end if len(state) > 1 else (end,)):
            shaped = kind.unflatten(0, state[0].shape[:2])
            last[number] = last[number].index_copy(2, rows, shaped)
    return y, *last


def gradients(outputs, grads, x, module, *state):
    """The gradients of x, the weights and the first states; 0 where nothing leads back."""
    total = sum((y * torch.as_tensor(grad)).sum() for y, grad in zip(outputs, grads, strict=True))
    weights = [value for name, value in module.named_parameters() if "bias_hh" not in name]
    return torch.autograd.grad(total, [x, *weights, *state], materialize_grads=True)
