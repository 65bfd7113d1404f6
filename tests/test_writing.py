"""A text is learned, scored in nats a character, and written on, step by step."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gridcell
from gridcell import pipeline, preparation, scoring, training, writing
from gridcell.batches import Batch, items_of, training_batches, work_in
from gridcell.cli import main
from gridcell.config import from_mapping
from gridcell.errors import ConfigError, NetworkError, SourceError
from gridcell.model import Model
from gridcell.networks.run import outputs, said
from gridcell.resuming import resume
from gridcell.samples import TEST, TRAIN, VALID
from gridcell.sources import writing as source
from gridcell.sources.characters import clean, texts_of
from gridcell.sources.words import UNKNOWN_WORD, words_and_breaks
from gridcell.training import diagnosis
from gridcell.training.job import Job
from gridcell.training.step import TrainingStep
from tests.test_resume import Stopping

VERSE = "the cat sat on the mat, and the dog sat on the cat.\n"


def verses(path: Path, times: int = 500) -> Path:
    path.write_text(VERSE * times, "utf-8")
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writing")
    settings = {"net": "embed(16) lstm(64)", "epochs": 8, "precision": "float32", "rate": 0.02}
    config = from_mapping(verses(folder / "verses.txt"), settings, out=folder / "run")
    run = pipeline.train(config)
    assert run.scores is not None and run.scores.main == "log loss"
    loss = run.scores["log loss"]
    assert loss.value is not None and loss.baseline is not None
    assert loss.value < 0.2 < 2 < loss.baseline < math.log(20)
    assert loss.low is None and "nats a character" in loss.note
    return run.model_file


def test_each_step_is_to_be_answered_with_the_next_character(tmp_path: Path) -> None:  # S32
    path = verses(tmp_path / "a.txt")
    config = from_mapping(path, {})
    samples = source.read(path, config.data)
    text = VERSE * 500
    text = text.strip()
    assert samples.task == "write" and samples.tags is not None
    pieces = texts_of(samples.facts.codes, samples.facts.starts, range(len(samples)))  # type: ignore[union-attr]
    assert "".join(pieces) == text[:-1]
    following = "".join(samples.labels[number] for number in samples.tags.numbers)
    assert following == text[1:]


def test_the_end_of_the_text_is_held_out(tmp_path: Path) -> None:
    config = from_mapping(verses(tmp_path / "a.txt"), {"valid": 0.1, "test": 0.2})
    inspected = pipeline.inspect(config)
    data, parts = inspected.data, inspected.parts
    assert len(parts.split) == len(data.samples)
    assert (np.diff([{TRAIN: 0, VALID: 1, TEST: 2}[part] for part in parts.split]) >= 0).all()
    assert {TRAIN, VALID, TEST} == set(parts.split.tolist())
    assert "Split in the order of the text" in parts.notes[0]


def test_what_was_learned_is_written(model_file: Path) -> None:
    model = Model.load(model_file)
    text = "".join(writing.write(model, 150, prompt="the cat sat", temperature=0.1))
    assert text.startswith(" on the mat, and the dog sat on the cat.\nthe cat")


def test_writing_in_python_is_the_text_of_the_command(model_file: Path) -> None:
    wanted = "".join(writing.write(Model.load(model_file), 40, prompt="the ", seed=3))
    assert gridcell.write(model_file, 40, prompt="the ", seed=3) == wanted and len(wanted) == 40
    with pytest.raises(gridcell.GridcellError, match="write = 0 is out of range"):
        gridcell.write(model_file, 0)


def test_several_members_cannot_write(tmp_path: Path) -> None:
    path = verses(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="members cannot write") as refused:
        pipeline.train(from_mapping(path, {"members": 2}, out=tmp_path / "run"))
    assert refused.value.fix == "leave --members out."


def test_the_same_seed_writes_the_same(model_file: Path) -> None:
    model = Model.load(model_file)
    one, same, other = (
        "".join(writing.write(model, 80, temperature=3.0, seed=seed)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_a_low_temperature_takes_the_likeliest(model_file: Path) -> None:
    model = Model.load(model_file)
    ids, _ = model.preparation.ids(*source.codes_of(["the dog"]), np.arange(1))  # type: ignore[union-attr]
    likeliest = int(model.network(torch.from_numpy(ids.astype(np.int64))[None])[0, -1].argmax())
    (first,) = writing.write(model, 1, prompt="the dog", temperature=0.05)
    assert first == model.labels[likeliest]


def test_a_later_evaluation_gives_the_same_score(model_file: Path, tmp_path: Path) -> None:
    model = Model.load(model_file)
    path = verses(tmp_path / "more.txt", 60)
    scores = scoring.evaluate(model, path, from_mapping(path, {}).data)
    assert scores is not None and scores["log loss"].value is not None
    assert scores["log loss"].value < 0.2
    assert scores.task == "write"


def test_the_command_writes(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", str(model_file), "--write", "60", "--prompt", "the dog"]
    assert main([*words, "--temperature", "0.1", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("the dog sat on the ") and len(out) == 7 + 60 + 1


def test_what_the_model_does_not_know_of_a_prompt_is_named(
    model_file: Path, words_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file, prompt, named in (
        (model_file, "the dög 😀", "never saw 'ö', '😀' of the prompt in training"),
        (words_file, "the quantum cat", "never saw 'quantum' of the prompt in training"),
        (model_file, "the dog", ""),
    ):
        assert main(["predict", str(file), "--write", "5", "--prompt", prompt]) == 0
        said = capsys.readouterr()
        assert said.out.startswith(prompt)
        assert named in said.err if named else not said.err


def test_characters_that_the_model_does_not_know_are_left_out_and_counted(
    model_file: Path, tmp_path: Path
) -> None:
    model, path = Model.load(model_file), tmp_path / "more.txt"
    text = f"the dög sat, and the {VERSE * 8}é ö".strip()
    path.write_text(text, "utf-8")
    scores = scoring.evaluate(model, path, from_mapping(path, {}).data)
    assert scores is not None and scores.unknown is not None
    assert scores.unknown.labels == {"ö": 2, "é": 1}
    told = "The model does not know 3 characters of the text ('ö' 2, 'é' 1): they are left out. "
    assert f"{told}With them counted as wrong, accuracy is " in str(scores)
    # PyTorch's own loss, which passes over what has no class.
    ids, _ = model.preparation.ids(*source.codes_of([text[:-1]]), np.arange(1))  # type: ignore[union-attr]
    known = {label: number for number, label in enumerate(model.labels)}
    came = torch.tensor([known.get(character, -100) for character in text[1:]])
    with torch.no_grad():
        found = model.network(torch.from_numpy(ids.astype(np.int64))[None])[0]
    assert scores.items == len(text) - 4 == int((came >= 0).sum())
    loss = float(nn.functional.cross_entropy(found, came))
    assert scores["log loss"].value == pytest.approx(loss, rel=1e-5)
    share = float((found.argmax(1) == came).double().mean())
    assert scores.unknown.value == pytest.approx(share, abs=1e-9)
    assert scores["accuracy"].value == pytest.approx(share * len(came) / scores.items, abs=1e-9)


def test_a_text_of_which_the_model_knows_nothing_is_refused(
    model_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "more.txt"
    path.write_text("ЖЖЖШ" * 40, "utf-8")
    with pytest.raises(SourceError, match="the model knows no label of the data: they hold Ж, Ш"):
        scoring.evaluate(Model.load(model_file), path, from_mapping(path, {}).data)


def test_an_encoding_to_name_is_the_only_fix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Größe " * 10, "latin-1")
    with pytest.raises(SourceError, match="for instance --encoding cp1252") as refused:
        pipeline.train(from_mapping(path, {}))
    assert refused.value.fix is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "0.5", "--write", "0"], "write = 0 is out of range"),
        (
            ["--temperature", "0", "--write", "5"],
            "temperature = 0 is out of range: it must be 0.05",
        ),
        (["--temperature", "0.5"], "temperature has no effect without write"),
        (["a.txt", "--write", "5"], "a.txt has no effect beside write"),
        (["a.txt"], "the model writes, and answers for no files"),
        (["--write", "5", "--window", "2"], "window has no effect beside write.\n  Fix: leave --w"),
        (["--write", "5", "--format", "csv"], "format has no effect beside write"),
        (["--write", "5", "--on-bad-file", "skip"], "Fix: leave --on-bad-file out."),
        ([], "no file is named to answer for"),
    ],
)
def test_what_cannot_be_written_is_refused(
    model_file: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model_file), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "content", "error", "message"),
    [
        ({}, "short", SourceError, "has 5 characters: at least 20,480 are needed"),
        ({}, " \n", SourceError, "holds only white space"),
        ({}, "", SourceError, "is empty"),
        ({"target": "x"}, VERSE, ConfigError, "target has no effect on one text"),
        ({"group": "x"}, VERSE, ConfigError, "group has no effect on one text"),
        ({"text_level": "words"}, VERSE, SourceError, "has 15 words: at least 5,120 are needed"),
        (
            {"net": "lstm(8, both)"},
            VERSE * 500,
            NetworkError,
            "its backward walk starts at the last step",
        ),
        *(
            ({"net": net}, VERSE * 500, NetworkError, "cannot be part of a network that writes")
            for net in (
                "conv(8, time=3) lstm(8)",
                "conv(8, time=3, padding=valid) lstm(8)",
                "residual(conv(8, time=3)) lstm(8)",
                "maxpool(time=2) lstm(8)",
            )
        ),
        ({"label_smoothing": 0.1}, VERSE * 500, ConfigError, "no effect on the task write"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    settings: dict[str, str], content: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text(content, "utf-8")
    with pytest.raises(error, match=message):
        pipeline.train(from_mapping(path, settings, out=tmp_path / "run"))


def test_a_window_of_one_step_may_be_part_of_what_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(VERSE * 500, "utf-8")
    settings = {"net": "embed(4) conv(8, time=1) lstm(8)", "epochs": 1}
    run = pipeline.train(from_mapping(path, settings, out=tmp_path / "run"))
    assert "conv(8, time=1)" in run.model.network.notation


def test_only_a_text_file_can_be_written_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match=r"is no \.txt file"):
        pipeline.train(from_mapping(path, {"task": "write"}))


def test_training_takes_stretches_and_scores_take_whole_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"net": "embed(8) lstm(8) relu", "epochs": 1}
    config = from_mapping(verses(tmp_path / "a.txt"), settings)
    inspected = pipeline.inspect(config)
    data, parts = inspected.data, inspected.parts
    rows, valid = parts.rows("train"), parts.rows("valid")
    prep = preparation.fit(data.chosen, data.decoded, rows)

    def prepared(tbptt: int) -> Job:
        return training.prepare(
            replace(config.train, tbptt=tbptt),
            data.samples,
            data.decoded,
            prep,
            train_rows=rows,
            valid_rows=valid,
            memory=tmp_path,
        )

    job = prepared(32)
    assert set(job.train.steps().tolist()) == {128} and len(job.train) == 16 * len(rows)  # type: ignore[union-attr]
    (steps,) = (note for note in job.notes if note.startswith("Steps: "))
    assert "of 16 stretches of 128 characters, adamw" in steps
    assert steps.endswith(", gradients back through 32 steps at most.")
    told = ", gradients back through 200 steps at most, which cuts nothing: the longest has 128."
    assert any(note.endswith(told) for note in prepared(200).notes)
    assert job.valid is not None
    assert len(outputs(job.network, job.valid)) == len(job.valid_targets)
    told = "Augmentation: none: the text is read as it is, each epoch from another step on."
    assert job.notes[-1] == told
    # What is looked at when the training is over are pieces as well.
    monkeypatch.setattr(diagnosis, "LOOKED_AT", 2)
    looked_at = work_in(job.train.sample(diagnosis.LOOKED_AT, seed=0))
    assert looked_at == 2 * 2048 == pytest.approx(job.looked_at_after, rel=0.1)


def learning(folder: Path) -> tuple[TrainingStep, list[Batch]]:
    """A step of a writer that changes nothing, and the first batches of three streams."""
    config = from_mapping(verses(folder / "a.txt"), {"net": "embed(8) lstm(8)", "epochs": 1})
    data = pipeline.inspect(config).data
    rows = np.arange(len(data.samples))
    prep = preparation.fit(data.chosen, data.decoded, rows)
    job = training.prepare(
        replace(config.train, precision="float32"),
        data.samples,
        data.decoded,
        prep,
        train_rows=rows,
        valid_rows=rows[:0],
        memory=folder,
    )
    batches = [*training_batches(job.train, size=3, seed=0, epoch=1, threads=0)][:4]
    step = TrainingStep(
        job.network,
        job.objective,
        torch.optim.SGD(job.network.parameters(), lr=0.0),
        precision="float32",
        average=None,
        note=lambda _: None,
    )
    return step, batches


def loss_of_last(network: nn.Module, batches: list[Batch]) -> float:
    """The loss of the last of these batches, read behind those before it."""
    values = torch.cat([batch.values for batch in batches], 1)
    last = batches[-1].targets
    whole = network(values, torch.full((len(values),), values.shape[1])).detach()
    logits = whole[:, -last.shape[1] :]
    return float(nn.functional.cross_entropy(logits.flatten(0, 1), last.flatten()))


def test_what_came_before_a_stretch_is_remembered_in_training(tmp_path: Path) -> None:
    """The loss of a batch is that of the same steps in the middle of a whole text."""
    step, batches = learning(tmp_path)
    found = [step.take(batch, 0.0) for batch in batches]
    for number, batch in enumerate(batches):
        wanted = loss_of_last(step.network, batches[: number + 1])
        assert found[number] == pytest.approx(wanted, rel=1e-5)
        assert not number or abs(found[number] - loss_of_last(step.network, [batch])) > 1e-4


def test_what_was_remembered_of_other_pieces_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the memory turns out to be full, a batch is one of a beginning, and then it goes on."""
    step, batches = learning(tmp_path)
    whole = step.network.go_on

    def narrow(values: Tensor, state: Any = None) -> Any:
        if len(values) > 2:
            raise torch.OutOfMemoryError("no room")
        return whole(values, state)

    first = step.take(batches[0], 0.0)
    monkeypatch.setattr(step.network, "go_on", narrow)
    rest = [step.take(batch, 0.0) for batch in batches[1:]]
    assert step.parts == 2
    for found, some in zip([first, *rest], [[0], [1], [1, 2], [1, 2, 3]], strict=True):
        wanted = loss_of_last(step.network, [batches[number] for number in some])
        assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("net", ["embed(8) lstm(8)", "embed(8) parallel(delta, residual(rnn(8)))"])
def test_a_writer_goes_on_in_other_pieces_in_the_middle_of_an_epoch(
    net: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"net": net, "epochs": 1, "precision": "float32"}
    config = from_mapping(verses(tmp_path / "a.txt"), settings, out=tmp_path / "run")
    pipeline.train(config, Stopping(3))
    cut = resume(tmp_path / "run", batch_size=4, teller=Stopping(3))
    assert cut.was_interrupted and cut.history.parts == 4
    run = resume(tmp_path / "run", batch_size=8)
    assert run.history.ended == "all epochs" and run.history.parts == 2


# C28
@pytest.mark.parametrize("net", ["embed(8) lstm(8) dropout(0.2)", "embed(8) residual(rnn(8))"])
@pytest.mark.parametrize("stop_after", [3, 14])
def test_a_writer_that_was_stopped_goes_on_to_the_same_bits(
    net: str, stop_after: int, tmp_path: Path
) -> None:
    path = verses(tmp_path / "a.txt")
    settings: dict[str, Any] = {"net": net, "epochs": 2, "precision": "float32", "valid": 0.1}
    pipeline.train(from_mapping(path, settings, out=tmp_path / "whole"))
    cut = pipeline.train(from_mapping(path, settings, out=tmp_path / "cut"), Stopping(stop_after))
    assert cut.was_interrupted
    resume(tmp_path / "cut")
    one, other = ((tmp_path / name / "model.gridcell").read_bytes() for name in ("whole", "cut"))
    assert one == other


# Words.

RARE = ["zebra", "yak", "xerus", "wombat"]


def words_of(path: Path, times: int = 450) -> Path:
    """Verses with a word here and there that comes once."""
    lines = [VERSE] * times
    for number, word in enumerate(RARE):
        lines[100 * number] = f"the {word} isn't here, said the cat.\n"
    path.write_text("".join(lines), "utf-8")
    return path


@pytest.fixture(scope="module")
def words_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    settings = {
        **{"net": "embed(16) lstm(32)", "epochs": 6, "precision": "float32", "rate": 0.02},
        **{"text_level": "words", "batch_size": 8},
    }
    run = pipeline.train(from_mapping(words_of(folder / "a.txt"), settings, out=folder / "run"))
    assert run.scores is not None
    loss = run.scores["log loss"]
    assert loss.value is not None and loss.baseline is not None
    assert loss.value < 0.3 < 1.5 < loss.baseline and "nats a word" in loss.note
    accuracy = run.scores["accuracy"]
    assert (accuracy.value or 0) > 0.9 > 0.3 > (accuracy.baseline or 1)
    return run.model_file


def test_each_word_is_to_be_answered_with_the_next_one(tmp_path: Path) -> None:
    path = words_of(tmp_path / "a.txt")
    samples = source.read(path, from_mapping(path, {"text_level": "words"}).data)
    words = words_and_breaks(clean(path.read_text("utf-8")))
    assert samples.tags is not None and len(samples) == -(-(len(words) - 1) // 512)
    assert set(np.diff(samples.tags.starts)[:-1].tolist()) == {512}
    assert set(samples.labels) == {*words, UNKNOWN_WORD}
    following = [samples.labels[number] for number in samples.tags.numbers]
    assert following == words[1:]
    everything, told = source.learned(samples, np.arange(len(samples)))
    seen = {word for word in words if words.count(word) > 1}
    assert set(everything.labels) == seen | {UNKNOWN_WORD} and not set(RARE) & set(seen)
    assert everything.tags is not None
    following = [everything.labels[number] for number in everything.tags.numbers]
    assert following == [word if word in seen else UNKNOWN_WORD for word in words[1:]]
    assert told.startswith(f"{len(seen)} different words to be written, each seen at least twice ")
    prep = preparation.choose(samples, from_mapping(path, {"text_level": "words"}).data)
    read = texts_of(samples.facts.codes, samples.facts.starts, range(len(samples)))  # type: ignore[union-attr]
    fitted = preparation.fit(
        prep,
        preparation.decode(samples, prep, on_bad_file="stop", folder=tmp_path),
        np.arange(len(samples)),
    )
    assert set(fitted.vocabulary) == seen  # type: ignore[union-attr]
    steps = [step for piece in read for step in prep.steps(piece)]  # type: ignore[union-attr]
    assert steps == words[:-1]


def test_words_of_the_test_part_alone_are_not_to_be_written(tmp_path: Path) -> None:  # S32
    path = tmp_path / "a.txt"
    late = "a quokka met a quokka, said the cat.\n"
    path.write_text(VERSE * 500 + late * 60, "utf-8")
    settings = {"text_level": "words", "valid": 0.1, "test": 0.2, "net": "embed(4) lstm(4)"}
    inspected = pipeline.inspect(from_mapping(path, settings))
    data, parts = inspected.data, inspected.parts
    assert data.samples.tags is not None and "quokka" not in data.samples.labels
    words = {data.samples.labels[n] for n in data.samples.tags.take(parts.rows("train")).numbers}
    assert {*data.samples.labels} == words | {UNKNOWN_WORD}
    of_test = data.samples.tags.take(parts.rows("test")).numbers
    assert (of_test == data.samples.labels.index(UNKNOWN_WORD)).sum() >= 240


def test_at_most_ten_thousand_words_are_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MOST_WORDS", 3)
    path = words_of(tmp_path / "a.txt")
    samples = source.read(path, from_mapping(path, {"text_level": "words"}).data)
    found, _ = source.learned(samples, np.arange(len(samples)))
    assert found.labels == (UNKNOWN_WORD, "cat", "on", "the")


def test_words_are_written_with_their_spaces_and_never_the_unknown(words_file: Path) -> None:
    model = Model.load(words_file)
    text = "".join(writing.write(model, 30, prompt="the cat sat", temperature=0.1))
    assert text.startswith(" on the mat, and the dog sat on the cat.\nthe cat sat on")
    after = "".join(writing.write(model, 3, prompt="the cat ", temperature=0.1))
    assert after == "sat on the"
    assert UNKNOWN_WORD in model.labels
    wild = [*writing.write(model, 500, temperature=10.0)]
    assert len(wild) == 500 and UNKNOWN_WORD not in "".join(wild)


def test_the_command_counts_words(words_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", str(words_file), "--write", "6", "--prompt", "the dog sat on the cat."]
    assert main([*words, "--temperature", "0.1"]) == 0
    assert capsys.readouterr().out == "the dog sat on the cat.\nthe cat sat on the\n"


def test_a_later_text_may_hold_other_words(words_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.txt"
    path.write_text("the gnu sat on the gnu.\nthe cat sat on the mat, and the dog sat.\n" * 40)
    scores = scoring.evaluate(Model.load(words_file), path, from_mapping(path, {}).data)
    assert scores is not None and scores["log loss"].value is not None
    assert 0.3 < scores["log loss"].value < 20


def test_what_is_said_of_each_step_is_the_network_s_own(words_file: Path, tmp_path: Path) -> None:
    model = Model.load(words_file)
    path = words_of(tmp_path / "a.txt", 420)
    data = pipeline.inspect(from_mapping(path, {"text_level": "words"})).data
    rows = np.arange(len(data.samples))
    numbers = torch.zeros(len(rows), 0)
    items = items_of(model.preparation, data.decoded, numbers, rows, tags=data.samples.tags)
    found = said(model.network, items)
    logs = torch.from_numpy(outputs(model.network, items)).double().log_softmax(1)
    truths = items.truths()
    wanted = logs[torch.arange(len(truths)), truths].numpy()
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-5)
    np.testing.assert_array_equal(found[:, 1], (logs.argmax(1) == truths).numpy())
