"""Texts from the command to answers: tables, folders of files, and tags of tokens."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridcell import pipeline, scoring
from gridcell.cli import main
from gridcell.config import DataConfig, from_mapping
from gridcell.errors import ConfigError, SourceError
from gridcell.model import Model
from gridcell.record import Run

GOOD = ["a fine film with heart", "wonderful acting, I loved it", "what a joy from start to end"]
BAD = ["a dull film without life", "terrible acting, I hated it", "what a bore from start to end"]
NAMES = ["Anna", "Bob", "the editor", "my neighbour", "Zoë", "an old friend"]


def reviews(path: Path, count: int = 90) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["text", "stars"])
        for number in range(count):
            good = number % 2 == 0
            who, said = NAMES[number % 6], (GOOD if good else BAD)[number // 2 % 3]
            table.writerow([f"{said}, says {who} of number {number}", "up" if good else "down"])
    return path


def sentences(path: Path, count: int = 60) -> Path:
    """A word in capitals is a NAME, one that ends in -ed a VERB, all else is X."""
    draw = np.random.default_rng(0)
    lines = []
    for number in range(count):
        lines.append(f"# sent_id = {number}")
        for place in range(int(draw.integers(3, 7))):
            stem = "".join(draw.choice(list("abcdefg"), 4))
            kind = int(draw.integers(3))
            token = (stem.capitalize(), f"{stem}ed", stem)[kind]
            tag = ("NAME", "VERB", "X")[kind]
            lines.append("\t".join([str(place + 1), token, "_", tag, *"______"]))
        lines.append("")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def trained(path: Path, out: Path, **settings: Any) -> Run:
    chosen = {"net": "embed(16) lstm(16, both) max", "epochs": 12, "rate": 0.02}
    return pipeline.train(from_mapping(path, chosen | {"precision": "float32"} | settings, out=out))


def test_a_table_of_texts_trains_and_answers_for_new_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(reviews(tmp_path / "reviews.csv"), tmp_path / "run")
    assert run.scores is not None and run.scores["accuracy"].value == 1.0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert any("different words known from" in note for note in record["training"]["notes"])
    model = Model.load(run.model_file)
    assert model.kind == "texts"

    # A file of one text, with a word that was never seen and an emoji.
    one = tmp_path / "one.txt"
    one.write_text("wonderful acting, I loved it, says Anna of number 🎬\r\n", "utf-8")
    assert [p.label for p in model.predict(one)] == ["up"]
    # A table of texts, an answer a row.
    new = tmp_path / "new.csv"
    new.write_text("text\nwonderful acting\nterrible acting\n", "utf-8")
    assert main(["predict", str(run.model_file), str(new), str(one), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["label"] for row in rows] == ["up", "down", "up"]
    assert [row["path"] for row in rows] == [f"{new}#2", f"{new}#3", str(one)]


def test_the_column_of_texts_that_training_found_is_read_beside_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(reviews(tmp_path / "reviews.csv"), tmp_path / "run")
    assert Model.load(run.model_file).preparation.column == "text"  # type: ignore[union-attr]
    beside = tmp_path / "beside.csv"
    heading, *rows = reviews(tmp_path / "more.csv", 30).read_text("utf-8").splitlines()
    lines = [f"a note on number {n},{row}" for n, row in enumerate(rows)]
    beside.write_text("\n".join([f"note,{heading}", *lines]) + "\n", "utf-8")
    assert [p.label for p in run.model.predict(beside)] == ["up", "down"] * 15
    scores = scoring.evaluate(run.model, beside, DataConfig())
    assert scores is not None and scores["accuracy"].value == 1.0

    # A table without that column has one that can be meant, or says what to do.
    other = tmp_path / "other.csv"
    other.write_text("said\n" + "\n".join(row.rsplit(",", 1)[0] for row in rows) + "\n", "utf-8")
    assert [p.label for p in run.model.predict(other)][:2] == ["up", "down"]
    unclear = tmp_path / "unclear.csv"
    unclear.write_text(beside.read_text("utf-8").replace("note,text", "note,said"), "utf-8")
    assert main(["predict", str(run.model_file), str(unclear)]) == 2
    said = capsys.readouterr().err
    assert "could hold the texts: note, said" in said and "--text-column" not in said
    assert "leave one column of texts in the table, and call it text as in training" in said


def test_the_column_that_was_learned_is_scored_whatever_stands_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(reviews(tmp_path / "reviews.csv"), tmp_path / "run")
    more = reviews(tmp_path / "more.csv", 30).read_text("utf-8")
    rows = list(csv.reader(more.splitlines()))[1:]
    guessed = [(text, ("up", "down")[n % 3 == 0], stars) for n, (text, stars) in enumerate(rows)]

    def written(name: str, heading: list[str], places: list[int]) -> Path:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(heading)
            table.writerows([[row[place] for place in places] for row in guessed])
        return tmp_path / name

    both = written("both.csv", ["text", "guess", "stars"], [0, 1, 2])
    assert main(["evaluate", str(run.model_file), str(both), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"][0]["name"] == "accuracy" and found["scores"][0]["value"] == 1.0
    alone = written("alone.csv", ["text", "guess"], [0, 1])
    assert main(["evaluate", str(run.model_file), str(alone)]) == 2
    said = capsys.readouterr().err
    assert "alone.csv has no column stars, which the model was trained to answer" in said
    assert "Its columns: text, guess" in said and "--target" in said
    assert main(["evaluate", str(run.model_file), str(alone), "--target", "guess"]) == 0


def test_the_tags_that_were_learned_are_scored(tmp_path: Path) -> None:
    path = sentences(tmp_path / "bank.conllu", 30)
    lines = [line.split("\t") for line in path.read_text("utf-8").split("\n")]
    for cells in lines:
        if len(cells) > 4:  # the second kind of tags
            cells[4] = cells[3].lower()
    path.write_text("\n".join("\t".join(cells) for cells in lines), "utf-8")
    net = "spell(16, letters=32) lstm(16, both)"
    run = trained(path, tmp_path / "run", net=net, epochs=1, target=["xpos"])
    assert run.model.labels == ("name", "verb", "x")
    scores = scoring.evaluate(Model.load(run.model_file), path, DataConfig())
    assert scores is not None and scores.labels == run.model.labels
    assert scores.task == run.model.task == "tags"


def test_an_empty_text_of_a_table_is_skipped_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(reviews(tmp_path / "reviews.csv"), tmp_path / "run")
    new = tmp_path / "new.csv"
    new.write_text('text,n\nwonderful acting,1\n" ",2\nterrible acting,3\n', "utf-8")
    with pytest.raises(SourceError, match=r"no text in row 3 .*\n.*--on-bad-file skip"):
        run.model.predict(new)
    arguments = ["predict", str(run.model_file), str(new), "--format", "csv"]
    assert main([*arguments, "--on-bad-file", "skip"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["label"] for row in rows] == ["up", "", "down"]
    assert (rows[1]["path"], rows[1]["reason"]) == (f"{new}#3", f"{new}#3 holds no text.")
    new.write_text('text,n\n" ",2\n', "utf-8")
    assert [p.label for p in run.model.predict(new, skip_bad_files=True)] == [None]


def test_how_a_table_of_texts_is_written_is_kept(tmp_path: Path) -> None:
    path = reviews(tmp_path / "reviews.csv", 40)
    rows = path.read_text("utf-8").splitlines()
    written = "\n".join(";".join(row.rsplit(",", 1)).replace('"', "") for row in rows)
    path.write_text(written.replace(", I", ", I, I, I"), "latin-1")
    run = trained(path, tmp_path / "run", epochs=1, encoding="latin-1", delimiter="semicolon")
    model = Model.load(run.model_file)
    assert len(model.predict(path)) == 40
    scores = scoring.evaluate(model, path, DataConfig())
    assert scores is not None and scores.items == 40
    for label in ("up", "down"):  # where no separator is of use
        (tmp_path / "mail" / label).mkdir(parents=True)
        (tmp_path / "mail" / label / "one.txt").write_text("Zo\xeb says so", "latin-1")
    scores = scoring.evaluate(model, tmp_path / "mail", DataConfig())
    assert scores is not None and scores.items == 2


@pytest.mark.parametrize("name", ["nope.csv", "nope.tsv", "nope.parquet", "nope.txt"])
def test_a_file_of_texts_that_is_not_there_is_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(reviews(tmp_path / "reviews.csv", 40), tmp_path / "run", epochs=1)
    assert main(["predict", str(run.model_file), str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"{name} does not exist." in said and "--on-bad-file skip" in said


@pytest.mark.parametrize("name", ["nope.csv", "nope.conllu", "nope.txt"])
def test_a_file_of_tokens_that_is_not_there_is_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sentences(tmp_path / "bank.conllu", 30)
    run = trained(path, tmp_path / "run", net="spell(16, letters=32) lstm(16, both)", epochs=1)
    assert main(["predict", str(run.model_file), str(tmp_path / name)]) == 2
    assert f"{name} does not exist." in capsys.readouterr().err


def test_an_answer_does_not_depend_on_the_texts_beside_it(tmp_path: Path) -> None:
    run = trained(reviews(tmp_path / "reviews.csv", 40), tmp_path / "run", epochs=1)
    new = tmp_path / "new.csv"
    texts = ["good", "a much longer text than all the others are, by far", "dull film"]
    new.write_text("text\n" + "".join(f'"{text}"\n' for text in texts), "utf-8")
    together = run.model.predict(new)
    for number, text in enumerate(texts):
        alone = tmp_path / f"{number}.txt"
        alone.write_text(text, "utf-8")
        (found,) = run.model.predict(alone)
        assert found.probabilities == pytest.approx(together[number].probabilities, abs=1e-6)


def test_a_folder_of_text_files_trains(tmp_path: Path) -> None:
    for number in range(40):
        good = number % 2 == 0
        folder = tmp_path / "mail" / ("up" if good else "down")
        folder.mkdir(parents=True, exist_ok=True)
        said = (GOOD if good else BAD)[number // 2 % 3]
        (folder / f"{number}.txt").write_text(f"{said} {number}", "utf-8")
    run = trained(tmp_path / "mail", tmp_path / "run")
    assert run.scores is not None and run.scores["accuracy"].value == 1.0


def test_every_token_has_its_tag_even_one_that_was_never_seen(  # S32
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sentences(tmp_path / "bank.conllu")
    net = "spell(16, letters=32) lstm(16, both)"
    run = trained(path, tmp_path / "run", net=net, epochs=25)
    assert run.scores is not None and run.model.task == "tags"
    accuracy = run.scores["accuracy"].value
    assert accuracy is not None and accuracy > 0.95
    new = tmp_path / "new.txt"
    new.write_text("Gaga gaga gagaed\n\nFebe\n", "utf-8")
    found = Model.load(run.model_file).predict(new)
    assert [p.tags for p in found] == [("NAME", "X", "VERB"), ("NAME",)]
    assert found[0].path == f"{new}#1" and found[1].path == f"{new}#3"
    scores = scoring.evaluate(run.model, path, from_mapping(path, {}).data)
    assert scores is not None and (scores["accuracy"].value or 0) > 0.95
    assert main(["predict", str(run.model_file), str(new)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[1:3] == ["1", "NAME"]


def test_word_vectors_are_where_the_embedding_starts_and_are_not_needed_later(
    tmp_path: Path,
) -> None:
    path = reviews(tmp_path / "reviews.csv", 40)
    vectors = tmp_path / "vectors.txt"
    draw = np.random.default_rng(0)
    words = ["fine", "dull", "wonderful", "terrible", "Anna", "zebra"]
    lines = [f"{word} " + " ".join(f"{n:.4f}" for n in draw.normal(size=20)) for word in words]
    vectors.write_text("\n".join(["6 20", *lines]) + "\n")
    run = trained(path, tmp_path / "run", net="lstm", epochs=2, vectors=vectors)
    assert run.model.network.notation.startswith("spell(20) ")
    notes = json.loads((tmp_path / "run" / "run.json").read_text())["training"]["notes"]
    assert any(note.startswith("Vectors: 4 of ") and "vectors.txt" in note for note in notes)
    vectors.unlink()
    new = tmp_path / "new.txt"
    new.write_text("a fine film")
    assert [p.label for p in Model.load(run.model_file).predict(new)] == [
        p.label for p in run.model.predict(new)
    ]
    with pytest.raises(SourceError, match=r"vectors\.txt cannot be opened"):
        trained(path, tmp_path / "other", epochs=1, vectors=vectors)
    with pytest.raises(ConfigError, match="vectors has no effect here: the model brings its own"):
        scoring.evaluate(run.model, path, from_mapping(path, {"vectors": vectors}).data)


def test_a_text_without_a_word_in_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(reviews(tmp_path / "reviews.csv", 40), tmp_path / "run", epochs=1)
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    assert main(["predict", str(run.model_file), str(empty)]) == 2
    assert "empty.txt holds only white space" in capsys.readouterr().err
