"""How the readers speak of names, counts and rows, and which words mean a split."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from gridcell.samples import TEST, TRAIN, VALID

SPLIT_WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALID,
    "valid": VALID,
    "validation": VALID,
    "test": TEST,
    "testing": TEST,
}


def shown(name: str) -> str:
    r"""Return a name fit for one line of text: what cannot be printed is escaped.

    >>> print(shown("a\nb.jpg"), shown("中.jpg"))
    a\nb.jpg 中.jpg
    """
    return name if name.isprintable() else repr(name)[1:-1]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    >>> counted(1, "file"), counted(2000, "file"), counted(2, "class", "classes")
    ('1 file', '2,000 files', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def with_count(name: str, count: int) -> str:
    """Return a class with its items, in quotes where it would be read as a number itself.

    >>> with_count("cat", 1200), with_count("3", 2)
    ('cat 1,200', "'3' 2")
    """
    is_number = name.replace(".", "").replace("-", "").isdigit()
    return f"{repr(name) if is_number else shown(name)} {count:,}"


def listed(names: Iterable[str], *, most: int = 12) -> str:
    """Return names as one text, at most `most` of them and then a count.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=1)
    ('a, b, c', 'a and 2 more')
    """
    every = [shown(name) for name in names]
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def fix_unknown_column(name: str, option: str, columns: Iterable[str]) -> str:
    """Return the fix where no column has a name: several, joined by commas, are given one by one.

    >>> fix_unknown_column("a,b", "target", ["a", "b"])
    'repeat the option: --target a --target b.'
    >>> fix_unknown_column("c", "target", ["a", "b"])
    'name one of its columns.'
    """
    flag = f"--{option.removeprefix('--')}"
    parts = [part.strip() for part in name.split(",")]
    if flag in ("--target", "--inputs", "--known") and len(parts) > 1 and {*parts} <= {*columns}:
        return f"repeat the option: {' '.join(f'{flag} {shlex.quote(part)}' for part in parts)}."
    return "name one of its columns."


def itemised(lines: Sequence[str], *, most: int) -> str:
    """Return one indented line for each entry, at most `most` of them and then a count."""
    rest = len(lines) - most
    text = "".join(f"\n    {line}" for line in lines[:most])
    return text + (f"\n    and {rest:,} more" if rest > 0 else "")
