"""Tables of scores as rows of text.

Shares are percent, errors are in the data's units with four digits, and one row has one number of
decimals. What is not known is n/a, with its reason where the reason is short.
"""

from __future__ import annotations

import math
from dataclasses import replace

from gridcell.evaluation.scores import LABELLED, Score, Scores
from gridcell.sources.wording import counted, listed, shown

PERCENT = (
    "accuracy",
    "balanced accuracy",
    "macro-F1",
    "micro-F1",
    "calibration error",
    "top-5 accuracy",
    "average precision",
    "exact match",
    "coverage",
)
THREE_DECIMALS = ("log loss", "R2")
MISSING = "n/a"
MOST_DECIMALS = 4


def as_text(scores: Scores) -> str:
    """The scores as lines of text in columns, and below what the reader has to know of them.

    >>> score = Score("accuracy", 0.936, 0.931, 0.9412, 0.1, "higher", "of new speakers")
    >>> print(as_text(Scores("classify", 10_000, "accuracy", (score,))))
    10,000 items   score   95 % interval  trivial guess
    accuracy      93.6 %  93.1 to 94.1 %         10.0 %
    accuracy: of new speakers
    """
    (_, *heading), *lines = score_rows(scores)
    table = [[counted(scores.items, "item"), *heading], *lines]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text = []
    for first, *cells in table:
        numbers = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        text.append("  ".join([f"{first:<{widths[0]}}", *numbers]).rstrip())
    return "\n".join([*text, *filter(None, [beside_unknown(scores)]), *notes(scores)])


def score_rows(scores: Scores) -> list[list[str]]:
    """A heading, then what is told of each score: `rows`, or `beside_rows` of several guesses."""
    heading = ["", "score", "95 % interval", "trivial guess"]
    return beside_rows(scores) or [heading, *map(list, rows(scores))]


def rows(scores: Scores) -> list[tuple[str, str, str, str]]:
    """Name, value, 95 % interval and baseline of each score.

    >>> score = Score("accuracy", 0.936, 0.931, 0.9412, 0.1, "higher")
    >>> rows(Scores("classify", 10_000, "accuracy", (score,)))
    [('accuracy', '93.6 %', '93.1 to 94.1 %', '10.0 %')]
    """
    return [_row(score) for score in scores.scores]


def beside_rows(scores: Scores) -> list[list[str]]:
    """A heading, then name, value and what each trivial guess gets, of each score.

    Empty where scores have but one guess beside them.

    >>> score = Score("MAE", 0.25, None, None, 0.5, "lower", beside={"last value": 0.5})
    >>> beside_rows(Scores("forecast", 10, "MAE", (score,)))
    [['', 'score', 'last value'], ['MAE', '0.2500', '0.5000']]
    """
    names = list(dict.fromkeys(name for score in scores.scores for name in score.beside))
    if not names:
        return []
    lines = [["", "score", *names]]
    for score in scores.scores:
        cells = [_row(score)[1]]
        for name in names:
            known = name in score.beside
            cells.append(_row(replace(score, value=score.beside[name]))[1] if known else "")
        lines.append([score.name, *cells])
    return lines


def class_rows(scores: Scores) -> list[tuple[str, str, str, str, str]]:
    """Label, items, precision, recall and F1 of each class or label.

    >>> from gridcell.evaluation.scores import ClassScore
    >>> class_rows(Scores("classify", 0, "accuracy", (), (ClassScore("c", 0, None, None, None),)))
    [('c', '0', 'n/a', 'n/a (0 items)', 'n/a')]
    """
    return [
        (
            one.label,
            f"{one.items:,}",
            _share(one.precision),
            _share(one.recall) if one.items else "n/a (0 items)",
            _share(one.f1),
        )
        for one in scores.per_class
    ]


def confusion_rows(scores: Scores) -> list[list[str]]:
    """The confusion matrix with its names: a row a true class, a column a predicted one.

    Empty where the task has none.
    """
    if scores.confusion is None:
        return []
    lines = [["true \\ predicted", *scores.labels]]
    for label, items in zip(scores.labels, scores.confusion, strict=True):
        lines.append([label, *(f"{count:,}" for count in items)])
    return lines


def confused_pairs(scores: Scores, most: int = 5) -> list[str]:
    """The pairs of classes that were confused most often, a sentence each, the worst first.

    >>> confused_pairs(Scores("classify", 3, "accuracy", (), (), [[1, 2], [0, 0]], ("a", "b")))
    ['a taken for b 2 times']
    """
    if scores.confusion is None:
        return []
    pairs = [
        (count, truth, predicted)
        for truth, items in enumerate(scores.confusion)
        for predicted, count in enumerate(items)
        if count and truth != predicted
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [
        f"{scores.labels[truth]} taken for {scores.labels[predicted]} "
        f"{count:,} {'time' if count == 1 else 'times'}"
        for count, truth, predicted in pairs[:most]
    ]


def beside_a_guess(scores: Scores) -> str:
    """Say so where the main score is no better than a trivial guess's, or may not be; else "".

    Where all answers are one and the same class, that is said whatever the score.
    Of errors, whose size differs from item to item, an interval says little about a difference.

    >>> score = Score("accuracy", 0.1, 0.08, 0.12, 0.1, "higher")
    >>> beside_a_guess(Scores("classify", 270, "accuracy", (score,)))
    'It is no better than a trivial guess: accuracy 10.0 %, the guess 10.0 %.'
    """
    return " ".join(filter(None, [_beside_a_guess(scores), _one_answer(scores)]))


def _beside_a_guess(scores: Scores) -> str:
    score = next((each for each in scores.scores if each.name == scores.main), None)
    if score is None or score.value is None or score.baseline is None:
        return ""
    is_higher = score.better == "higher"
    is_better = score.value > score.baseline if is_higher else score.value < score.baseline
    is_doubtful = is_higher and score.low is not None and score.low <= score.baseline
    if is_better and not is_doubtful:
        return ""
    name, value, between, guess = _row(score)
    naive = [each for each, theirs in score.beside.items() if theirs == score.baseline]
    than = f"the naive forecast {naive[0]!r}" if naive else "a trivial guess"
    if not is_better:
        return f"It is no better than {than}: {name} {value}, the guess {guess}."
    return f"It may be no better than {than}: {name} {value} ({between}), the guess {guess}."


def _one_answer(scores: Scores) -> str:
    """Say so where items of several classes are all answered alike; else "".

    >>> _one_answer(Scores("classify", 26, "accuracy", (), (), [[0, 11], [0, 15]], ("a", "b")))
    "All answers are 'b'."
    """
    if scores.confusion is None or sum(map(any, scores.confusion)) < 2:
        return ""
    columns = zip(scores.labels, zip(*scores.confusion, strict=True), strict=True)
    answered = [label for label, column in columns if any(column)]
    return f"All answers are '{shown(answered[0])}'." if len(answered) == 1 else ""


def beside_unknown(scores: Scores) -> str:
    """Say which labels of the data the model does not know, and what that means; else "".

    >>> from gridcell.evaluation.scores import Unknown
    >>> told = Unknown(12, {"fox": 12}, "accuracy", 0.8)
    >>> print(beside_unknown(Scores("classify", 88, "accuracy", (), unknown=told)))
    12 items have the label 'fox', which the model does not know: they are left out. With them \
counted as wrong, accuracy is 80.0 %.
    """
    found = scores.unknown
    if found is None:
        return ""
    names = sorted(found.labels, key=lambda name: -found.labels[name])
    is_one = len(names) == 1
    have, they, are, them = (
        ("has", "it", "is", "it") if found.items == 1 else ("have", "they", "are", "them")
    )
    if found.unit in ("item", "step"):
        which = f"the label '{shown(names[0])}', which" if is_one else "labels that"
        what = f"{counted(found.items, found.unit)} {have} {which} the model does not know"
        each = "" if is_one else f" ({listed(f'{name} {found.labels[name]:,}' for name in names)})"
    else:
        what = f"The model does not know {counted(found.items, found.unit)} of the text"
        # Quoted, since a space or a comma among them would not be seen.
        each = f" ({listed(f'{name!r} {found.labels[name]:,}' for name in names)})"
    then = f"{they} {are} left out"
    if scores.task in LABELLED:
        then = f"{they} {are} scored by the labels that it knows"
    value = _share(found.value)
    return f"{what}{each}: {then}. With {them} counted as wrong, {found.score} is {value}."


def notes(scores: Scores) -> list[str]:
    """What has to be said beside the rows, a line for each score that has a note."""
    return [f"{score.name}: {score.note}" for score in scores.scores if score.note]


def _row(score: Score) -> tuple[str, str, str, str]:
    kind = score.name.split(" of ")[0]  # a column's score is called `MAE of NAME`
    factor, unit = (100.0, " %") if kind in PERCENT else (1.0, "")
    numbers = [score.value, score.low, score.high, score.baseline]
    value, low, high, baseline = (None if n is None else factor * n for n in numbers)
    if kind in PERCENT:
        style = f".{_percent_decimals(value)}f"
    elif kind in THREE_DECIMALS:
        style = ".3f"
    else:
        style = _four_digits(value or high or baseline)
    between = MISSING
    if low is not None and high is not None:
        between = f"{low:{style}} to {high:{style}}{unit}"
    return (
        score.name,
        MISSING if value is None else f"{value:{style}}{unit}",
        between,
        MISSING if baseline is None else f"{baseline:{style}}{unit}",
    )


def _share(share: float | None) -> str:
    if share is None:
        return MISSING
    return f"{100 * share:.{_percent_decimals(100 * share)}f} %"


def _percent_decimals(percent: float | None) -> int:
    """One decimal, more where one would make 100 or 0 of a value that is neither.

    >>> _percent_decimals(99.96), _percent_decimals(100.0)
    (2, 1)
    """
    decimals = 1
    if percent is None or percent in (0.0, 100.0):
        return decimals
    while decimals < MOST_DECIMALS and round(percent, decimals) in (0.0, 100.0):
        decimals += 1
    return decimals


def _four_digits(number: float | None) -> str:
    """The format that shows four digits of the number, with an exponent where it is long.

    >>> f"{12.3456:{_four_digits(12.3456)}}", f"{2e9:{_four_digits(2e9)}}"
    ('12.35', '2.000e+09')
    """
    if not number:
        return ".3f"
    places = math.floor(math.log10(abs(number)))
    return f".{max(0, 3 - places)}f" if -4 <= places < 7 else ".3e"
