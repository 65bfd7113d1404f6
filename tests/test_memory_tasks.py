"""The memory tests in benchmarks/memory.py: what they ask is right, and a short one is solved."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import torch

from gridcell.layers import LSTM, RNN, gradient_by_distance

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "memory.py"
ORDER_LETTERS = "EBabcdXY"


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    """The script as a module, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location("benchmark_of_memory", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def test_the_sum_is_that_of_the_marked_two(memory: ModuleType) -> None:
    x, lengths, target = memory.draw_adding(500, 21, memory.seeded(0))
    assert x.shape == (500, 21, 2) and lengths is None and target.shape == (500, 1)
    places: Counter[int] = Counter()
    for sequence, (wanted,) in zip(x.tolist(), target.tolist(), strict=True):
        marked = [step for step, (_, mark) in enumerate(sequence) if mark == 1]
        assert all(mark in (0, 1) and 0 <= value < 1 for value, mark in sequence)
        first, second = marked
        assert first < 10 <= second
        assert math.isclose(sequence[first][0] + sequence[second][0], wanted, abs_tol=1e-6)
        places.update(marked)
    assert len(places) == 21


def test_guessing_the_mean_sum_gives_what_the_table_says(memory: ModuleType) -> None:
    target = memory.draw_adding(100_000, 2, memory.seeded(0)).target
    error = float(memory.squared_error(torch.ones_like(target), target))
    assert error == pytest.approx(memory.TASKS["adding"].guess(2), rel=0.01)


def test_what_is_copied_comes_again_after_the_delay(memory: ModuleType) -> None:
    x, lengths, target = memory.draw_copy(200, 7, memory.seeded(0))
    assert x.shape == (200, 27, 10) and lengths is None
    assert x.sum(2).eq(1).all()
    seen: set[int] = set()
    for shown, wanted in zip(x.argmax(2).tolist(), target.tolist(), strict=True):
        symbols = shown[:10]
        # The sign is heard 7 steps after the last symbol; the next ten steps are the answer's.
        assert shown == [*symbols, *[8] * 6, 9, *[8] * 10]
        assert wanted == [*[8] * 17, *symbols]
        seen.update(symbols)
    assert seen == set(range(8))


def test_the_best_answer_without_memory_to_the_copy_task(memory: ModuleType) -> None:
    target = memory.draw_copy(50, 7, memory.seeded(0)).target
    output = torch.full((50, 27, 9), -1e4)
    output[:, :17, 8] = 0
    output[:, 17:, :8] = 0
    loss = float(memory.cross_entropy(output, target))
    assert loss == pytest.approx(memory.TASKS["copy"].guess(7), rel=1e-5)
    assert loss == pytest.approx(10 * math.log(8) / 27, rel=1e-5)


def test_the_class_is_the_order_of_the_two_symbols(memory: ModuleType) -> None:
    x, lengths, target = memory.draw_order(2000, 100, memory.seeded(0))
    assert x.shape == (2000, 110, 8) and x.sum(2).eq(1).all()
    assert set(lengths.tolist()) == set(range(100, 111))
    first_places, second_places = set(), set()
    for row, length in enumerate(lengths.tolist()):
        word = "".join(ORDER_LETTERS[symbol] for symbol in x[row, :length].argmax(1).tolist())
        assert word[0] == "E" and word[-1] == "B"
        (one, first), (other, second) = [(s, at) for at, s in enumerate(word) if s in "XY"]
        assert ["XX", "XY", "YX", "YY"][target[row]] == one + other
        assert set(word[1:-1].replace("X", "").replace("Y", "")) <= set("abcd")
        first_places.add(first)
        second_places.add(second)
    assert first_places == set(range(10, 21)) and second_places == set(range(50, 61))
    assert torch.bincount(target).min() > 400


@pytest.mark.parametrize("name", ["adding", "copy", "order"])
def test_sequences_follow_their_seed_and_nothing_else(memory: ModuleType, name: str) -> None:
    draw = memory.TASKS[name].draw
    state = torch.get_rng_state()
    generator = memory.seeded(0)
    one, next_one, again = (
        draw(4, 20, generator),
        draw(4, 20, generator),
        draw(4, 20, memory.seeded(0)),
    )
    assert torch.equal(one.x, again.x) and torch.equal(one.target, again.target)
    assert not torch.equal(one.x, next_one.x)
    assert torch.equal(torch.get_rng_state(), state)


def test_held_out_sequences_are_no_training_sequences(memory: ModuleType) -> None:
    names = (memory.WEIGHTS, memory.TRAINING, memory.HELD)
    assert len({seed + name for name in names for seed in range(1000)}) == 3000


def test_biases_for_long_lags_lie_between_one_step_and_the_longest(memory: ModuleType) -> None:
    layer = LSTM(2, 1000, generator=memory.seeded(0))
    memory.set_lags(layer, longest=150, generator=memory.seeded(0))
    i, f, g, o = layer.weights(0, 0).bias_ih.detach().split(1000)
    assert torch.equal(i, -f) and not g.any() and not o.any()
    # A cell that forgets the share 1 - sigmoid(f) = 1 / (1 + exp(f)) a step keeps for 1 + exp(f).
    lags = 1 + f.exp()
    assert 2 <= lags.min() < 3 and 149 < lags.max() <= 150.001
    assert lags.mean() == pytest.approx(76, abs=4)


@pytest.mark.parametrize("name", ["adding", "copy", "order"])
def test_a_comparison_prints_its_evaluations_and_a_table(
    memory: ModuleType, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"{name} --steps 3 --every 2 --length 10 --seeds 0 1"
    memory.compare(memory.TASKS[name], memory.parsed(line.split()))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    evaluations = [line[:3] for line in lines if len(line) == 6 and line[0] in memory.NETS]
    assert evaluations == [
        [net, seed, step] for net in ("lstm", "rnn") for seed in "01" for step in "23"
    ]
    table = [line for line in lines if len(line) == 4 and line[0] in memory.NETS]
    last = [line[4] for line in lines if len(line) == 6 and line[2] == "3"]
    assert [line[0] for line in table] == ["lstm", "rnn"]
    assert [figure for line in table for figure in line[1:3]] == last


def test_the_gradient_is_shown_and_drawn(
    memory: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plot.svg"
    memory.show_gradient(memory.parsed(["gradient", "--length", "60", "--plot", str(path)]))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {int(row[0]): [float(size) for size in row[1:]] for row in rows if row[0].isdigit()}
    assert list(shown) == [0, 1, 2, 5, 10, 20, 50]
    for_long_lags, lstm, rnn = (after / at for at, after in zip(shown[0], shown[50], strict=True))
    assert for_long_lags > 5 * lstm > 50 * rnn
    assert path.stat().st_size


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("order --length 9", "must be 10 or more; got 9"),
        ("adding --steps 0", "must be 1 or more; got 0"),
        ("copy --every x", "invalid whole number value: 'x'"),
        ("adding --plot x.svg", "unrecognized arguments: --plot"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    memory: ModuleType, line: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        memory.parsed(line.split())
    assert text in capsys.readouterr().err


@pytest.mark.slow
def test_the_lstm_learns_to_add_where_the_rnn_does_not(memory: ModuleType) -> None:  # S31 S34
    falls = {}
    for net in memory.NETS:
        options = {"length": 30, "steps": 1000, "every": 250, "seed": 0}
        result = memory.train(memory.TASKS["adding"], net, **options)
        assert result.figure < 0.01 if net == "lstm" else result.figure > 0.1
        layer = result.network.layers[0]
        assert isinstance(layer, LSTM if net == "lstm" else RNN)
        x = memory.draw_adding(64, 100, memory.seeded(1)).x
        size = gradient_by_distance(layer, steps=100, x=x, generator=memory.seeded(2))
        falls[net] = float(size[90] / size[0])
    assert falls["lstm"] > 10 * falls["rnn"]
