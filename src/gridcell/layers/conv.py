"""Convolution over the grid, over time, or over both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import ShapeError
from gridcell.layers.engines import arithmetic
from gridcell.layers.filter_gradients import Moves, are_own, convolve
from gridcell.layers.first_weights import draw
from gridcell.layers.lengths import at_least, check_lengths, is_traced, mask_steps
from gridcell.layers.two_parts import in_two_parts, is_rounded
from gridcell.layers.window import (
    Padding,
    Window,
    check_grid,
    check_places,
    per_axis,
    slid,
    times,
)

AMX_CHANNELS, AMX_ROW = 16, 32
"""See `is_miscounted`."""
# Over one axis too in two dimensions, see `_slid`.
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv2d, 2: F.conv2d, 3: F.conv3d}


class Conv(nn.Module):
    """Slide learnable filters over the input; each gives the dot product with the patch under it.

        y[k, p] = bias[k] + sum over c, i of weight[k, c, i] * x[c, p * stride + i * dilation - pad]

    The kernel is not flipped (cross-correlation); flip the weight over its last axes for the
    convolution of mathematics. Without a grid, stride, dilation and padding work over time;
    with one they work over the grid, and time has stride 1 and padding "same", or "valid" if the
    grid has it.

    Shapes   x [B, T, C, *grid] -> y [B, T', filters, *grid']; weight [filters, C / groups,
             (time,) *kernel], the time axis only where `time` > 1 or there is no grid
    Padding  "same" (odd cell on the right), "valid", or n cells on every side of the grid
    Lengths  steps at or past `lengths` are read as 0 and come out as 0; an item shorter than the
             window gets length 0
    Raises   ShapeError where the axes are wrong or the kernel has no place
    Cost     B * T' * cells' * filters * C / groups * time * kernel multiply-adds
    Source   LeCun et al. 1989

    >>> layer = Conv(3, 12, 3, grid_axes=2)
    >>> layer(torch.zeros(8, 1, 3, 32, 32)).shape
    torch.Size([8, 1, 12, 32, 32])
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int | tuple[int, ...] = (),
        *,
        grid_axes: int,
        stride: int | tuple[int, ...] = 1,
        padding: Padding = "same",
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        time: int = 1,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if grid_axes == 0 and kernel != ():
            text = str(kernel) if isinstance(kernel, int) else times(kernel)
            raise ShapeError(
                "a series has no grid, and behind flatten none is left; over time write "
                f"conv({filters}, time={text})."
            )
        if grid_axes and kernel == ():
            raise ShapeError("conv needs a kernel over the grid, for instance conv(32, 3).")
        if filters < 1:
            raise ShapeError(f"conv filters must be 1 or more; got {filters}.")
        if groups < 1 or channels % groups or filters % groups:
            raise ShapeError(
                f"conv groups={groups} must divide both the {channels} channels that come in "
                f"and the {filters} filters."
            )
        if padding not in ("same", "valid") and (isinstance(padding, str) or padding < 0):
            raise ShapeError(f"conv padding must be same, valid or 0 and more; got {padding}.")
        self.channels, self.filters, self.groups = channels, filters, groups
        self.grid_axes = grid_axes
        self.reads_values = False
        self.windows = _windows(
            kernel, time, stride, dilation, padding=padding, grid_axes=grid_axes
        )
        self.mixes_steps = self.windows[0].is_time
        if len(self.windows) not in CONVOLUTIONS:
            raise ShapeError(f"conv can slide over 3 axes, not over time and {grid_axes} more.")
        size = [window.kernel for window in self.windows]
        self.weight = nn.Parameter(torch.empty(filters, channels // groups, *size))
        self.bias = nn.Parameter(torch.zeros(filters)) if bias else None
        # He et al. 2015: keeps the size of the signal through rectified layers.
        draw(nn.init.kaiming_normal_, self.weight, nonlinearity="relu", generator=generator)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer="conv", C=self.channels)
        check_grid(x, self.grid_axes, layer="conv")
        check_lengths(lengths, x, layer="conv")
        x = mask_steps(x, lengths)
        if not self.mixes_steps:
            # Every step alone: time joins the batch, which is free.
            y = self._slide(x.flatten(0, 1))
            y = y.reshape(*x.shape[:2], *y.shape[1:])
            # Without a bias, padding that went in as 0 came out as 0.
            return y if self.bias is None else mask_steps(y, lengths)
        if lengths is not None:
            x = at_least(x, self.windows[0].least())
        y = self._slide(x.transpose(1, 2)).transpose(1, 2)
        return mask_steps(y, self.out_lengths(lengths))

    def out_layout(self, layout: Layout) -> Layout:
        """The sizes after this layer; ShapeError where the kernel has no place."""
        return replace(slid(layout, self.windows, layer="conv"), channels=self.filters)

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """The true lengths after this layer: ceil(length / stride), or what "valid" leaves."""
        return (
            self.windows[0].lengths(lengths)
            if self.mixes_steps and lengths is not None
            else lengths
        )

    def extra_repr(self) -> str:
        kernel = "x".join(f"{'time ' * w.is_time}{w.kernel}" for w in self.windows)
        return f"{self.channels}, {self.filters}, {kernel}"

    def _slide(self, x: Tensor) -> Tensor:
        """The convolution over all axes after the first two of `x [N, C, *axes]`."""
        if not (_is_low(x) and self._comes_out_wrong(x.shape[2:])):
            return self._slid(x, self.weight, self.bias)
        with torch.autocast("cpu", enabled=False):
            bias = None if self.bias is None else self.bias.float()
            return self._slid(x.float(), self.weight.float(), bias).to(torch.bfloat16)

    def _comes_out_wrong(self, sizes: Sequence[int]) -> bool:
        """Whether oneDNN may make something else of it in bfloat16, of these sizes; see there.

        Of its channels, or of twice as many, where values are read in two parts or one is two.
        """
        channels, kernel = self.weight.shape[1], self.weight.shape[-1]
        both = zip(self.windows, sizes, strict=True)
        are_lone = [window.places(size) == 1 for window, size in both]
        is_thinned = are_lone[-1] and self.windows[-1].stride > 1
        is_deep = len(self.windows) == 3 and any(
            window.dilation > 1 or (is_lone and window.kernel > 1)
            for window, is_lone in zip(self.windows, are_lone, strict=True)
        )
        is_counted_wrong = is_miscounted(channels, kernel) or is_miscounted(2 * channels, kernel)
        is_pinched = channels < AMX_CHANNELS and kernel == 1 < self.windows[-1].stride
        return is_counted_wrong or is_thinned or is_deep or is_pinched

    def _slid(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sizes = x.shape[2:]
        check_places(sizes, self.windows, layer="conv")
        sides = [window.sides(size) for window, size in zip(self.windows, sizes, strict=True)]
        padding = [left for left, _ in sides]
        if any(left != right for left, right in sides):
            # F.pad counts from the last axis.
            x = F.pad(x, [cells for side in reversed(sides) for cells in side])
            padding = [0] * len(sides)
        stride = [window.stride for window in self.windows]
        dilation = [window.dilation for window in self.windows]
        if self.reads_values and self.groups == 1 and is_rounded(x):
            x, weight = in_two_parts(x, 1), torch.cat([weight, weight], 1)
        is_line = len(sides) == 1
        if is_line:
            # As a picture of one row: the kernel for one axis knows no channels last, and would
            # copy to and fro for every layer that does.
            x, weight = x[:, :, None], weight[:, :, None]
            stride, dilation, padding = [1, *stride], [1, *dilation], [0, *padding]
        # With one channel both layouts look the same, and PyTorch takes the other, at ten times the
        # cost for gradients behind. On CPU a second channel of zeros tells them apart; elsewhere
        # what comes out is copied. (Strides set by hand crash PyTorch's kernels.)
        is_grey = x.shape[1] == 1 and x.ndim == 4
        if is_grey and x.device.type == "cpu" and not is_traced():
            x, weight = _with_zeros(x), _with_zeros(weight)
        moves = Moves(stride, padding, dilation, self.groups)
        if _is_low(x) and not is_traced() and are_own(x, weight, moves):
            rounded = bias if bias is None else bias.to(torch.bfloat16)
            y = convolve(x.to(torch.bfloat16), weight.to(torch.bfloat16), rounded, moves)
        else:
            y = CONVOLUTIONS[len(sides)](x, weight, bias, **vars(moves))
        if is_grey:
            y = y.contiguous(memory_format=torch.channels_last)  # with a second channel it is so
        return y[:, :, 0] if is_line else y


def _is_low(x: Tensor) -> bool:
    """Whether products are formed in bfloat16 on the processor."""
    return arithmetic(x) == torch.bfloat16 and x.device.type == "cpu"


def _with_zeros(x: Tensor) -> Tensor:
    """`x [N, 1, H, W]` with one more channel, 0, channels last in memory."""
    return F.pad(x, (0, 0, 0, 0, 0, 1)).contiguous(memory_format=torch.channels_last)


def is_miscounted(channels: int, size: int) -> bool:
    """Whether oneDNN makes something else of a convolution in bfloat16, without a word.

    On processors with AMX what comes out has nothing to do with what went in where fewer than 16
    channels times the kernel's last size are 64, 96, 128 ...: seen in PyTorch 2.13, forward; of
    1,016 shapes in these and in no others.

    It is no better where a stride above 1 leaves a single place on the last axis (PyTorch's issue
    169688), and over three axes where one leaves a single place of more, or with dilation, whose
    gradient crashes. That of filters of fewer than 16 channels, whose last size is 1 and whose
    stride there is above 1, is written past its end. Float32 is right in all of these.

    channels   that a filter sees
    size       of the kernel on its last axis
    """
    row = channels * size
    return channels < AMX_CHANNELS and row >= 2 * AMX_ROW and row % AMX_ROW == 0


def _windows(
    kernel: int | tuple[int, ...],
    time: int,
    stride: int | tuple[int, ...],
    dilation: int | tuple[int, ...],
    *,
    padding: Padding,
    grid_axes: int,
) -> tuple[Window, ...]:
    """A window for each axis that the kernel slides over, time first."""
    per_axis(time, 1, layer="conv", name="time")
    # Without a grid the named options lie over time, so that conv(64, time=8, stride=2) works.
    axes = grid_axes or 1
    strides = per_axis(stride, axes, layer="conv", name="stride")
    dilations = per_axis(dilation, axes, layer="conv", name="dilation")
    if not grid_axes:
        return (Window(time, strides[0], padding, dilations[0], is_time=True),)
    kernels = per_axis(kernel, grid_axes, layer="conv", name="kernel")
    over_grid = [
        Window(k, s, padding, d) for k, s, d in zip(kernels, strides, dilations, strict=True)
    ]
    if time == 1:
        return tuple(over_grid)
    over_time: Padding = "valid" if padding == "valid" else "same"
    return (Window(time, padding=over_time, is_time=True), *over_grid)
