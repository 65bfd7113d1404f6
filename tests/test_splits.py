"""Who goes where: what must hold for every data set, and the words for what cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridcell import splits
from gridcell.config import SplitConfig
from gridcell.errors import ConfigError, SplitError
from gridcell.samples import TEST, TRAIN, UNASSIGNED, VALID, ImageFacts, Samples
from gridcell.splits import Parts, split

steady = settings(deadline=None, derandomize=True, max_examples=60)


def made(
    targets: Any,
    *,
    task: Any = "classify",
    digests: Any = None,
    groups: Any = None,
    given: Any = None,
    names: tuple[str, ...] = (),
) -> Samples:
    """Samples with these answers; `digests` are numbers, equal where files are equal."""
    answers = np.asarray(targets)
    count = len(answers)
    numbers = np.arange(count) + 1000 if digests is None else np.asarray(digests)
    words = np.stack([numbers, numbers * 0], axis=1).astype(np.uint64)
    width = int(answers.max()) + 1 if task == "classify" else answers.reshape(count, -1).shape[1]
    assigned = np.full(count, UNASSIGNED) if given is None else np.asarray(given)
    return Samples(
        task=task,
        paths=tuple(f"{k}.png" for k in range(count)),
        root="photos",
        labels=names or tuple("abcdefghijklmnopqrstuvwxyz"[:width]),
        targets=answers,
        digests=words.view("V16").reshape(count),
        facts=ImageFacts(np.full((count, 2), 8, dtype=np.int32), np.ones(count, dtype=np.bool_)),
        given=assigned.astype(np.int8),
        groups=None if groups is None else np.asarray(groups, dtype=np.int64),
        group_names=() if groups is None else tuple(f"p{k:02}" for k in range(100)),
    )


def shares(valid: float, test: float, group: str | None = None) -> SplitConfig:
    return SplitConfig(valid=valid, test=test, group=group)


def counts(parts: Parts) -> tuple[int, int, int]:
    return len(parts.rows("train")), len(parts.rows("valid")), len(parts.rows("test"))


def by_class(samples: Samples, parts: Parts, name: str) -> list[int]:
    targets = samples.targets.astype(np.int64)
    tally = np.bincount(targets[parts.rows(name)], minlength=len(samples.labels))
    return [int(count) for count in tally]


def sides(labels: NDArray[Any], parts: Parts) -> int:
    """Return on how many sides the most scattered label stands."""
    return max(len(set(parts.split[labels == label].tolist())) for label in set(labels.tolist()))


# --- What always holds ---------------------------------------------------------------------------


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Samples, SplitConfig, int]:
    count = draw(st.integers(12, 80))
    seed = draw(st.integers(0, 2**32 - 1))
    chance = np.random.default_rng(seed)
    task = draw(st.sampled_from(["classify", "labels", "regress"]))
    if task == "classify":
        targets: Any = chance.integers(0, draw(st.integers(1, 5)), count)
    elif task == "labels":
        targets = (chance.random((count, 3)) < 0.4).astype(np.float32)
    else:
        targets = chance.normal(size=(count, draw(st.integers(1, 2))))
    digests = chance.integers(0, draw(st.sampled_from([count // 2, count * 50])), count)
    groups = chance.integers(0, draw(st.integers(4, 20)), count) if draw(st.booleans()) else None
    config = shares(draw(st.sampled_from([0, 0.1, 0.2])), draw(st.sampled_from([0, 0.15, 0.3])))
    return made(targets, task=task, digests=digests, groups=groups), config, seed


@steady
@given(data_sets())
def test_parts_are_a_partition_and_nothing_stands_on_two_sides(
    case: tuple[Samples, SplitConfig, int],
) -> None:
    samples, config, seed = case
    try:
        parts = split(samples, config, seed=seed)
    except SplitError:
        return  # too few groups: the words are read elsewhere
    every = np.concatenate([parts.rows(name) for name in ("train", "valid", "test")])
    assert sorted(every.tolist()) == list(range(len(samples)))
    assert parts.split.dtype == np.int8 and every.dtype == np.int64
    assert sides(samples.digests.view(np.uint64)[::2], parts) == 1
    if samples.groups is not None:
        assert sides(samples.groups, parts) == 1
    assert counts(parts)[0] > 0
    assert (counts(parts)[1] > 0) == (config.valid > 0)
    assert (counts(parts)[2] > 0) == (config.test > 0)
    if samples.task == "classify":
        learnt = set(samples.targets[parts.rows("train")].tolist())
        assert learnt == set(samples.targets.tolist()), "no class is without a training item"


@steady
@given(data_sets())
def test_the_same_seed_gives_the_same_parts(case: tuple[Samples, SplitConfig, int]) -> None:
    samples, config, seed = case
    try:
        first = split(samples, config, seed=seed)
    except SplitError as error:
        with pytest.raises(SplitError) as again:
            split(samples, config, seed=seed)
        assert str(again.value) == str(error)
        return
    second = split(samples, config, seed=seed)
    np.testing.assert_array_equal(first.split, second.split)
    assert first.notes == second.notes


@steady
@given(
    st.lists(st.integers(2, 60), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.1, 0.25]),
    st.sampled_from([0.1, 0.15, 0.3]),
    st.integers(0, 99),
)
def test_single_items_give_each_part_its_share_of_each_class(
    sizes: list[int], valid: float, test: float, seed: int
) -> None:
    if sum(sizes) < 4:
        return
    samples = made(np.repeat(np.arange(len(sizes)), sizes))
    parts = split(samples, shares(valid, test), seed=seed)
    total = sum(sizes)
    assert counts(parts)[2] == max(1, round(test * total))
    for k, size in enumerate(sizes):
        assert abs(by_class(samples, parts, "test")[k] - test * size) <= 1
    if total >= 20:
        assert abs(counts(parts)[1] - valid * total) <= 1


@steady
@given(st.integers(0, 10_000), st.integers(12, 40))
def test_groups_of_unlike_size_come_close_to_the_shares(seed: int, groups: int) -> None:
    chance = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), chance.integers(2, 9, groups))
    samples = made(chance.integers(0, 2, len(group)), groups=group)
    parts = split(samples, shares(0.2, 0.2, "patient"), seed=seed)
    got = np.array(counts(parts)) / len(group)
    largest = np.bincount(group).max() / len(group)
    assert np.abs(got - (0.6, 0.2, 0.2)).max() <= largest


def test_another_seed_is_another_split() -> None:
    samples = made(np.repeat([0, 1], 50))
    grouped = made(np.repeat([0, 1], 50), groups=np.arange(100) // 5)
    for case in (samples, grouped):
        seen = {split(case, shares(0.1, 0.15), seed=s).split.tobytes() for s in range(6)}
        assert len(seen) == 6


def test_the_order_of_the_classes_gains_nothing() -> None:
    samples = made(np.repeat(np.arange(10), 4))
    got = [by_class(samples, split(samples, shares(0, 0.15), seed=s), "test") for s in range(200)]
    assert all(sum(row) == 6 for row in got)
    assert np.abs(np.mean(got, axis=0) - 0.6).max() < 0.12


# --- Shares --------------------------------------------------------------------------------------


def test_a_share_of_nothing_is_an_empty_part() -> None:
    samples = made(np.repeat([0, 1], 10))
    assert counts(split(samples, shares(0, 0), seed=0)) == (20, 0, 0)
    assert counts(split(samples, shares(0.2, 0), seed=0)) == (16, 4, 0)
    parts = split(samples, shares(0, 0.2), seed=0)
    assert counts(parts) == (16, 0, 4)
    assert parts.notes == (
        "Split at random, each class in its share: train 16, valid 0, test 4.",
        "valid is empty: the data has no such split and its share is 0.",
    )


def test_the_usual_shares_of_a_hundred() -> None:
    samples = made(np.repeat([0, 1], [60, 40]))
    parts = split(samples, SplitConfig(), seed=3)
    assert counts(parts) == (75, 10, 15)
    assert by_class(samples, parts, "test") == [9, 6]
    assert by_class(samples, parts, "valid") == [6, 4]
    assert parts.notes == (
        "Split at random, each class in its share: train 75, valid 10, test 15.",
    )


def test_a_class_with_one_item_is_learnt_and_named_as_not_evaluated() -> None:
    samples = made(np.repeat([0, 1, 2], [20, 20, 1]))
    parts = split(samples, shares(0, 0.2), seed=0)
    assert by_class(samples, parts, "train") == [16, 16, 1]
    assert by_class(samples, parts, "test") == [4, 4, 0]
    assert "c: 1 item, not evaluated." in parts.notes


def test_a_class_in_one_group_or_of_copies_is_learnt_and_named() -> None:
    samples = made(np.repeat([0, 1, 2], [20, 20, 3]), digests=[*range(40), 77, 77, 77])
    parts = split(samples, shares(0.1, 0.2), seed=1)
    assert by_class(samples, parts, "train")[2] == 3
    assert "c: 3 items, not evaluated." in parts.notes
    assert "3 items are copies of 1 files; copies stand on one side." not in parts.notes
    assert "3 items are copies of 1 file; copies stand on one side." in parts.notes


@pytest.mark.parametrize("copies", [2, 5, 20])
@pytest.mark.parametrize("alone", [40, 3000])
def test_a_class_of_copies_gives_each_part_its_share_beside_many_single_items(
    copies: int, alone: int
) -> None:
    """A hundred files that stand there several times, beside another class of single ones."""
    files = np.repeat(np.arange(100), copies)
    digests = [*range(5000, 5000 + alone), *files]
    samples = made(np.repeat([0, 1], [alone, len(files)]), digests=digests)
    parts = split(samples, shares(0.2, 0.2), seed=1)
    for name, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
        found = by_class(samples, parts, name)[1] / len(files)
        assert found == pytest.approx(share, abs=0.06), name
    assert not any("not evaluated" in note for note in parts.notes)


def test_many_classes_of_one_item_are_named_up_to_twelve_and_counted() -> None:
    names = tuple(f"class {k:02}" for k in range(20))
    samples = made([*([0] * 20), *range(1, 20)], names=names)
    notes = split(samples, shares(0, 0.2), seed=0).notes
    assert sum("not evaluated." in note for note in notes) == 12
    assert "7 more are not evaluated: all their items are in training." in notes


def test_a_class_without_a_test_item_is_named() -> None:
    samples = made(np.repeat([0, 1], [95, 2]))
    for seed in range(5):
        parts = split(samples, shares(0.3, 0.01), seed=seed)
        if by_class(samples, parts, "valid")[1] and not by_class(samples, parts, "test")[1]:
            assert "Without a test item: b (2)." in parts.notes
            return
    pytest.fail("no seed made the case")


def test_labels_keep_their_shares_and_a_lone_label_is_learnt() -> None:
    targets = np.zeros((201, 3), dtype=np.float32)
    targets[:100, 0] = 1
    targets[60:160, 1] = 1
    targets[200, 2] = 1
    samples = made(targets, task="labels")
    parts = split(samples, shares(0.1, 0.2), seed=0)
    held = targets[parts.rows("test")].sum(0)
    assert abs(held[0] - 20) <= 1 and abs(held[1] - 20) <= 1
    assert parts.split[200] == TRAIN and "c: 1 item, not evaluated." in parts.notes
    assert parts.notes[0].startswith("Split at random, each combination of labels in its share: ")


def test_numbers_are_balanced_from_small_to_large() -> None:
    values = np.random.default_rng(0).lognormal(size=(200, 1))
    samples = made(values, task="regress")
    parts = split(samples, shares(0.1, 0.2), seed=0)
    assert counts(parts) == (140, 20, 40)
    ranks = values[:, 0].argsort().argsort() // 20
    assert np.bincount(ranks[parts.rows("test")], minlength=10).tolist() == [4] * 10
    assert np.bincount(ranks[parts.rows("valid")], minlength=10).tolist() == [2] * 10
    assert parts.notes[0].startswith("Split at random, small and large numbers in their share: ")


# --- What must stay together ---------------------------------------------------------------------


def test_no_patient_stands_on_two_sides_and_it_is_said() -> None:
    samples = made(np.arange(30) % 2, groups=np.arange(30) // 3)
    parts = split(samples, shares(0.1, 0.2, "patient"), seed=0)
    assert samples.groups is not None and sides(samples.groups, parts) == 1
    assert counts(parts) == (21, 3, 6)
    assert "0 of 10 groups shared between splits." in parts.notes


def test_equal_files_tie_their_groups_together() -> None:
    digests = [*range(12)]
    digests[11] = 0  # group 3 holds a file of group 0
    samples = made(np.arange(12) % 2, groups=np.arange(12) // 3, digests=digests)
    for seed in range(10):
        parts = split(samples, shares(0.2, 0.2), seed=seed)
        assert parts.split[0] == parts.split[11] == parts.split[9]


def test_items_that_are_alike_stand_on_one_side_and_are_counted() -> None:
    """As a picture that was saved as PNG and as BMP: their digests differ."""
    alike = np.arange(40)
    alike[[7, 30]], alike[31] = 0, 12
    samples = replace(made(np.arange(40) % 2), alike=alike)
    for seed in range(10):
        parts = split(samples, shares(0.2, 0.2), seed=seed)
        assert sides(alike, parts) == 1
        assert "5 items are copies of 2 files; copies stand on one side." in parts.notes


def test_copies_by_digest_and_items_that_are_alike_are_joined() -> None:
    digests = [*range(40)]
    digests[20] = 7
    alike = np.arange(40)
    alike[[7, 20]] = 3
    samples = replace(made(np.arange(40) % 2, digests=digests), alike=alike)
    assert samples.contents[3] == samples.contents[7] == samples.contents[20]
    assert len(np.unique(samples.contents)) == 38 == samples.contents.max() + 1
    assert samples.has_unlike_copies and not replace(samples, alike=None).has_unlike_copies
    turned = samples.take(np.arange(39, -1, -1))
    assert len(np.unique(turned.contents[[39 - 3, 39 - 7, 39 - 20]])) == 1


@steady
@given(data_sets())
def test_without_items_that_are_alike_a_split_is_as_the_digests_make_it(
    case: tuple[Samples, SplitConfig, int],
) -> None:
    samples, config, seed = case
    values = np.unique(samples.digests, return_index=True, return_inverse=True)
    alike = values[1][values[2].reshape(-1)]  # copies of a file decode to the same
    try:
        parts = split(samples, config, seed=seed)
    except SplitError:
        return
    for known in (alike, np.arange(len(samples))):
        again = split(replace(samples, alike=known), config, seed=seed)
        np.testing.assert_array_equal(again.split, parts.split)
        assert again.notes == parts.notes
    assert not replace(samples, alike=alike).has_unlike_copies


def test_items_that_are_alike_tie_their_groups_together() -> None:
    alike = np.arange(12)
    alike[11] = 0
    samples = replace(made(np.arange(12) % 2, groups=np.arange(12) // 3), alike=alike)
    for seed in range(10):
        parts = split(samples, shares(0.2, 0.2), seed=seed)
        assert parts.split[0] == parts.split[11] == parts.split[9]


def test_a_class_that_is_one_group_stays_in_training() -> None:
    samples = made(np.repeat([0, 1, 2], [30, 30, 3]), groups=np.arange(63) // 3)
    for seed in range(20):
        parts = split(samples, shares(0.3, 0.5), seed=seed)  # its shares draw it to the test rows
        assert by_class(samples, parts, "train")[2] == 3
        assert "c: 3 items, not evaluated." in parts.notes


def test_our_own_mistake_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(units: NDArray[np.int64], *_: Any, **__: Any) -> NDArray[np.int8]:
        return (np.arange(len(units)) % 3).astype(np.int8)

    monkeypatch.setattr(splits, "_shared_out", careless)
    with pytest.raises(AssertionError, match="a group or a file stands in two parts"):
        split(made(np.arange(30) % 2, groups=np.arange(30) // 3), shares(0.1, 0.1), seed=0)


# --- Splits that the data brings -----------------------------------------------------------------


def test_given_splits_are_kept() -> None:
    given_parts = np.repeat([TRAIN, VALID, TEST], [6, 2, 2])
    parts = split(made(np.arange(10) % 2, given=given_parts), SplitConfig(), seed=0)
    np.testing.assert_array_equal(parts.split, given_parts)
    assert parts.notes == ("The data's own splits are kept: train 6, valid 2, test 2.",)


def test_a_missing_validation_split_is_taken_from_training_alone() -> None:
    given_parts = np.repeat([TRAIN, TEST], [100, 20])
    samples = made(np.arange(120) % 2, given=given_parts)
    parts = split(samples, SplitConfig(valid=0.1), seed=0)
    assert counts(parts) == (90, 10, 20)
    assert (parts.split[100:] == TEST).all()
    assert by_class(samples, parts, "valid") == [5, 5]
    assert parts.notes == (
        "The data's own splits are kept: train 90, valid 10, test 20.",
        "The data has no valid split; it was taken at random from the 100 training items.",
    )
    assert counts(split(samples, SplitConfig(valid=0), seed=0)) == (100, 0, 20)


def test_a_missing_test_split_is_taken_from_training_and_not_from_validation() -> None:
    samples = made(np.arange(120) % 2, given=np.repeat([TRAIN, VALID], [100, 20]))
    parts = split(samples, SplitConfig(test=0.2), seed=0)
    assert counts(parts) == (80, 20, 20)
    assert (parts.split[100:] == VALID).all()
    taken = "The data has no test split; it was taken at random from the 100 training items."
    assert taken in parts.notes


@pytest.mark.parametrize("name", ["valid", "test"])
def test_a_share_of_what_the_data_hold_out_themselves_is_refused(name: str) -> None:
    samples = made(np.arange(120) % 2, given=np.repeat([TRAIN, VALID, TEST], [80, 20, 20]))
    with pytest.raises(ConfigError) as caught:
        split(samples, SplitConfig(**{name: 0.3}), seed=0)
    assert str(caught.value) == (
        f"{name} has no effect: the data name their own {name} rows.\n  Fix: leave --{name} out."
    )


def test_a_training_split_alone_gives_both_others() -> None:
    parts = split(made(np.arange(100) % 2, given=np.full(100, TRAIN)), SplitConfig(), seed=0)
    assert counts(parts) == (75, 10, 15)
    assert any(
        note.startswith("The data has no valid and test split; they") for note in parts.notes
    )


def test_files_that_the_given_splits_share_are_counted_and_left() -> None:
    digests = np.arange(12)
    digests[10] = 3
    given_parts = np.repeat([TRAIN, VALID, TEST], [8, 2, 2])
    parts = split(
        made(np.arange(12) % 2, digests=digests, given=given_parts), SplitConfig(), seed=0
    )
    np.testing.assert_array_equal(parts.split, given_parts)
    assert parts.notes[1] == (
        "Warning: 2 items are files that the data's own splits hold in more than one part; they "
        "were left there, so the scores may be too good."
    )


def test_a_class_that_training_lacks_is_named() -> None:
    given_parts = np.repeat([TRAIN, VALID, TEST], [4, 2, 2])
    parts = split(made([0, 1, 0, 1, 0, 1, 0, 2], given=given_parts), SplitConfig(), seed=0)
    assert "Warning: no training item of c; it cannot be learnt." in parts.notes


# --- What cannot be done -------------------------------------------------------------------------


def refused(samples: Samples, config: SplitConfig) -> list[str]:
    with pytest.raises(SplitError) as caught:
        split(samples, config, seed=0)
    return str(caught.value).splitlines()


def test_too_few_groups_are_refused_with_the_counts() -> None:
    samples = made(np.arange(20) % 2, groups=np.arange(20) // 10)
    assert refused(samples, shares(0.1, 0.15, "patient")) == [
        "2 groups cannot fill 3 splits (train, valid, test) without standing in two.",
        "  Fix: leave a part out with --valid 0 or --test 0, or leave out --group.",
    ]
    joined = replace(made(np.arange(30) % 2, digests=[*range(29), 0]), groups=np.arange(30) // 10)
    assert refused(joined, shares(0.1, 0.15))[0] == (
        "3 groups, 2 after joining those that share files, cannot fill 3 splits (train, valid, "
        "test) without standing in two."
    )


def test_too_few_items_are_refused_with_the_counts() -> None:
    assert refused(made([0, 1]), shares(0.1, 0.15)) == [
        "2 different items cannot fill 3 splits (train, valid, test) without standing in two.",
        "  Fix: leave a part out with --valid 0 or --test 0.",
    ]
    assert refused(made([0, 0], digests=[5, 5]), shares(0, 0.15))[0].startswith(
        "1 different item (all 2 are the same image) cannot fill 2 splits (train, test)"
    )
    assert refused(made([0, 0, 0], digests=[5, 5, 6]), shares(0.1, 0.15))[0].startswith(
        "2 different items (3 with their copies) cannot fill 3 splits"
    )


def test_classes_of_one_item_each_leave_nothing_to_evaluate() -> None:
    assert refused(made([0, 1, 2, 3]), shares(0, 0.2)) == [
        "no item is left for test: each class keeps one in training, and 4 items of 4 classes, 4 "
        "that can be placed by themselves, leave none over.",
        "  Fix: add items, or leave a part out with --test 0.",
    ]


def test_items_that_a_given_split_forgets_are_refused() -> None:
    samples = made([0, 1, 0, 1], given=[TRAIN, TEST, UNASSIGNED, UNASSIGNED])
    assert refused(samples, SplitConfig()) == [
        "2 of 4 items are in no split, for instance 2.png, while the data names the split of the "
        "others (train 1, test 1).",
        "  Fix: give each item a split (train, valid or test), or give none.",
    ]


def test_given_splits_without_training_are_refused() -> None:
    assert refused(made([0, 1, 0], given=[TEST, TEST, VALID]), SplitConfig()) == [
        "the data's own splits hold no training items (valid 1, test 2).",
        "  Fix: name one of the splits train, or remove the splits to have them made.",
    ]


def test_given_splits_that_cut_through_a_group_are_refused() -> None:
    samples = made([0, 1, 0, 1], groups=[0, 0, 1, 2], given=[TRAIN, TEST, TRAIN, TEST])
    assert refused(samples, shares(0.1, 0.1, "patient")) == [
        "1 of 3 groups stands in more than one of the data's own splits: p00.",
        "  Fix: correct the splits, or leave out --group.",
    ]


def test_a_hundred_thousand_items_are_split_in_a_moment() -> None:
    chance = np.random.default_rng(0)
    samples = made(chance.integers(0, 20, 100_000))
    parts = split(samples, SplitConfig(valid=0.1), seed=0)
    assert counts(parts) == (75_000, 10_000, 15_000)


@pytest.mark.parametrize(("items", "valid"), [(20_000, 2000), (25_000, 2500), (100_000, 2500)])
def test_a_tenth_of_many_items_is_more_than_is_held_out_unasked(items: int, valid: int) -> None:
    samples = made(np.arange(items) % 20)
    assert counts(split(samples, SplitConfig(test=0), seed=0)) == (items - valid, valid, 0)
    asked = counts(split(samples, SplitConfig(valid=0.1, test=0), seed=0))
    assert asked == (items - items // 10, items // 10, 0)


def test_of_many_classes_more_are_held_out() -> None:
    samples = made(np.arange(100_000) % 200, names=tuple(map(str, range(200))))
    assert counts(split(samples, SplitConfig(test=0), seed=0)) == (95_000, 5000, 0)


def test_the_pieces_of_a_text_are_held_out_by_tenths_however_many() -> None:
    samples = made(np.zeros(40_000, int), task="write")
    assert counts(split(samples, SplitConfig(), seed=0)) == (30_000, 4000, 6000)


def test_of_given_training_rows_no_more_is_taken_either() -> None:
    given = [TRAIN] * 50_000 + [TEST] * 10_000
    samples = made(np.arange(60_000) % 10, given=given)
    assert counts(split(samples, SplitConfig(), seed=0)) == (47_500, 2500, 10_000)


# --- Folds ---------------------------------------------------------------------------------------


def in_folds(folds: Any, **more: Any) -> Samples:
    """Samples of two classes in turn, each in its fold."""
    numbers = np.asarray(folds, dtype=np.int64)
    samples = made(np.arange(len(numbers)) % 2, **more)
    names = tuple(f"f{k}" for k in range(int(numbers.max()) + 1))
    return replace(samples, folds=numbers, fold_names=names)


@pytest.mark.parametrize("valid", [0.0, 0.2])
def test_each_fold_in_turn_is_the_test_part_and_nothing_else(valid: float) -> None:
    folds = np.arange(60) % 5
    samples = in_folds(folds)
    for number in range(5):
        parts = splits.fold(samples, shares(valid, 0.15), number=number, seed=0)
        assert parts.rows("test").tolist() == np.flatnonzero(folds == number).tolist()
        assert counts(parts) == ((38, 10, 12) if valid else (48, 0, 12))


def test_folds_take_the_place_of_the_data_s_own_split() -> None:
    samples = in_folds(np.arange(40) % 4, given=np.full(40, VALID))
    parts = splits.fold(samples, SplitConfig(), number=2, seed=0)
    assert counts(parts) == (27, 3, 10)
    assert parts.notes[:3] == (
        "The split that the data name is left out: the folds stand in its place.",
        "The fold is the test part: train 27, valid 3, test 10.",
        "Validation rows were taken at random from the 30 others.",
    )


def test_validation_rows_of_a_fold_hold_whole_groups() -> None:
    groups = np.arange(60) // 5
    samples = in_folds(groups % 3, groups=groups)
    parts = splits.fold(samples, shares(0.25, 0.15), number=0, seed=3)
    assert sides(groups, parts) == 1
    assert counts(parts)[1] in (10, 15)


def test_each_group_may_be_a_fold_of_its_own() -> None:
    groups = np.arange(40) // 10
    samples = in_folds(groups, groups=groups)
    for number in range(4):
        parts = splits.fold(samples, shares(0.2, 0.15), number=number, seed=0)
        assert set(groups[parts.rows("test")].tolist()) == {number}
        assert sides(groups, parts) == 1


def test_a_group_in_two_folds_is_refused() -> None:
    samples = in_folds(np.arange(40) % 4, groups=np.arange(40) // 2)
    with pytest.raises(SplitError, match=r"groups stand in a fold and in others: .*\n.* --folds"):
        splits.fold(samples, shares(0.0, 0.15), number=0, seed=0)


def test_the_same_file_in_two_folds_is_told() -> None:
    """As in a split of the data's own, it is left where the data has it, and said."""
    samples = in_folds(np.arange(40) % 4, digests=[0, 0, *range(2, 40)])
    parts = splits.fold(samples, shares(0.0, 0.15), number=0, seed=0)
    assert any("2 items are files that" in note for note in parts.notes)


def test_one_fold_is_none() -> None:
    config = replace(shares(0.1, 0.15), folds="part")
    with pytest.raises(SplitError) as caught:
        splits.fold(in_folds(np.zeros(20, np.int64)), config, number=0, seed=0)
    assert str(caught.value) == (
        "column part holds one fold only, f0.\n  Fix: name a column with two values or more."
    )
