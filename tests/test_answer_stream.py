"""A model on a sequence that is still going on: the answers to all of it so far."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gridcell import networks
from gridcell.errors import NetworkError
from gridcell.model import Model
from gridcell.model_file import Description
from gridcell.networks.answers import Answers
from gridcell.preparation import SoundPreparation

from .test_events import PREP


def model(notation: str, *, task: str = "classify") -> Model:
    network = networks.build(
        notation,
        PREP.layout,
        outputs=2,
        each=task == "events",
        mean=PREP.mean,
        deviation=PREP.deviation,
        generator=torch.Generator().manual_seed(0),
    )
    answers = Answers("labels" if task == "events" else "classify", temperature=1.7)
    return Model(
        network,
        Description[SoundPreparation](
            kind="sounds",
            task=task,  # type: ignore[arg-type]
            labels=("a", "b"),
            notation=network.notation,
            preparation=PREP,
            answers=answers,
            train_targets=((1.0, 1.0),),
            trained={},
        ),
    )


def values(steps: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(steps, 1, 8)).astype(np.float32)


def whole(model: Model, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found = model.network(torch.from_numpy(x)[None])
    found = found[:, -1] if found.ndim == 3 else found
    return model.description.answers.of(found.numpy())[0]


@pytest.mark.parametrize(
    "notation", ["flatten lstm(5) last", "conv(3, 3) relu flatten lstm(4) mean"]
)
def test_numbers_of_any_type_are_heard(notation: str) -> None:
    trained, x = model(notation), np.round(10 * values(3))
    expected = [trained.stream().step(step) for step in x]
    for dtype in (np.float64, np.float16, np.int64):
        found = [trained.stream().step(step) for step in x.astype(dtype)]
        assert np.array_equal(found, expected)
    assert np.array_equal(trained.stream().step(x[0].tolist()), expected[0])


@pytest.mark.parametrize(
    "notation", ["flatten lstm(5) last", "conv(3, 3) relu flatten rnn(4) mean"]
)
def test_each_answer_is_that_of_all_steps_so_far(notation: str) -> None:  # S23
    trained, x = model(notation), values(9)
    stream = trained.stream()
    for step in range(9):
        found = stream.step(x[step])
        np.testing.assert_allclose(found, whole(trained, x[: step + 1]), atol=1e-6)
    assert found.sum() == pytest.approx(1)


def test_pieces_and_a_kept_state_go_on_where_they_stopped() -> None:
    trained, x = model("flatten lstm(5) last"), values(10)
    stream = trained.stream()
    stream.piece(x[:4])
    kept = stream.state
    first = stream.piece(x[4:])
    stream.state = kept
    np.testing.assert_array_equal(stream.piece(x[4:]), first)
    np.testing.assert_allclose(first, whole(trained, x), atol=1e-6)


def test_of_a_network_that_answers_at_each_step_it_is_the_last() -> None:
    trained, x = model("flatten lstm(5)", task="events"), values(6)
    stream = trained.stream()
    np.testing.assert_allclose(stream.piece(x), whole(trained, x), atol=1e-6)


def test_what_needs_later_steps_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"lstm\(5, both\) cannot stream"):
        model("flatten lstm(5, both) last").stream()
