"""Normalization: of the input, over the batch, and over each step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridcell.axes import check_shape
from gridcell.errors import ShapeError
from gridcell.layers.activation import same_layout
from gridcell.layers.lengths import check_lengths, is_full, mask_steps, same_lengths, valid_steps


class Normalize(nn.Module):
    """Subtract each channel's mean and divide by its deviation; whole numbers become float32.

    Mean and deviation are one a channel [C], or one a channel and grid place [C, *grid].

    The numbers come from training rows and travel inside the network, so that it needs
    nothing beside it. A deviation of 0 counts as 1: a constant channel becomes 0.

    Shapes   x [B, T, C, *grid] -> the same, floating point
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        # On the meta device there is nothing to look at, and looking costs a second: `draw`.
        if not deviation.is_meta:
            deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        self.register_buffer("deviation", deviation.float())

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer="normalize", C=len(self.mean))
        grid = tuple(self.mean.shape[1:])
        if grid and tuple(x.shape[3:]) != grid:
            raise ShapeError(
                f"normalize has a mean for each place of a grid of {list(grid)}; "
                f"got values {tuple(x.shape)}."
            )
        shape = (*self.mean.shape, *(1,) * (x.ndim - 2 - self.mean.ndim))
        check_lengths(lengths, x, layer="normalize")
        values = x if x.is_floating_point() else x.float()
        y = (values - self.mean.view(shape)) * self.deviation.reciprocal().view(shape)
        return mask_steps(y, lengths)

    out_layout = same_layout
    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return f"mean={self.mean.tolist()}, deviation={self.deviation.tolist()}"


class BatchNorm(nn.Module):
    """Normalize each channel over the batch, then scale and shift by learned numbers.

        y = (x - mean) / sqrt(variance + eps) * weight + bias

    While training, mean and (biased) variance are those of the valid values of the batch, and
    running averages are kept: running = (1 - momentum) * running + momentum * batch, with the
    unbiased variance. In evaluation the running averages are used, so an item's result does not
    depend on its batch. Where they began is forgotten after some dozens of batches; `warm_up` lets
    a training of few batches forget it at once.

    Shapes   x [B, T, C, *grid] or [B, D] -> the same
    Lengths  padding is left out of the statistics and comes out as 0; a batch of nothing but
             padding leaves the running averages alone
    Raises   ShapeError while training on a single value a channel, which has no variance
    Source   Ioffe, Szegedy 2015
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.momentum, self.eps = channels, momentum, eps
        self.seen: int | None = None
        """Batches that count alike so far; None where running averages forget as usual."""
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_variance", torch.ones(channels))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if x.ndim == 2:
            check_shape(x, "B D", layer="batchnorm", D=self.channels)
            check_lengths(lengths, x, layer="batchnorm")
            return self._normalize(x)
        check_shape(x, "B T C *grid", layer="batchnorm", C=self.channels)
        check_lengths(lengths, x, layer="batchnorm")
        channels_last = x.movedim(2, -1)
        if lengths is None or not self.training or is_full(lengths, x.shape[1]):
            silent = mask_steps(channels_last, lengths)
            y = self._normalize(silent.reshape(-1, self.channels)).reshape(silent.shape)
            return mask_steps(y, lengths).movedim(-1, 2)
        valid_BT = valid_steps(lengths, x.shape[1])
        if not valid_BT.any():
            return mask_steps(x, lengths)
        # Gathering the valid steps first lets the library's own kernel do the rest.
        rows = channels_last[valid_BT]
        y = torch.zeros_like(channels_last, memory_format=torch.contiguous_format)
        normalized = self._normalize(rows.reshape(-1, self.channels)).reshape(rows.shape)
        y[valid_BT] = normalized.to(y.dtype)
        return y.movedim(-1, 2)

    def _normalize(self, x: Tensor) -> Tensor:
        """Normalize rows [N, C].

        Two axes only, and not for speed alone: of more, PyTorch 2.13 reads a gradient that lies
        otherwise in memory than its values wrongly where an axis has a single place.
        """
        if self.training and x.numel() == self.channels:
            raise ShapeError(
                f"batchnorm cannot train on {tuple(x.shape)}: one value a channel has no variance.",
                fix="use a batch of at least 2 items, or layernorm instead.",
            )
        momentum = self.momentum
        if self.training and self.seen is not None:
            momentum, self.seen = max(momentum, 1 / (1 + self.seen)), self.seen + 1
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_variance,
            self.weight,
            self.bias,
            self.training,
            momentum,
            self.eps,
        )

    def warm_up(self, batches: int) -> None:
        """Have the next batches weigh as much as each of those before them, while they are few.

        The running averages are then plain means of the first 1 / momentum batches.

        batches   seen before
        """
        self.seen = batches

    out_layout = same_layout
    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return str(self.channels)


class LayerNorm(nn.Module):
    """Normalize all values of one step, then scale and shift each channel.

        y = (x - mean) / sqrt(variance + eps) * weight + bias

    Each step of each item is normalized alone, so nothing depends on the batch.

    Shapes   x [B, T, C, *grid] or [B, D] -> the same
    Lengths  the padding comes out as 0
    Source   Ba, Kiros, Hinton 2016
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if x.ndim == 2:
            check_shape(x, "B D", layer="layernorm", D=self.channels)
        else:
            check_shape(x, "B T C *grid", layer="layernorm", C=self.channels)
        check_lengths(lengths, x, layer="layernorm")
        x = mask_steps(x, lengths)
        if x.ndim < 4:
            y = F.layer_norm(x, (self.channels,), self.weight, self.bias, self.eps)
        else:
            y = F.group_norm(x.flatten(0, 1), 1, self.weight, self.bias, self.eps)
        return mask_steps(y.reshape(x.shape), lengths)

    out_layout = same_layout
    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return str(self.channels)
