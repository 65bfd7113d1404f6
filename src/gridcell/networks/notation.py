"""Read a network written as text, such as `conv(12, 3) relu maxpool(2) flatten dense(10)`.

    chain  = item item ...
    item   = NAME | NAME(argument, ...) | COUNT*(chain)
    argument = value | NAME=value | FLAG, or a chain for `residual`, `mirrored`, `parallel`,
               `ensemble` and `reversible`
    value  = 3 | 0.5 | 3x5 | NAME

What the names mean is not known here but in `build`; this file knows only how they are written,
and which arguments each takes, so that a mistake is shown under the character where it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn, cast

from gridcell.errors import NetworkError, did_you_mean

Value = int | float | tuple[int, ...] | str | bool


@dataclass(frozen=True)
class Option:
    """What one argument of a layer may be."""

    kinds: tuple[type, ...]
    words: tuple[str, ...] = ()
    """Names allowed as the value, such as same and valid."""


@dataclass(frozen=True)
class Signature:
    """The arguments of a layer: the first ones by place, all by name."""

    places: tuple[str, ...] = ()
    options: dict[str, Option] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    chains: int = 0
    """1 for a layer around one chain, 2 for one around two or more."""


WHOLE = Option((int,))
NUMBER = Option((float,))
SIZES = Option((int, tuple))
FLAG = Option((bool,))
"""Said by its name alone, such as both in lstm(64, both)."""

SIGNATURES: dict[str, Signature] = {
    "conv": Signature(
        ("filters", "kernel"),
        {
            "filters": WHOLE,
            "kernel": SIZES,
            "stride": SIZES,
            "padding": Option((int,), ("same", "valid")),
            "dilation": SIZES,
            "groups": WHOLE,
            "time": WHOLE,
        },
        ("filters",),
    ),
    "whiten": Signature(
        ("kernel",), {"kernel": SIZES, "padding": Option((int,), ("same", "valid"))}, ("kernel",)
    ),
    "maxpool": Signature(("size",), {"size": SIZES, "stride": SIZES, "time": WHOLE}),
    "avgpool": Signature(("size",), {"size": SIZES, "stride": SIZES, "time": WHOLE}),
    "globalpool": Signature(),
    "flatten": Signature(),
    "dense": Signature(("width",), {"width": WHOLE}, ("width",)),
    "embed": Signature(("width",), {"width": WHOLE}, ("width",)),
    "spell": Signature(("width",), {"width": WHOLE, "letters": WHOLE}, ("width",)),
    "relu": Signature(),
    "leaky_relu": Signature(("slope",), {"slope": NUMBER}),
    "tanh": Signature(),
    "sigmoid": Signature(),
    "elu": Signature(),
    "gelu": Signature(),
    "silu": Signature(),
    "softmax": Signature(),
    "batchnorm": Signature(),
    "layernorm": Signature(),
    "dropout": Signature(("p",), {"p": NUMBER}),
    "lstm": Signature(
        ("width",),
        {
            "width": WHOLE,
            "layers": WHOLE,
            "both": FLAG,
            "recurrence": Option((), ("full", "diagonal")),
            "heads": WHOLE,
            "peephole": FLAG,
            "layernorm": FLAG,
            "zoneout": NUMBER,
            "dropout": NUMBER,
            "recurrent_dropout": NUMBER,
            "weight_drop": NUMBER,
            "project": WHOLE,
        },
        ("width",),
    ),
    "rnn": Signature(
        ("width",),
        {
            "width": WHOLE,
            "layers": WHOLE,
            "both": FLAG,
            "activation": Option((), ("tanh", "relu")),
            "dropout": NUMBER,
        },
        ("width",),
    ),
    "delta": Signature(),
    "rows": Signature(),
    "last": Signature(),
    "mean": Signature(),
    "max": Signature(),
    "each": Signature(),
    "whole": Signature(),
    "residual": Signature(chains=1),
    "mirrored": Signature((), {"shift": WHOLE}, chains=1),
    "ensemble": Signature((), {"members": WHOLE}, chains=1),
    "reversible": Signature((), {"by": Option((), ("mean", "last"))}, chains=1),
    "parallel": Signature(chains=2),
}


@dataclass(frozen=True)
class Spec:
    """One layer as written."""

    name: str
    options: dict[str, Value] = field(default_factory=dict)
    chains: tuple[tuple[Spec, ...], ...] = ()
    start: int = 0
    """Where it stands in the text."""
    repetition: str = ""
    """Which round of a repeated group it belongs to, such as `2 of 4`."""

    def __str__(self) -> str:
        if self.chains:
            inside = [write(chain) for chain in self.chains]
            inside += [f"{name}={_written(value)}" for name, value in self.options.items()]
            return f"{self.name}({', '.join(inside)})"
        places = SIGNATURES[self.name].places
        words: list[str] = []
        by_place = True
        for name, value in self.options.items():
            by_place = by_place and len(words) < len(places) and places[len(words)] == name
            if value is True:
                words.append(name)
            else:
                words.append(_written(value) if by_place else f"{name}={_written(value)}")
        return f"{self.name}({', '.join(words)})" if words else self.name


def parse(text: str) -> tuple[Spec, ...]:
    """Read notation into the layers it names, repeated groups written out.

    Raises   NetworkError with the text and a mark under the character that cannot be read

    >>> [str(layer) for layer in parse("2*(conv(16, 3) relu) maxpool(2)")]
    ['conv(16, 3)', 'relu', 'conv(16, 3)', 'relu', 'maxpool(2)']
    >>> parse("conv(16, 3) maxpol(2)")
    Traceback (most recent call last):
        ...
    gridcell.errors.NetworkError: maxpol is not a layer. Did you mean maxpool?
        conv(16, 3) maxpol(2)
                    ^
    """
    return _Reader(text).whole()


def write(chain: tuple[Spec, ...]) -> str:
    """Write layers as notation again: `parse(write(chain))` means the same as `chain`.

    >>> write(parse("conv(12,kernel=3)   relu"))
    'conv(12, 3) relu'
    """
    return " ".join(str(spec) for spec in chain)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    def __str__(self) -> str:
        return repr(self.text) if self.text else "the end"


TOKENS = re.compile(
    r"(?P<sizes>\d+(?:x\d+)+(?![\w.]))"
    r"|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>[(),=*])|(?P<space>\s+)|(?P<wrong>.)"
)
MOST_LAYERS = 10_000
MOST_NESTED = 50
MOST_DIGITS = 9
"""Notation also comes from model files: no text may run into Python's own limits."""


class _Reader:
    """A recursive-descent reader over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = [
            _Token(str(match.lastgroup), match.group(), match.start())
            for match in TOKENS.finditer(text)
        ]
        self.tokens = [token for token in found if token.kind != "space"]
        self.tokens.append(_Token("end", "", len(text)))
        self.position = 0
        self.depth = 0

    def whole(self) -> tuple[Spec, ...]:
        chain = self._chain()
        if self._token.kind != "end":
            self._fail(f"a layer cannot begin with {self._token}.")
        if not chain:
            self._fail("the network is empty; write for instance conv(16, 3) relu maxpool(2).")
        return chain

    @property
    def _token(self) -> _Token:
        return self.tokens[self.position]

    def _take(self, text: str | None = None, *, after: str = "") -> _Token:
        token = self._token
        if text is not None and token.text != text:
            self._fail(f"{text!r} is missing{after}; found {token}.")
        if token.kind != "end":
            self.position += 1
        return token

    def _fail(self, message: str, start: int | None = None, *, fix: str | None = None) -> NoReturn:
        start = self._token.start if start is None else start
        shown = self.text.replace("\n", " ").replace("\t", " ")
        raise NetworkError(f"{message}\n    {shown}\n    {' ' * start}^", fix=fix)

    def _chain(self) -> tuple[Spec, ...]:
        self.depth += 1
        if self.depth > MOST_NESTED:
            self._fail(f"layers are nested more than {MOST_NESTED} deep.")
        layers: list[Spec] = []
        count = 0
        while self._token.kind in ("name", "number"):
            start = self._token.start
            more = self._repeated() if self._token.kind == "number" else [self._layer()]
            layers += more
            count += _count(more)
            if count > MOST_LAYERS:
                self._fail(f"the network has more than {MOST_LAYERS:,} layers.", start)
        self.depth -= 1
        return tuple(layers)

    def _repeated(self) -> list[Spec]:
        token = self._take()
        rounds = self._whole_number(token.text, token.start) if token.text.isdigit() else 0
        if rounds < 1:
            self._fail("a repeat count must be a whole number from 1.", token.start)
        self._take("*", after=" after the repeat count")
        self._take("(", after=" after the *")
        group = self._chain()
        self._take(")", after=" at the end of the repeated group")
        if not group:
            self._fail("there is nothing to repeat.", token.start)
        if rounds * _count(group) > MOST_LAYERS:
            self._fail(f"the network has more than {MOST_LAYERS:,} layers.", token.start)
        return [
            replace(
                spec,
                repetition=", ".join(filter(None, (f"{number} of {rounds}", spec.repetition))),
            )
            for number in range(1, rounds + 1)
            for spec in group
        ]

    def _layer(self) -> Spec:
        token = self._take()
        signature = SIGNATURES.get(token.text)
        if signature is None:
            near = did_you_mean(token.text, SIGNATURES)
            fix = None if near else f"write one of {', '.join(SIGNATURES)}."
            self._fail(f"{token.text} is not a layer.{near}", token.start, fix=fix)
        options: dict[str, Value] = {}
        if signature.chains:
            inner = self._chains(token, signature, options)
            return Spec(token.text, options, inner, token.start)
        if self._token.text == "(":
            self._take()
            while self._token.text != ")":
                if self._token.kind == "end":
                    self._take(")", after=f" at the end of {token.text}")
                self._argument(token.text, signature, options)
                if self._token.text != ")" and self._token.kind != "end":
                    self._take(",", after=f" between the arguments of {token.text}")
            self._take()
        for name in signature.required:
            if name not in options:
                usual = 3 if name == "kernel" else 32
                self._fail(f"{token.text} needs its {name}: {token.text}({usual}).", token.start)
        return Spec(token.text, options, (), token.start)

    def _refuse_bare_number(self, layer: _Token, signature: Signature) -> None:
        """Refuse a number in a place where chains stand: it is meant as the layer's option."""
        counts = [name for name, option in signature.options.items() if int in option.kinds]
        if self._token.kind == "number" and counts:
            self._fail(
                f"{layer.text} takes {self._token.text} by its name: "
                f"{counts[0]}={self._token.text}."
            )

    def _chains(
        self, token: _Token, signature: Signature, options: dict[str, Value]
    ) -> tuple[tuple[Spec, ...], ...]:
        least = signature.chains
        self._take("(", after=f" after {token.text}")
        chains = [self._chain()]
        while self._token.text == ",":
            self._take()
            following = "" if self._token.kind == "end" else self.tokens[self.position + 1].text
            if following in ("", ")", ","):
                self._refuse_bare_number(token, signature)
            if signature.options and following == "=":
                self._argument(token.text, signature, options)
            else:
                chains.append(self._chain())
        self._take(")", after=f" at the end of {token.text}")
        if least == 1 and (len(chains) != 1 or not chains[0]):
            self._fail(f"{token.text} stands around one chain of layers.", token.start)
        if token.text == "ensemble":
            self._check_members(token, chains[0], options.get("members"))
        if least == 2 and (len(chains) < 2 or not all(chains)):
            self._fail("parallel needs two or more branches, separated by commas.", token.start)
        return tuple(chains)

    def _check_members(self, token: _Token, chain: tuple[Spec, ...], members: Value | None) -> None:
        if not isinstance(members, int) or members < 2:
            self._fail("ensemble needs 2 members or more: ensemble(..., members=5).", token.start)
        if members * _count(chain) > MOST_LAYERS:
            self._fail(f"the network has more than {MOST_LAYERS:,} layers.", token.start)

    def _argument(self, layer: str, signature: Signature, options: dict[str, Value]) -> None:
        token = self._take()
        start = token.start
        if signature.options.get(token.text) is FLAG:
            if self._token.text == "=":
                self._fail(f"{token.text} takes no value: it is said by its name alone.", start)
            if token.text in options:
                self._fail(f"{token.text} is given twice.", start)
            options[token.text] = True
            return
        if self._token.text == "=" and token.kind == "name":
            name = token.text
            if name not in signature.options:
                near = did_you_mean(name, signature.options)
                takes = ", ".join(signature.options) or "no arguments"
                self._fail(f"{layer} has no {name}; it takes {takes}.{near}", token.start)
            self._take()
            token = self._take()
        else:
            index = len(options)
            if token.text in signature.options:
                self._fail(f"{token.text} needs a value: {token.text}=...", start)
            if index >= len(signature.places):
                takes = ", ".join(signature.options) or "no arguments"
                near = did_you_mean(token.text, signature.options)
                self._fail(f"{layer} cannot take {token} here; it takes {takes}.{near}", start)
            if tuple(options) != signature.places[:index]:
                self._fail(f"{token} stands after a named argument; name it too.", start)
            name = signature.places[index]
        if name in options:
            self._fail(f"{name} is given twice.", start)
        options[name] = self._value(layer, name, signature.options[name], token)

    def _value(self, layer: str, name: str, option: Option, token: _Token) -> Value:
        value: Value | None = None
        if token.kind == "sizes":
            value = tuple(self._whole_number(size, token.start) for size in token.text.split("x"))
        elif token.kind == "number" and re.fullmatch(r"-?\d+", token.text):
            value = self._whole_number(token.text, token.start)
        elif token.kind == "number" and math.isfinite(float(token.text)):
            value = float(token.text)
        elif token.kind == "name" and token.text in option.words:
            return token.text
        # Where a fraction may stand, a whole number may too.
        if type(value) in option.kinds or (type(value) is int and float in option.kinds):
            return cast(Value, value)
        wanted = {int: "a whole number", float: "a number", tuple: "sizes such as 3x5"}
        words = [*(wanted[kind] for kind in option.kinds), *option.words]
        self._fail(f"{layer} {name} must be {' or '.join(words)}; found {token}.", token.start)

    def _whole_number(self, text: str, start: int) -> int:
        if len(text) > MOST_DIGITS:
            self._fail(f"{text} has more than {MOST_DIGITS} digits.", start)
        return int(text)


def _count(layers: Sequence[Spec]) -> int:
    """All layers, those inside others too."""
    return sum(1 + sum(map(_count, spec.chains)) for spec in layers)


def _written(value: Value) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value)
