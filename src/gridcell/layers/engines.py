"""Which code walks a recurrent layer over time, and why that one.

Every engine computes the same numbers to rounding. An engine says what it cannot do; of those that
can, the first in the layer's own table is taken, or the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from gridcell.errors import NetworkError, did_you_mean


@dataclass(frozen=True)
class EngineChoice:
    """The engine that runs, and the reason in a sentence."""

    name: str
    reason: str


Refusal = Callable[[Tensor], str | None]
"""Values -> why an engine cannot take them, or None."""


def choose_engine(asked: str, x: Tensor, refusals: Mapping[str, Refusal]) -> EngineChoice:
    """Return the engine that walks over `x`.

    asked      "auto", or an engine's name
    refusals   the layer's engines, the fastest first

    Raises     NetworkError if the engine asked for isn't there, or cannot take these values

    >>> refusals = {"fused": lambda x: "peepholes are in no fused kernel", "eager": lambda x: None}
    >>> choose_engine("auto", torch.zeros(1), refusals)
    EngineChoice(name='eager', reason='not fused: peepholes are in no fused kernel')
    """
    if asked != "auto":
        check_engine(asked, refusals)
        refusal = refusals[asked](x)
        if refusal is not None:
            raise NetworkError(
                f"the {asked} engine cannot run here: {refusal}.", fix='leave engine="auto".'
            )
        return EngineChoice(asked, f"{asked}, as asked")
    reasons: list[str] = []
    for name, refuses in refusals.items():
        refusal = refuses(x)
        if refusal is None:
            return EngineChoice(name, "; ".join(reasons) or "nothing speaks against it")
        reasons.append(f"not {name}: {refusal}")
    raise NetworkError(f"no engine can run this layer: {'; '.join(reasons)}.")


def check_engine(asked: str, engines: Iterable[str]) -> None:
    """Raise NetworkError unless `asked` is "auto" or one of the engines."""
    known = ["auto", *engines]
    if asked not in known:
        raise NetworkError(
            f"{asked} is not an engine; there are {', '.join(known)}.{did_you_mean(asked, known)}"
        )


def refuses_fused(x: Tensor) -> str | None:
    """Why the framework's kernels cannot take these values, whatever the layer."""
    if x.device.type not in ("cpu", "cuda"):
        return f"no fused kernel is known to be right on {x.device.type}"
    if x.device.type == "cpu" and arithmetic(x) == torch.bfloat16:
        # Without the instructions oneDNN finds no primitive for an LSTM and raises.
        if not has_bfloat16_kernels():
            return "this processor has no bfloat16 instructions"
    elif x.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        return f"no fused kernel takes {x.dtype}"
    return None


@cache
def has_bfloat16_kernels() -> bool:
    """Whether oneDNN is part of this PyTorch, and the processor has instructions for bfloat16."""
    is_there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def arithmetic(x: Tensor) -> torch.dtype:
    """What products of such values are formed in: autocast's choice, or their own dtype."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
