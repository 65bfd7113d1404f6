"""Every number that the settings leave open is chosen from the data, and says why."""

from dataclasses import replace

import numpy as np
import pytest

from gridcell.axes import Layout
from gridcell.config import TrainConfig
from gridcell.errors import ConfigError
from gridcell.networks import build, choose_network, may_have_filters
from gridcell.networks.presets import WITHOUT_FILTERS
from gridcell.samples import ImageFacts, TextFacts
from gridcell.training.optimizer import muon_filters
from gridcell.training.plan import (
    EFFORTS,
    MANY_SMALL_GREYS,
    MANY_SMALL_PHOTOS,
    SHORT_TEXTS,
    WRITING,
    Effort,
    effort_of,
    plan,
    smoothing_of,
    told_work,
    usual_rate,
)
from tests.preparation.test_texts import samples


def test_what_is_asked_is_taken() -> None:
    asked = TrainConfig(
        epochs=7, batch_size=50, rate=0.5, weight_decay=0.1, ema=0.9, patience=2, optimizer="sgd"
    )
    chosen = plan(asked, items=1000, multiply_adds=10**6)
    assert (chosen.epochs, chosen.batch_size, chosen.rate) == (7, 50, 0.5)
    assert (chosen.weight_decay, chosen.ema, chosen.patience) == (0.1, 0.9, 2)
    assert chosen.epochs_reason == "as asked"


def test_few_items_are_seen_often_in_small_batches() -> None:
    few = plan(TrainConfig(), items=200, multiply_adds=10**6)
    many = plan(TrainConfig(), items=50_000, multiply_adds=10**6)
    assert few.batch_size < many.batch_size == 128
    assert few.epochs > many.epochs == 12


def test_much_work_means_fewer_epochs_but_never_too_few() -> None:
    light = plan(TrainConfig(), items=50_000, multiply_adds=10**6)
    heavy = plan(TrainConfig(), items=50_000, multiply_adds=5 * 10**7)
    immense = plan(TrainConfig(), items=10**7, multiply_adds=10**9)
    assert light.epochs > heavy.epochs > immense.epochs == 3
    assert "--epochs gives more" in heavy.epochs_reason


def test_members_share_an_epoch_and_are_taught_as_long_as_one_alone() -> None:
    alone = plan(TrainConfig(), items=60, multiply_adds=10**6)
    shared = plan(TrainConfig(), items=60, multiply_adds=4 * 10**6, members=4)
    assert shared.epochs == 4 * alone.epochs and shared.batch_size == alone.batch_size == 16
    assert shared.epochs_reason.endswith("4 times as many for 4 members that share the items")
    assert plan(TrainConfig(), items=60, multiply_adds=1, members=7).batch_size == 28
    asked = plan(TrainConfig(epochs=3, batch_size=9), items=60, multiply_adds=1, members=4)
    assert (asked.epochs, asked.batch_size) == (3, 9)
    assert asked.told_epochs() == (
        "Epochs: 3, as asked; 4 members share the items of each, so each member sees 1 in 4."
    )
    timed = plan(TrainConfig(budget="2m"), items=60, multiply_adds=1, members=4)
    assert "as many as 2m allow; 4 members share the items of each" in timed.told_epochs()


def test_members_that_would_learn_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="7 items to learn from are too few") as few:
        plan(TrainConfig(), items=7, multiply_adds=1, members=4)
    assert few.value.fix == "name at most 3 members."
    with pytest.raises(ConfigError, match="batches of 7 are too small for 4 members"):
        plan(TrainConfig(batch_size=7), items=60, multiply_adds=1, members=4)


def test_the_average_spans_a_fiftieth_of_the_training() -> None:
    chosen = plan(TrainConfig(epochs=10, batch_size=10), items=1000, multiply_adds=1)
    assert chosen.ema == 1 - 1 / 20
    assert plan(TrainConfig(epochs=1), items=10, multiply_adds=1).ema == 0.0
    assert plan(TrainConfig(epochs=9, ema=0.7), items=10, multiply_adds=1).ema == 0.7


def test_where_time_decides_the_average_is_left_to_the_clock() -> None:
    assert plan(TrainConfig(budget="2m"), items=1000, multiply_adds=1).ema is None
    assert plan(TrainConfig(budget="2m", ema=0.7), items=1000, multiply_adds=1).ema == 0.7


def test_patience_can_fire_within_the_epochs() -> None:
    for epochs in (12, 50, 100):
        chosen = plan(TrainConfig(epochs=epochs), items=1000, multiply_adds=1)
        assert chosen.patience < epochs


def test_a_budget_is_read_in_seconds_and_leaves_the_epochs_open() -> None:
    chosen = plan(TrainConfig(budget="2m"), items=1000, multiply_adds=1)
    assert chosen.budget_s == 120
    assert "2m" in chosen.epochs_reason


def test_sounds_and_clips_are_seen_less_often_than_images_of_as_much_work() -> None:
    for items, work in ((200, 10**6), (2000, 10**7), (20_000, 10**8)):
        image = plan(TrainConfig(), items=items, multiply_adds=work)
        sound = plan(TrainConfig(), items=items, multiply_adds=work, effort=EFFORTS["sounds"])
        assert 3 <= sound.epochs <= image.epochs
        assert sound.epochs <= 40
        assert sound.batch_size == image.batch_size
    heavy = plan(TrainConfig(), items=200, multiply_adds=10**9, effort=EFFORTS["clips"])
    assert heavy.epochs == 15 and "are much work" in heavy.epochs_reason
    assert (
        plan(TrainConfig(epochs=77), items=9, multiply_adds=1, effort=EFFORTS["sounds"]).epochs
        == 77
    )


def test_names_are_read_more_often_than_sentences() -> None:
    names = samples(["Ivanova", "Nakamura", "O'Neill"])
    sentences = samples(["A film that is longer than it should be."] * 3)
    assert (
        effort_of(names, items=3) == SHORT_TEXTS
        and effort_of(sentences, items=3) == EFFORTS["texts"]
    )
    assert isinstance(names.facts, TextFacts)
    tokens = replace(names, facts=replace(names.facts, is_tokenized=True))
    assert effort_of(tokens, items=3) == EFFORTS["texts"]
    assert effort_of(replace(names, task="write"), items=3) == WRITING
    often, seldom = (
        plan(
            TrainConfig(), items=16_000, multiply_adds=3 * 10**6, effort=effort_of(each, items=3)
        ).epochs
        for each in (names, sentences)
    )
    assert (often, seldom) == (21, 12)


def test_a_text_to_write_on_is_read_in_small_batches() -> None:
    chosen = plan(TrainConfig(), items=4000, multiply_adds=10**8, effort=WRITING)
    assert (chosen.batch_size, chosen.rate) == (16, 5e-3)
    asked = TrainConfig(batch_size=64, rate=1e-3)
    chosen = plan(asked, items=4000, multiply_adds=10**8, effort=WRITING)
    assert (chosen.batch_size, chosen.rate) == (64, 1e-3)
    sgd = plan(TrainConfig(optimizer="sgd"), items=4000, multiply_adds=10**8, effort=WRITING)
    assert sgd.rate == 0.1


def test_an_optimizer_s_usual_numbers_come_with_it() -> None:
    many = plan(TrainConfig(), items=20_000, multiply_adds=1, effort=MANY_SMALL_PHOTOS)
    few = plan(TrainConfig(), items=100, multiply_adds=1)
    assert (many.optimizer, few.optimizer) == ("muon", "adamw")
    assert many.weight_decay > few.weight_decay
    sgd = plan(TrainConfig(optimizer="sgd"), items=100, multiply_adds=1, effort=MANY_SMALL_PHOTOS)
    assert (sgd.optimizer, sgd.rate, sgd.weight_decay) == ("sgd", 0.1, 5e-4)
    asked = plan(TrainConfig(optimizer="muon"), items=100, multiply_adds=1)
    assert (asked.optimizer, asked.rate, asked.weight_decay) == (
        "muon",
        many.rate,
        many.weight_decay,
    )


def test_the_usual_rate_is_that_of_the_optimizer_and_of_writing() -> None:
    assert usual_rate("sgd", writes=True) == usual_rate("sgd", writes=False) == 0.1
    assert usual_rate("adamw", writes=False) == 3e-3
    asked = plan(TrainConfig(), items=4000, multiply_adds=10**8, effort=WRITING)
    assert usual_rate("adamw", writes=True) == asked.rate


def test_little_work_is_not_told_as_none() -> None:
    assert told_work(1620) == "1,620 multiply-adds"
    assert told_work(2_650_000) == "2.6 million multiply-adds"
    assert told_work(570_123_456) == "570 million multiply-adds"


def test_epochs_are_told_as_a_person_says_them() -> None:
    by_count = plan(TrainConfig(epochs=12_000), items=1000, multiply_adds=1)
    assert by_count.told_epochs() == "Epochs: 12,000, as asked."
    by_time = plan(TrainConfig(budget="10m"), items=1000, multiply_adds=1)
    assert by_time.told_epochs() == "Epochs: 100, or fewer, as many as 10m allow."
    endless = replace(by_time, epochs=10_007, epochs_reason="as many as 720 s in all allow")
    assert endless.told_epochs() == "Epochs: as many as 720 s in all allow."
    assert endless.known_epochs is None and by_count.known_epochs == 12_000


IMAGES, SERIES = Layout(1, (8, 8), steps=1), Layout(3, (), steps=8)
TEXTS = Layout(1, (), vocabulary=30)
# A preset that is without filters, and each kind of data that it takes.
TAKEN: list[tuple[str, Layout, dict[str, bool]]] = [
    ("rows", IMAGES, {}),
    ("rows", IMAGES, {"is_mirrored": True}),
    ("lstm", SERIES, {}),
    ("lstm", SERIES, {"is_each": True}),
    ("lstm", TEXTS, {}),
    ("lstm", TEXTS, {"is_onward": True}),
    ("linear", SERIES, {"is_forecast": True}),
]


@pytest.mark.parametrize(("name", "layout", "wanted"), TAKEN)
def test_presets_said_to_be_without_filters_have_none(
    name: str, layout: Layout, wanted: dict[str, bool]
) -> None:
    notation = choose_network(name, layout, **wanted).notation
    each = wanted.keys() <= {"is_each", "is_onward"} and bool(wanted)
    assert not muon_filters(build(notation, layout, outputs=2, each=each)), notation
    assert not may_have_filters(name) and not may_have_filters(notation)


def test_each_preset_said_to_be_without_filters_is_looked_at() -> None:
    assert {name for name, _, _ in TAKEN} == set(WITHOUT_FILTERS)
    notation = choose_network("cnn", IMAGES).notation  # and one that has some is noticed
    assert muon_filters(build(notation, IMAGES, outputs=2)) and may_have_filters(notation)
    around = "residual(maxpool(2)) flatten"
    assert muon_filters(build(around, IMAGES, outputs=2))


def test_only_many_small_pictures_train_with_muon() -> None:
    def of(side: int, *, colour: bool, items: int) -> Effort:
        sizes, colours = np.full((3, 2), side, np.int32), np.full(3, colour)
        pictures = replace(samples(["a"] * 3), facts=ImageFacts(sizes, colours))
        return effort_of(pictures, items=items)

    assert of(32, colour=True, items=10_000) == MANY_SMALL_PHOTOS
    assert of(32, colour=False, items=10_000) == MANY_SMALL_GREYS
    assert {MANY_SMALL_PHOTOS.optimizer, MANY_SMALL_GREYS.optimizer} == {"muon"}
    assert smoothing_of(TrainConfig(), MANY_SMALL_PHOTOS) == 0.2
    assert smoothing_of(TrainConfig(), MANY_SMALL_GREYS) == smoothing_of(TrainConfig()) == 0.1
    assert smoothing_of(TrainConfig(label_smoothing=0.0), MANY_SMALL_PHOTOS) == 0.0
    assert of(128, colour=True, items=10_000) == EFFORTS["images"]
    assert of(32, colour=True, items=9999) == EFFORTS["images"]
