"""How fast the LSTM is on sequences of unequal length, beside torch.nn.LSTM on packed ones.

    python benchmarks/lstm.py                 # every row of the table, about two minutes
    python benchmarks/lstm.py --repeats 21    # more of each, on a machine that isn't quiet
    python benchmarks/lstm.py --ceiling       # how fast the kernel is where there is no padding

Both sides get the same values, weights and true lengths, run forward and backward (weights and
input), and are checked to agree before they are timed. They take turns, so that whatever else the
machine does falls on both; the table has medians.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence

from gridcell.process import wait_politely

wait_politely()  # before PyTorch is loaded

from gridcell.training.allocator import keep_memory  # noqa: E402

is_kept = keep_memory()  # before the first tensor

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from gridcell.layers import LSTM  # noqa: E402

BATCH, WIDTH, SHORTEST, LONGEST = 64, 256, 50, 100
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ceiling", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Two threads that wait for a core which others use say nothing about either side.
    print(
        f"{time.strftime('%Y-%m-%d')}, load before the start {os.getloadavg()[0]:.1f} (want < 0.5)"
    )
    print(
        f"torch {torch.__version__}, {options.threads} threads, {platform.machine()}, "
        f"malloc {'keeps' if is_kept else 'returns'} memory"
    )
    print(
        f"batch {BATCH}, width {WIDTH}, lengths uniform {SHORTEST}..{LONGEST}; "
        f"median ms forward and backward of {options.repeats}"
    )
    if options.ceiling:
        return ceiling(options.repeats, options.threads)
    print(
        f"{'input':>6} {'ways':>5} {'arithmetic':>11} {'packed':>8} {'bfloat16':>8} {'ours':>8} "
        f"{'times':>6} {'default':>8}"
    )
    for channels in (256, 128, 64):
        for both in (False, True):
            for name in ("float32", "bfloat16"):
                packed, low, ours = compare(channels, both, name, options.repeats)
                times = min(packed, low) / ours
                print(
                    f"{channels:6} {2 if both else 1:5} {name:>11} {1e3 * packed:8.1f} "
                    f"{1e3 * low:8.1f} {1e3 * ours:8.1f} {times:6.2f} {packed / ours:8.2f}",
                    flush=True,
                )
    print("packed: torch.nn.LSTM in float32 and under autocast; times: beside the faster of both;")
    print("default: beside torch.nn.LSTM as it is called without more, in float32.")


def ceiling(repeats: int, threads: int) -> None:
    """Print how long ours takes in float32 on as many steps in all, but of equal length."""
    steps = (SHORTEST + LONGEST) // 2
    print(f"all sequences of {steps} steps, one direction, float32, ours alone")
    for channels in (256, 64):
        for count, batch in ((threads, BATCH), (1, BATCH // threads)):
            torch.set_num_threads(count)
            generator = torch.Generator().manual_seed(0)
            layer = LSTM(channels, WIDTH, generator=generator)
            x = torch.randn(batch, steps, channels, generator=generator)
            grad_y = torch.randn(batch, steps, WIDTH, generator=generator)
            (seconds,) = take_turns([lambda: once(layer, layer, x, grad_y)], repeats)  # noqa: B023
            # Forward is one product with the weights a step, backward two; each is two operations.
            work = 3 * 2 * batch * steps * 4 * WIDTH * (channels + WIDTH)
            print(
                f"{channels:6} input, {count} threads, batch {batch}: {1e3 * seconds:.1f} ms, "
                f"{work / seconds / 1e9:.0f} GFLOP/s",
                flush=True,
            )


def compare(channels: int, both: bool, name: str, repeats: int) -> tuple[float, float, float]:
    """Return the median seconds of torch.nn.LSTM on packed sequences, of it in bfloat16, of ours.

    Beside ours in float32 there is none in bfloat16: infinite seconds.
    """
    generator = torch.Generator().manual_seed(0)
    ours = LSTM(channels, WIDTH, both=both, generator=generator)
    theirs = nn.LSTM(channels, WIDTH, batch_first=True, bidirectional=both)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(BATCH, LONGEST, channels, generator=generator)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (BATCH,), generator=generator)
    lengths[0] = LONGEST
    grad_y = torch.randn(BATCH, LONGEST, ours.features, generator=generator)

    def packed(x: Tensor) -> Tensor:
        sequence = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        output, _ = theirs(sequence)
        y: Tensor = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0]
        return y

    def packed_low(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return packed(x)

    def padded(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
            y: Tensor = ours(x, lengths)
            return y

    tolerance = TOLERANCE[name]
    check_agreement(packed, padded, x, grad_y, tolerance)
    sides = [
        lambda: once(packed, theirs, x, grad_y),
        lambda: once(padded, ours, x, grad_y),
        lambda: once(packed_low, theirs, x, grad_y),
    ]
    if name == "float32":
        seconds, own = take_turns(sides[:2], repeats)
        return seconds, math.inf, own
    seconds, own, low = take_turns(sides, repeats)
    return seconds, low, own


def once(run: Callable[[Tensor], Tensor], layer: nn.Module, x: Tensor, grad_y: Tensor) -> None:
    """One step as in training: forward, backward, gradients of the weights and of x."""
    layer.zero_grad()
    x = x.detach().requires_grad_()
    y = run(x)
    torch.autograd.backward(y, grad_y.to(y.dtype))


def check_agreement(
    one: Callable[[Tensor], Tensor],
    other: Callable[[Tensor], Tensor],
    x: Tensor,
    grad_y: Tensor,
    tolerance: float,
) -> None:
    """Raise AssertionError where the two differ by more, forward or backward."""
    results = []
    for run in (one, other):
        values = x.clone().requires_grad_()
        y = run(values)
        (gradient,) = torch.autograd.grad(y, values, grad_y.to(y.dtype))
        results.append((y.detach().float(), gradient))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=tolerance)


def take_turns(sides: Sequence[Callable[[], None]], repeats: int) -> list[float]:
    """Return the median seconds of each, measured by turns after one warm-up."""
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(repeats + 1):
        for kept, run in zip(seconds, sides, strict=True):
            start = time.perf_counter()
            run()
            if number:
                kept.append(time.perf_counter() - start)
    return [statistics.median(kept) for kept in seconds]


if __name__ == "__main__":
    main()
