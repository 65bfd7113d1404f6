from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridcell.doctor import Finding, examine
from gridcell.samples import TEST, TRAIN, UNASSIGNED, VALID, Samples


def samples(
    classes: Sequence[str],
    *,
    paths: Sequence[str] | None = None,
    contents: Any = None,
    **other: Any,
) -> Samples:
    """Items of these classes; every content is different unless `contents` numbers them."""
    count = len(classes)
    labels = tuple(sorted(set(classes)))
    numbers = np.arange(count) if contents is None else np.asarray(contents)
    digests = np.zeros((count, 2), np.int64)
    digests[:, 0] = numbers
    plain = Samples(
        kind="images",
        task="classify",
        paths=tuple(paths or [f"{name}/{i:x}k.png" for i, name in enumerate(classes)]),
        root="/data",
        labels=labels,
        targets=np.array([labels.index(name) for name in classes]),
        digests=digests.view("V16").reshape(-1),
        sizes=np.full((count, 2), 32, np.int32),
        colours=np.ones(count, np.bool_),
        given=np.full(count, UNASSIGNED, np.int8),
        modes=(("RGB", count),),
    )
    return replace(plain, **other)


def warnings(findings: Sequence[Finding]) -> str:
    return "\n".join(finding.text for finding in findings if finding.level == "warning")


def notes(findings: Sequence[Finding]) -> str:
    return "\n".join(finding.text for finding in findings if finding.level == "note")


def sides(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return np.array(values, np.int8)


def test_a_sound_data_set_gets_notes_only() -> None:
    findings = examine(samples(["a"] * 20 + ["b"] * 20), sides(*[TRAIN] * 20, *[TEST] * 20))
    assert warnings(findings) == ""
    assert "40 items in 2 classes: a 20, b 20." in notes(findings)
    assert "All images are 32x32 pixels (height x width)." in notes(findings)
    assert "Pixel formats: RGB 40; all colour." in notes(findings)


def test_warnings_come_first() -> None:
    levels = [finding.level for finding in examine(samples(["a"] * 40 + ["b"]))]
    assert levels == sorted(levels, reverse=True)


def test_imbalance_above_three_to_one_is_a_warning_with_a_way_out() -> None:
    text = warnings(examine(samples(["ok"] * 990 + ["fault"] * 10)))
    assert (
        "The largest class, ok (990), has 99 times as many items as the smallest, fault (10)"
        in text
    )
    assert "consider --class-weights balanced" in text
    assert warnings(examine(samples(["a"] * 30 + ["b"] * 10))) == ""


def test_a_class_too_small_to_judge_is_named() -> None:
    text = warnings(examine(samples(["a"] * 20 + ["b"] * 20 + ["c"])))
    assert "1 class has fewer than 10 items, too few to learn or to judge: c 1." in text


def test_classes_that_differ_in_case_alone_are_pointed_out() -> None:
    text = warnings(examine(samples(["Cat"] * 20 + ["cat"] * 20 + ["dog"] * 20)))
    assert "differ in upper and lower case alone are taken as different: Cat, cat." in text


def test_copies_with_one_answer_are_a_note() -> None:
    contents = [0, 0, 0, *range(3, 40)]
    findings = examine(samples(["a"] * 20 + ["b"] * 20, contents=contents))
    assert warnings(findings) == ""
    assert "2 files are copies of another one with the same answer, for instance" in notes(findings)
    assert "a/0k.png, a/1k.png, a/2k.png" in notes(findings)


def test_the_same_picture_under_two_answers_is_a_warning() -> None:
    contents = [*range(39), 0]
    text = warnings(examine(samples(["a"] * 20 + ["b"] * 20, contents=contents)))
    assert "1 picture stands under different answers (2 files), of which at most one can" in text
    assert "a/0k.png, b/27k.png" in text


def test_answers_may_differ_in_one_label_or_number() -> None:
    for task, targets in (
        ("labels", np.array([[1, 0], [1, 1], [0, 1]], np.float32)),
        ("regress", np.array([[0.5, 1], [0.5, 2], [3, 3]])),
    ):
        found = samples(["a", "a", "b"], contents=[7, 7, 8], task=task, targets=targets)
        assert "1 picture stands under different answers (2 files)" in warnings(examine(found))
        same = replace(found, targets=targets[[0, 0, 2]])
        assert "different answers" not in warnings(examine(same))


def test_a_picture_on_two_sides_of_the_split_is_a_warning() -> None:
    contents = [0, 1, 0, 1, 0, *range(5, 40)]
    split = sides(TRAIN, TRAIN, TEST, TRAIN, VALID, *[TRAIN] * 35)
    text = warnings(examine(samples(["a"] * 20 + ["b"] * 20, contents=contents), split))
    assert "1 picture stands on more than one side of the split" in text
    assert "(1 in train, 1 in valid, 1 in test), so scores are too good" in text


def test_rows_without_a_side_are_on_none() -> None:
    contents = [0, 0, *range(2, 40)]
    split = sides(TRAIN, UNASSIGNED, *[TRAIN] * 38)
    found = samples(["a"] * 20 + ["b"] * 20, contents=contents)
    assert "more than one side" not in warnings(examine(found, split))


def test_a_group_on_two_sides_of_the_split_is_a_warning() -> None:
    found = samples(
        ["a"] * 20 + ["b"] * 20, groups=np.arange(40) % 3, group_names=("p1", "p2", "p3")
    )
    split = sides(*np.where(np.arange(40) % 3 == 0, TEST, TRAIN))
    assert warnings(examine(found, split)) == ""
    split[1] = TEST
    text = warnings(examine(found, split))
    assert "1 group stands on more than one side of the split" in text
    assert "(12 in train, 1 in test), so scores are too good: p2." in text


def families(*, classes: int = 2, people: int = 12, shots: int = 5) -> list[str]:
    return [
        f"c{person % classes}/p{person:02d}_{shot}.png"
        for person in range(people)
        for shot in range(1, shots + 1)
    ]


def named(paths: Sequence[str], **other: Any) -> Samples:
    return samples([path.split("/")[0] for path in paths], paths=paths, **other)


def test_file_names_in_families_hint_at_groups() -> None:
    text = warnings(examine(named(families())))
    assert "File names come in 12 families, such as p00_1, p00_2" in text
    assert "write it in a column of a table and name it with --group" in text


def test_families_torn_by_the_split_are_counted() -> None:
    split = np.zeros(60, np.int8)
    split[[3, 4, 8]] = TEST
    assert "two sides of the split (2 do)." in warnings(examine(named(families()), split))


@pytest.mark.parametrize(
    "names",
    [
        [f"c{n % 2}/IMG_{n:04d}.jpg" for n in range(60)],  # a camera counts
        [f"c{n % 4}/c{n % 4}_{n}.jpg" for n in range(60)],  # numbered by class
        [f"c{n % 2}/{n * 7919 % 1009:x}-{n}.jpg" for n in range(60)],  # a name each
        [f"c{n % 2}/{n}.jpg" for n in range(60)],
        [*families(people=6), *(f"c{n % 2}/only{n}.png" for n in range(60))],  # half of them
    ],
)
def test_other_numbered_names_hint_at_nothing(names: list[str]) -> None:
    assert "families" not in warnings(examine(named(names)))


def test_families_need_no_hint_where_groups_are_known_or_names_are_rows() -> None:
    known = named(families(), groups=np.zeros(60, np.int64), group_names=("x",))
    assert "families" not in warnings(examine(known))
    rows = named(families(), pixels=np.zeros((60, 2, 2, 1), np.uint8))
    assert "families" not in warnings(examine(rows))


def test_sizes_are_told_by_smallest_largest_and_median() -> None:
    found = samples(["a"] * 20 + ["b"] * 20)
    found.sizes[0], found.sizes[1] = (2, 1), (768, 1024)
    text = notes(examine(found))
    assert "smallest 2x1 (a/0k.png), largest 768x1024 (a/1k.png), median 32x32." in text


def test_pixel_formats_are_counted_with_colour_and_grey() -> None:
    found = samples(["a"] * 20 + ["b"] * 20, modes=(("RGB", 30), ("L", 10)))
    found.colours[:10] = False
    text = notes(examine(found))
    assert "Pixel formats: RGB 30, L 10; 30 colour and 10 grey, all read as colour." in text
    found.colours[:] = False
    assert "all grey." in notes(examine(found))


def test_labels_are_counted_and_constant_ones_named() -> None:
    targets = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    found = samples(["a"] * 3, task="labels", labels=("red", "all", "never"), targets=targets)
    findings = examine(found)
    assert "3 items, labels: red 2, all 3, never 0." in notes(findings)
    assert "the same for every item teach nothing: all, never." in warnings(findings)


def test_numbers_to_learn_have_no_classes_to_count() -> None:
    found = samples(["a"] * 3, task="regress", labels=("x",), targets=np.array([[1.0], [2], [3]]))
    assert "class" not in notes(examine(found)) + warnings(examine(found))


def test_every_finding_is_one_sentence_that_ends() -> None:
    contents = [0, 1, 0, 1, 0, *range(5, 60)]
    split = sides(TRAIN, TRAIN, TEST, TRAIN, VALID, *[TRAIN] * 55)
    findings = examine(named(families(), contents=contents), split)
    assert len(findings) > 4
    for finding in findings:
        assert finding.text.endswith(".") and ". " not in finding.text
