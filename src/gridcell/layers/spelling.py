"""Words and how they are spelled: a learned row for each id, beside a convolution over its letters.

A word that training never saw has no row of its own, but it has letters, and a capital in front or
an -ing at the end says much of what it is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import ShapeError
from gridcell.layers.first_weights import draw
from gridcell.layers.lengths import check_lengths, is_traced, mask_steps, same_lengths

FACTOR = 6_364_136_223_846_793_005
"""Of Knuth's generator modulo 2^64; its powers spread letters over all bits of a number."""
LETTER_WIDTH = 32
"""Numbers that stand for one letter in front of the convolution."""


class Spell(nn.Module):
    """Look up a row for each word, and beside it the strongest place of each filter over letters.

        e_p  = letters[x_p], 0 where x_p is 0;   p over the L letters of a word
        y_f  = max over p with x_p > 0 of bias_f + sum over k of filters_f[k] . e[p + k - left]
        y    = weight[id], then y_f of all filters

    The convolution is not flipped, and "same" padding gives it a place at each letter. A word
    without letters has 0 for all filters.

    Shapes   ids [B, T, 1 + L] whole numbers, in front the word 0 .. vocabulary - 1, then its
             letters 0 .. alphabet - 1 with 0 for none -> y [B, T, width + letters]
    Lengths  the padding may hold any number and comes out as 0
    Raises   ShapeError where a number lies outside its table
    Cost     B * T * L * letters * 32 * window multiply-adds
    Source   Ma & Hovy 2016

    >>> Spell(50, 8, 30, letters=4)(torch.ones(2, 5, 1 + 16, dtype=torch.int64)).shape
    torch.Size([2, 5, 12])
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        alphabet: int,
        letters: int = 64,
        window: int = 3,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(vocabulary, width, alphabet, letters, window) < 1:
            raise ShapeError(
                "spell needs a vocabulary, a width, an alphabet, letters and a window; got "
                f"{vocabulary}, {width}, {alphabet}, {letters}, {window}."
            )
        self.vocabulary, self.width = vocabulary, width
        self.alphabet, self.letters, self.window = alphabet, letters, window
        self.weight = nn.Parameter(torch.empty(vocabulary, width))
        self.letter_weight = nn.Parameter(torch.empty(alphabet, LETTER_WIDTH))
        self.filters = nn.Parameter(torch.empty(letters, LETTER_WIDTH, window))
        self.bias = nn.Parameter(torch.zeros(letters))
        draw(nn.init.normal_, self.weight, std=width**-0.5, generator=generator)
        draw(nn.init.normal_, self.letter_weight, std=LETTER_WIDTH**-0.5, generator=generator)
        draw(nn.init.kaiming_normal_, self.filters, nonlinearity="linear", generator=generator)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C", layer="spell")
        if x.shape[2] < 2:
            raise ShapeError(f"spell reads an id and its letters; got {tuple(x.shape)}.")
        if x.is_floating_point():
            raise ShapeError(f"spell reads whole numbers; got {x.dtype}.")
        check_lengths(lengths, x, layer="spell")
        ids = mask_steps(x, lengths).long()
        words, letters = ids[..., 0], ids[..., 1:]
        _check_inside(words, self.vocabulary, what="id")
        _check_inside(letters, self.alphabet, what="letter")
        rows = F.embedding(words, self.weight)
        letters = letters.flatten(0, 1)
        if x.device.type != "cpu" or is_traced():
            spelled = self._spelled(letters)
        else:
            spellings, place = _each_once(letters)
            spelled = self._spelled(spellings).index_select(0, place)
        spelled = spelled.reshape(*words.shape, self.letters)
        return mask_steps(torch.cat([rows, spelled], 2), lengths)

    def out_layout(self, layout: Layout) -> Layout:
        """`width + letters` features a step."""
        if not (layout.vocabulary and layout.alphabet):
            raise ShapeError(f"spell reads ids with letters beside them; got {layout}.")
        return replace(layout, channels=self.width + self.letters, vocabulary=0, alphabet=0)

    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return f"{self.vocabulary}, {self.width}, {self.alphabet}, {self.letters}"

    def _spelled(self, letters: Tensor) -> Tensor:
        """The strongest place of each filter, `[N, letters]`, over letters `[N, L]`."""
        is_letter = letters > 0
        embedded = F.embedding(letters, self.letter_weight).masked_fill(~is_letter[..., None], 0)
        left = (self.window - 1) // 2
        padded = F.pad(embedded.transpose(1, 2), (left, self.window - 1 - left))
        places = F.conv1d(padded, self.filters, self.bias)
        strongest = places.masked_fill(~is_letter[:, None], -torch.inf).amax(2)
        zero = torch.zeros((), dtype=strongest.dtype, device=strongest.device)
        return torch.where(is_letter.any(1, keepdim=True), strongest, zero)


def _each_once(letters: Tensor) -> tuple[Tensor, Tensor]:
    """Return spellings `[M, L]` without repetition, and where each of `letters [N, L]` is in them.

    A batch of texts has most of its words several times, and its padding once for every step.

    >>> spellings, place = _each_once(torch.tensor([[3, 1], [2, 2], [3, 1]]))
    >>> spellings.shape, spellings[place].tolist()
    (torch.Size([2, 2]), [[3, 1], [2, 2], [3, 1]])
    """
    # Numbers that tell spellings apart sort in a tenth of the time that their letters do.
    powers = FACTOR ** torch.arange(letters.shape[1], device=letters.device)
    _, place = torch.unique((letters * powers).sum(1), return_inverse=True)
    spellings = letters.new_empty(int(place.max()) + 1 if len(place) else 0, letters.shape[1])
    spellings[place] = letters
    if not torch.equal(spellings[place], letters):  # two that the numbers do not tell apart
        return letters, torch.arange(len(letters), device=letters.device)
    return spellings, place


def _check_inside(ids: Tensor, size: int, *, what: str) -> None:
    if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < size):
        wrong = int(ids[(ids < 0) | (ids >= size)][0])
        raise ShapeError(f"spell {what} {wrong} is outside the table of {size} rows.")
