"""What the terminal prints of a training: a line an epoch, or every few of very many."""

from __future__ import annotations

import io

from gridcell.evaluation import Score, Scores
from gridcell.terminal import MOST_EPOCH_LINES, PatientConsole, Terminal
from gridcell.training.fit import EpochRecord, StepRecord


def lines_of(epochs: int | None, *, first: int = 1, last: int | None = None) -> list[str]:
    """The first words of the lines of epochs that take a second each; a budget ends at the last."""
    console = PatientConsole()
    console.file = io.StringIO()
    terminal = Terminal(console)
    last = last or epochs or 0
    for epoch in range(first, last + 1):
        terminal.step(StepRecord(epoch, epochs, 1, 1, 0.5, 10.0, last - epoch + 0.01))
        terminal.epoch(EpochRecord(epoch, 0.5, None, None, 0.1, 1.0, is_best=True))
    return [line.split()[0] for line in console.file.getvalue().splitlines()]


def test_every_epoch_of_a_short_training_has_a_line() -> None:
    assert lines_of(3) == ["epoch", "1", "2", "3"]
    assert len(lines_of(MOST_EPOCH_LINES)) == 1 + MOST_EPOCH_LINES


def test_a_long_training_fits_a_screen_and_shows_its_first_and_last_epoch() -> None:
    shown = lines_of(500)
    assert len(shown) <= MOST_EPOCH_LINES + 3
    assert shown[1] == "1" and shown[-1] == "500" and "9" in shown


def test_a_budget_shows_the_epochs_that_it_is_enough_for() -> None:
    assert lines_of(None, first=8, last=12) == ["epoch", "8", "9", "10", "11", "12"]
    many = lines_of(None, first=8, last=600)
    assert MOST_EPOCH_LINES / 2 < len(many) <= MOST_EPOCH_LINES + 3 and many[1] == "8"


def test_a_result_no_better_than_a_guess_is_said_below_its_table() -> None:
    def shown(value: float) -> str:
        console = PatientConsole()
        console.file = io.StringIO()
        score = Score("accuracy", value, value - 0.02, value + 0.02, 0.5, "higher")
        Terminal(console).scores(Scores("classify", 100, "accuracy", (score,)), "test rows")
        return console.file.getvalue()

    assert "  ! It is no better than a trivial guess: accuracy 49.0 %, the guess 50.0 %.\n" in (
        shown(0.49)
    )
    assert "trivial guess:" not in shown(0.9)


def test_a_bar_names_no_number_of_epochs_where_time_alone_decides() -> None:
    def shown(epochs: int | None) -> str:
        console = PatientConsole()
        console.file = io.StringIO()
        console._force_terminal = True  # a bar is for who watches
        terminal = Terminal(console)
        terminal.step(StepRecord(1200, epochs, 1, 10, 0.5, 10.0, 60.0))
        assert terminal._bar is not None
        name = terminal._bar.tasks[0].description
        terminal._end_bar()
        return name

    assert shown(12_000) == "Epoch 1,200/12,000"
    assert shown(None) == "Epoch 1,200"
