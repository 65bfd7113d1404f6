from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridcell.doctor import Finding, examine
from gridcell.samples import (
    TEST,
    TRAIN,
    UNASSIGNED,
    VALID,
    ClipFacts,
    ImageFacts,
    Samples,
    SoundFacts,
)


def images(count: int, **other: Any) -> ImageFacts:
    plain = ImageFacts(
        sizes=np.full((count, 2), 32, np.int32),
        colours=np.ones(count, np.bool_),
        modes=np.full(count, b"RGB"),
    )
    return replace(plain, **other)


def sounds(
    seconds: Sequence[float], *, rates: Sequence[int] = (), channels: Sequence[int] = ()
) -> SoundFacts:
    return SoundFacts(
        seconds=np.array(seconds),
        rates=np.array(rates or [8000] * len(seconds), np.int32),
        channels=np.array(channels or [1] * len(seconds), np.int16),
        formats=np.full(len(seconds), b"WAV PCM_16"),
    )


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
        task="classify",
        paths=tuple(paths or [f"{name}/{i:x}k.png" for i, name in enumerate(classes)]),
        root="/data",
        labels=labels,
        targets=np.array([labels.index(name) for name in classes]),
        digests=digests.view("V16").reshape(-1),
        facts=images(count),
        given=np.full(count, UNASSIGNED, np.int8),
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


def test_copies_whose_files_differ_are_told_like_others() -> None:
    alike = np.arange(40)
    alike[[1, 2]], alike[39] = 0, 4
    found = samples(["a"] * 20 + ["b"] * 20, alike=alike)
    split = sides(TRAIN, TEST, *[TRAIN] * 38)
    findings = examine(found, split)
    assert "2 files are copies of another one with the same answer, for instance" in notes(findings)
    assert "1 image stands under different answers (2 files)" in warnings(findings)
    assert "1 image stands on more than one side of the split (2 in train, 1 in test)" in warnings(
        findings
    )


def test_the_same_picture_under_two_answers_is_a_warning() -> None:
    contents = [*range(39), 0]
    text = warnings(examine(samples(["a"] * 20 + ["b"] * 20, contents=contents)))
    assert "1 image stands under different answers (2 files), of which at most one can" in text
    assert "a/0k.png, b/27k.png" in text


def test_answers_may_differ_in_one_label_or_number() -> None:
    for task, targets in (
        ("labels", np.array([[1, 0], [1, 1], [0, 1]], np.float32)),
        ("regress", np.array([[0.5, 1], [0.5, 2], [3, 3]])),
    ):
        found = samples(["a", "a", "b"], contents=[7, 7, 8], task=task, targets=targets)
        assert "1 image stands under different answers (2 files)" in warnings(examine(found))
        same = replace(found, targets=targets[[0, 0, 2]])
        assert "different answers" not in warnings(examine(same))


def test_items_that_have_none_of_several_labels_are_counted() -> None:
    targets = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], np.float32)
    found = samples(["a", "b", "a", "b"], task="labels", targets=targets)
    assert "4 items, labels: a 2, b 2; 1 has none of them." in notes(examine(found))
    assert "none of them" not in notes(examine(replace(found, targets=targets[[0, 0, 2, 3]])))


def test_a_picture_on_two_sides_of_the_split_is_a_warning() -> None:
    contents = [0, 1, 0, 1, 0, *range(5, 40)]
    split = sides(TRAIN, TRAIN, TEST, TRAIN, VALID, *[TRAIN] * 35)
    text = warnings(examine(samples(["a"] * 20 + ["b"] * 20, contents=contents), split))
    assert "1 image stands on more than one side of the split" in text
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
    assert "say so with --group '{family}_*', so that none" in text


def test_sides_of_one_person_are_a_family() -> None:
    paths = [f"c{n % 2}/subject{n // 4:02d}_{('left', 'right')[n // 2 % 2]}.csv" for n in range(60)]
    text = warnings(examine(named(paths)))
    assert "in 15 families, such as subject00_left, subject00_left: if" in text
    assert "say so with --group '{family}_*'" in text


def test_families_that_no_plain_pattern_gives_have_one_as_an_example() -> None:
    paths = [path.replace("/p", "/day_p") for path in families()]
    text = warnings(examine(named(paths)))
    assert "say where it stands in the names with --group, as in '{patient}_*', or name a" in text


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
    rows = named(families(), facts=images(60, pixels=np.zeros((60, 2, 2, 1), np.uint8)))
    assert "families" not in warnings(examine(rows))


def test_sizes_are_told_by_smallest_largest_and_median() -> None:
    found = samples(["a"] * 20 + ["b"] * 20)
    assert isinstance(found.facts, ImageFacts)
    found.facts.sizes[:2] = (2, 1), (768, 1024)
    text = notes(examine(found))
    assert "smallest 2x1 (a/0k.png), largest 768x1024 (a/1k.png), median 32x32." in text


def test_pixel_formats_are_counted_with_colour_and_grey() -> None:
    facts = images(40, modes=np.array([b"RGB"] * 30 + [b"L"] * 10))
    facts.colours[:10] = False
    found = samples(["a"] * 20 + ["b"] * 20, facts=facts)
    text = notes(examine(found))
    assert "Pixel formats: RGB 30, L 10; 30 colour and 10 grey, all read as colour." in text
    facts.colours[:] = False
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


def test_sounds_are_told_by_duration_rate_and_channels() -> None:
    facts = sounds([0.25, 1.0, 2.5, 1.0], rates=[8000, 8000, 16000, 8000], channels=[1, 2, 2, 6])
    text = notes(examine(samples(["a", "b"] * 2, facts=facts)))
    assert "Durations: shortest 0.25 s (a/0k.png), median 1 s, longest 2.5 s (a/2k.png)." in text
    assert "Rates: 8000 Hz 3, 16000 Hz 1." in text
    assert "Channels: stereo 2, mono 1, 6 channels 1." in text
    assert "File formats: WAV PCM_16 4." in text
    assert "Durations: all 1 s." in notes(examine(samples(["a", "b"], facts=sounds([1.0, 1.0]))))


def test_clips_are_told_by_size_and_duration() -> None:
    facts = ClipFacts(
        sizes=np.array([[48, 64], [96, 128], [48, 64]], np.int32),
        seconds=np.array([1.0, np.nan, 3.0]),
        colours=np.ones(3, np.bool_),
        formats=np.full(3, b"h264"),
    )
    text = notes(examine(samples(["a", "b", "a"], facts=facts)))
    assert "Clip sizes (height x width): smallest 48x64 (a/0k.png), largest 96x128" in text
    assert "shortest 1 s (a/0k.png), median 2 s, longest 3 s (a/2k.png); 1 headers do not" in text
    nothing = replace(facts, seconds=np.full(3, np.nan))
    assert "Durations: no header says any." in notes(examine(samples(["a"] * 3, facts=nothing)))


def giveaways(classes: Sequence[str], facts: SoundFacts | ClipFacts) -> list[str]:
    found = examine(samples(classes, facts=facts))
    return [finding.text for finding in found if "tells the class" in finding.text]


def test_a_rate_that_tells_the_class_is_a_warning_with_its_figures() -> None:
    rates = [8000] * 19 + [16000] * 20 + [8000]
    (text,) = giveaways(["a"] * 20 + ["b"] * 20, sounds([1.0] * 40, rates=rates))
    assert "The sample rate tells the class (8000 Hz: 19 of 20 a and 1 of 20 others, " in text
    assert "16000 Hz: 19 of 20 b and 1 of 20 others)" in text


def test_one_class_of_many_may_be_given_away() -> None:
    classes = [name for name in "abcd" for _ in range(20)]
    channels = [2] * 15 + [1] * 65
    (text,) = giveaways(classes, sounds([1.0] * 80, channels=channels))
    assert "number of channels tells the class (stereo: 15 of 20 a and 0 of 60 others)" in text


def test_durations_that_tell_the_class_are_a_warning() -> None:
    seconds = [1.0, 2.0] * 10 + [3.0] * 20
    (text,) = giveaways(["a"] * 20 + ["b"] * 20, sounds(seconds))
    assert "The duration tells the class (1 s or 2 s: 20 of 20 a and 0 of 20 others, " in text


def test_a_clips_frame_size_that_tells_the_class_is_a_warning() -> None:
    sizes = np.array([[48, 64]] * 20 + [[64, 48]] * 20, np.int32)
    facts = ClipFacts(sizes, np.full(40, np.nan), np.ones(40, np.bool_))
    (text,) = giveaways(["a"] * 20 + ["b"] * 20, facts)
    assert "The frame size tells the class (48x64 pixels: 20 of 20 a and 0 of 20 others, " in text


@pytest.mark.parametrize(
    ("classes", "facts"),
    [
        (["a"] * 20 + ["b"] * 20, sounds([1.0] * 40)),  # one rate
        (["a"] * 20 + ["b"] * 20, sounds([1.0] * 40, rates=[8000, 16000] * 20)),  # no relation
        (["a"] * 20 + ["b"] * 20, sounds(list(np.linspace(1, 9, 40)))),  # each its own duration
        (["a"] * 98 + ["b"] * 2, sounds([1.0] * 100, rates=[8000] * 90 + [16000] * 10)),  # rare b
        (["a"] * 100 + ["b"] * 100, sounds([1.0] * 200, rates=[8000] * 20 + [16000] * 180)),  # few
        (["a"] * 9 + ["b"] * 9, sounds([1.0] * 18, rates=[8000] * 9 + [16000] * 9)),  # too few
    ],
)
def test_other_facts_give_nothing_away(classes: list[str], facts: SoundFacts) -> None:
    assert giveaways(classes, facts) == []


def test_numbers_to_learn_have_no_class_to_give_away() -> None:
    facts = sounds([1.0] * 40, rates=[8000] * 20 + [16000] * 20)
    targets = np.arange(40.0)[:, None]
    found = samples(["a"] * 40, task="regress", labels=("x",), targets=targets, facts=facts)
    assert warnings(examine(found)) == ""


def test_copies_are_named_after_their_kind() -> None:
    found = samples(["a", "b", "a"], contents=[7, 7, 8], facts=sounds([1.0, 1.0, 2.0]))
    assert "1 sound stands under different answers (2 files)" in warnings(examine(found))
