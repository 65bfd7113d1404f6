"""The command line: what it prints, what it says of bad input, and its exit codes."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import gridcell
from gridcell import cli, pipeline, preparation
from gridcell.cli import main
from gridcell.config import DataConfig
from gridcell.errors import ConfigError

SRC = Path(gridcell.__file__).parent.parent
NET = "conv(8, 3) relu maxpool(2)"
FAST = ("--net", NET, "--epochs", "6", "--rate", "0.02", "--precision", "float32")
COMMANDS = ("train", "inspect", "evaluate", "predict", "show", "demo")
EXAMPLE = "conv(12, 3) relu maxpool(2) flatten dense(10)"


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs one command in this process."""

    def command(*words: str | Path) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        return Said(code, said.out, said.err)

    return command


def refused(said: Said, *words: str) -> None:
    """Check that a command ended with 2 and one message that holds these words."""
    assert said.code == 2, said
    assert said.err.startswith("gridcell: ")
    assert said.err.count("gridcell: ") == 1
    for word in words:
        assert word in said.err, (word, said.err)


def colours(folder: Path, count: int = 20, names: Iterable[str] = ("blue", "red")) -> Path:
    """A folder of pictures in colours that are easily told apart."""
    shades = {"blue": (40, 60, 200), "red": (200, 60, 40), "green": (60, 200, 60)}
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw = np.random.default_rng((len(name), number))
            values = np.array(shades[name]) + draw.integers(-30, 31, (8, 8, 3))
            letters = "".join(chr(97 + int(digit)) for digit in f"{number:03d}")
            picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
            picture.save(folder / name / f"{letters}.png")
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return colours(tmp_path / "toy")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a run on the toy; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRIDCELL_CACHE", str(folder / "cache"))
        toy = colours(folder / "toy")
        assert main(["train", str(toy), *FAST, "--out", str(folder / "run")]) == 0
    return folder / "run" / "model.gridcell"


# --- Help ----------------------------------------------------------------------------------------


def test_help_lists_every_command(run: Run) -> None:
    said = run("--help")
    assert said.code == 0
    assert all(f" {name} " in said.out for name in COMMANDS)
    assert run().out == said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_an_example(run: Run, name: str) -> None:
    said = run(name, "--help")
    assert said.code == 0
    assert f"Example: gridcell {name}" in " ".join(said.out.split())


def test_the_help_of_train_names_every_setting_with_its_sentence(run: Run) -> None:
    words = " ".join(run("train", "--help").out.replace("│", " ").split())
    for option in ("--epochs", "--budget", "--group", "--on-bad-file", "--image-size", "--out"):
        assert option in words
    assert "Times that every training row is seen" in words
    assert "Column of the table whose equal values never stand on two sides" in words


@pytest.mark.parametrize("name", COMMANDS)
def test_help_breaks_no_sentence_and_shows_no_empty_default(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.app, "_console", Console(width=1000))
    lines = run(name, "--help").out.splitlines()
    assert not any("[default: ()]" in line or "[default: []]" in line for line in lines)
    rows = [line.strip("│ ") for line in lines if line.startswith("│")]
    assert rows and not [row for row in rows if not row.startswith(("-", "*")) and row.islower()]
    assert all(row.startswith(("-", "*")) or row.split()[0].isupper() for row in rows)


def test_the_help_of_evaluate_names_no_setting_that_it_refuses(run: Run) -> None:
    assert set(cli.OF_THE_MODEL) == {"task", *preparation.SETTINGS}
    words = run("evaluate", "--help").out.split()
    options = {field.name: f"--{field.name.replace('_', '-')}" for field in fields(DataConfig)}
    for name, option in options.items():
        assert (option in words) != (name in cli.OF_THE_MODEL), name


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").out.strip() == gridcell.__version__


def gridcell_process(*words: str | Path, **options: Any) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(SRC),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "gridcell", *map(str, words)],
        env=environment,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def test_help_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from gridcell.cli import main\n"
        "assert main(['--help']) == 0 and main(['train', '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'sklearn', 'duckdb'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- Each command --------------------------------------------------------------------------------


def test_train_says_what_it_understood_and_where_things_are(
    run: Run, toy: Path, tmp_path: Path
) -> None:
    said = run("train", toy, *FAST, "--out", tmp_path / "run")
    assert said.code == 0 and said.err == ""
    for words in (
        "40 images in 2 classes: blue, red.",
        "Prepared as: 8x8 colour",
        "Split at random, each class in its share: train 30",
        f"Network: {NET} flatten dense(2)",
        "Epochs: 6, as asked",
        "Arithmetic: float32, as asked",
        "Augmentation: each image at random:",
        "kept: epoch ",
        "trivial guess",
        "accuracy",
        "100.0 %",
        f"{tmp_path / 'run' / 'model.gridcell'}, ",
        f"Next: gridcell predict {tmp_path / 'run' / 'model.gridcell'} FILES",
    ):
        assert words in said.out, words
    assert "nan" not in said.out.lower()


@pytest.mark.parametrize("net", ["rows", "rows rnn(8) last", "conv(4, 3) rows lstm(8) mean"])
def test_images_read_row_by_row_train_from_the_command_line(  # S35
    run: Run, toy: Path, tmp_path: Path, net: str
) -> None:
    words = ("--net", net, "--epochs", 2, "--precision", "float32", "--out", tmp_path / "run")
    said = run("train", toy, *words)
    assert said.code == 0, said.err
    kind = "rnn" if "rnn" in net else "lstm"
    assert f"Engine: fused, the {kind} walks over all steps in one kernel." in said.out
    said = run("predict", tmp_path / "run" / "model.gridcell", toy / "red", "--format", "jsonl")
    assert said.code == 0 and len(said.out.splitlines()) == 20


def test_train_prints_json_alone_on_standard_output(run: Run, toy: Path, tmp_path: Path) -> None:
    said = run("train", toy, *FAST, "--out", tmp_path / "run", "--json")
    assert said.code == 0
    assert json.loads(said.out) == json.loads((tmp_path / "run" / "run.json").read_text())
    assert "40 images in 2 classes" in said.err


@pytest.mark.parametrize("command", ["show", "bench"])
def test_a_place_on_the_disk_is_not_taken_for_a_network(
    run: Run, tmp_path: Path, command: str
) -> None:
    said = run(command, "runs/nothing")
    assert said.code == 2 and "runs/nothing is no file that is there" in said.err
    said = run(command, tmp_path)
    assert said.code == 2 and f"{tmp_path} is a folder, and {command} wants a model" in said.err
    (tmp_path / "model.gridcell").touch()
    said = run(command, tmp_path)
    assert said.code == 2 and f"{tmp_path / 'model.gridcell'} is empty" in said.err


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(
    run: Run, toy: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = run("train", toy, *FAST, "--out", tmp_path / "file" / "run")
    assert said.code == 2 and "epoch" not in said.out
    assert f"{tmp_path / 'file' / 'run'} cannot be written to: Not a directory." in said.err
    assert "--out" in said.err


def test_a_preset_with_batchnorm_behind_a_dense_layer_refuses_single_items(
    run: Run, toy: Path, tmp_path: Path
) -> None:
    settings = ["--net", "lenet", "--epochs", "1", "--out", tmp_path / "run"]
    said = run("train", toy, *settings, "--batch-size", "1")
    refused(
        said,
        "of 30 items in batches of 1 each stands alone: batchnorm cannot train on (1, 128)",
        "Fix: give --batch-size 3 or more, or write layernorm in place of batchnorm in --net.",
    )
    assert not (tmp_path / "run").exists()
    assert run("train", toy, *settings, "--batch-size", "3").code == 0


def test_options_reach_the_settings(run: Run, toy: Path, tmp_path: Path) -> None:
    said = run(
        *("train", toy, *FAST, "--out", tmp_path / "run", "--json", "--no-augment"),
        *("--valid", "0.2", "--test", "0.2", "--batch-size", "4", "--seed", "7", "--ema", "0"),
        *("--optimizer", "sgd", "--class-weights", "balanced", "--image-size", "16"),
    )
    assert said.code == 0
    found = json.loads(said.out)
    assert found["settings"]["split"] == {
        "valid": 0.2,
        "test": 0.2,
        "group": None,
        "folds": None,
    }
    train = found["settings"]["train"]
    assert train["augment"] is False and train["seed"] == 7 and train["optimizer"] == "sgd"
    assert found["training"]["plan"]["batch_size"] == 4
    assert found["data"]["rows"] == {"train": 24, "valid": 8, "test": 8}
    assert found["preparation"]["height"] == 16
    assert "Augmentation: off." in found["training"]["notes"]


def test_inspect_prints_and_trains_nothing(
    run: Run, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("inspect", toy)
    assert said.code == 0
    assert "40 images in 2 classes: blue, red." in said.out and "Training" not in said.out
    found = json.loads(run("inspect", toy, "--json").out)
    assert found["labels"] == ["blue", "red"] and found["items"] == 40
    assert sum(found["rows"].values()) == 40
    assert found["findings"] and {"level", "text"} == set(found["findings"][0])
    assert not (tmp_path / "runs").exists()


def test_evaluate_prints_scores_beside_their_baselines(run: Run, trained: Path, toy: Path) -> None:
    said = run("evaluate", trained, toy)
    assert said.code == 0
    assert "Scores on 40 rows" in said.out
    assert "trivial guess" in said.out and "accuracy" in said.out
    found = json.loads(run("evaluate", trained, toy, "--json").out)
    assert found["items"] == 40 and found["labels"] == ["blue", "red"]
    assert {score["name"] for score in found["scores"]} >= {"accuracy", "log loss"}


def test_evaluate_on_the_data_of_training_warns(run: Run, trained: Path, toy: Path) -> None:
    warning = "! These are the data that the model was trained on (and chosen by)"
    assert warning in " ".join(run("evaluate", trained, toy).out.split())
    said = run("evaluate", trained, toy, "--json")
    assert warning in " ".join(said.err.split()) and json.loads(said.out)["items"] == 40
    (toy / "red" / "aaa.png").unlink()
    assert warning not in " ".join(run("evaluate", trained, toy).out.split())


def test_evaluate_needs_neither_two_classes_nor_a_train_split(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    said = run("evaluate", trained, colours(tmp_path / "one", 3, names=("red",)))
    assert said.code == 0 and "Scores on 3 rows" in said.out
    said = run("evaluate", trained, colours(tmp_path / "new" / "test", 3).parent)
    assert said.code == 0 and "Scores on 6 test rows" in said.out
    refused(run("evaluate", trained, tmp_path / "one" / "red"), "3 images, but no class folders")


def test_predict_prints_a_table(run: Run, trained: Path, toy: Path) -> None:
    said = run("predict", trained, toy / "red" / "aaa.png", toy / "blue" / "aab.png")
    assert said.code == 0
    first, second = said.out.splitlines()
    assert first.split()[:2] == [str(toy / "red" / "aaa.png"), "red"] and first.endswith("%")
    assert second.split()[1] == "blue"


def test_predict_reads_whole_folders(run: Run, trained: Path, toy: Path) -> None:
    said = run("predict", trained, toy)
    answers = [line.split()[1] for line in said.out.splitlines()]
    assert answers == ["blue"] * 20 + ["red"] * 20


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("option", [("--format", "csv"), ("--format=csv",)])
def test_options_of_predict_stand_anywhere(
    run: Run, trained: Path, toy: Path, option: tuple[str, ...], place: int
) -> None:
    names: list[str | Path] = [trained, toy / "red" / "aaa.png", toy / "blue" / "aab.png"]
    words = [*names[:place], *option, *names[place:]]
    assert run("predict", *words).out == run("predict", *names, "--format", "csv").out


@pytest.mark.parametrize("option", ["--group", "--folds"])
@pytest.mark.parametrize("command", ["train", "inspect"])
def test_empty_groups_and_folds_are_refused(run: Run, toy: Path, command: str, option: str) -> None:
    refused(run(command, toy, option, ""), f"{option[2:]} is empty, and names nothing.")


def test_predict_prints_csv(run: Run, trained: Path, toy: Path) -> None:
    lines = run("predict", trained, toy / "red", "--format", "csv").out.splitlines()
    assert lines[0] == "path,label,probability,blue,red,reason"
    assert len(lines) == 21 and lines[1].split(",")[1] == "red"


def test_predict_prints_json_lines(run: Run, trained: Path, toy: Path) -> None:
    said = run("predict", trained, toy / "red", "--format", "jsonl")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert len(found) == 20
    assert all(item["label"] == "red" for item in found)
    assert set(found[0]["probabilities"]) == {"blue", "red"}


def test_predict_reads_paths_from_standard_input(
    run: Run, trained: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [toy / "red" / "aab.png", toy / "blue" / "aaa.png"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{paths[0]}\r\n\n{paths[1]}\n"))
    said = run("predict", trained, "-", "--format", "jsonl")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [item["path"] for item in found] == [str(path) for path in paths]
    assert [item["label"] for item in found] == ["red", "blue"]


def test_predict_reads_the_files_that_a_table_names(run: Run, trained: Path, toy: Path) -> None:
    table = toy / "new.csv"
    table.write_text(
        "note;file\nfirst;red/aab.png\nagain;blue\\aaa.png\ntwice;red/aab.png\n", "utf-8"
    )
    said = run("predict", trained, table, "--format", "jsonl")
    found = [json.loads(line) for line in said.out.splitlines()]
    wanted = [str(toy / "red" / "aab.png"), str(toy / "blue" / "aaa.png")]
    assert [item["path"] for item in found] == wanted
    assert [item["label"] for item in found] == ["red", "blue"]


def test_predict_is_told_which_column_names_the_files(run: Run, trained: Path, toy: Path) -> None:
    table = toy / "new.csv"
    table.write_text("before,after\nred/aab.png,blue/aaa.png\n", "utf-8")
    refused(run("predict", trained, table), "before, after", "--path-column before")
    said = run("predict", trained, table, "--path-column", "after", "--format", "csv")
    assert said.out.splitlines()[1].split(",")[:2] == [str(toy / "blue" / "aaa.png"), "blue"]
    [answer] = gridcell.load(trained).predict(table, path_column="after")
    assert answer.label == "blue"
    with pytest.raises(ConfigError, match="path_column has no effect"):
        gridcell.load(trained).predict([table], path_column="after")
    refused(run("predict", trained, table, "--path-column", "aftr"), "aftr", "after")
    refused(run("predict", trained, toy / "red", "--path-column", "x"), "is a table of paths")


def test_a_file_that_a_table_names_and_that_is_gone(run: Run, trained: Path, toy: Path) -> None:
    table = toy / "new.csv"
    table.write_text("file\nred/aab.png\nred/gone.png\n", "utf-8")
    refused(run("predict", trained, table), "gone.png", "--on-bad-file skip")
    said = run("predict", trained, table, "--on-bad-file", "skip", "--format", "jsonl")
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert first["label"] == "red" and "gone.png" in second["reason"]


def test_an_option_that_predict_has_not_is_no_file(run: Run, trained: Path, toy: Path) -> None:
    said = run("predict", trained, toy / "red" / "aaa.png", "--formt", "csv")
    refused(
        said, "Unknown option: --formt. Did you mean --format?", "a file of that name is ./--formt"
    )


def test_a_bad_file_stops_prediction_or_is_skipped(run: Run, trained: Path, toy: Path) -> None:
    (toy / "red" / "bad.png").write_text("no picture")
    refused(run("predict", trained, toy / "red"), "bad.png isn't an image", "--on-bad-file skip")
    said = run("predict", trained, toy / "red", "--on-bad-file", "skip", "--format", "jsonl")
    assert said.code == 0
    found = {Path(line["path"]).name: line for line in map(json.loads, said.out.splitlines())}
    assert len(found) == 21
    assert found["bad.png"]["label"] is None and "isn't an image" in found["bad.png"]["reason"]


def test_blank_files_are_named_on_standard_error_behind_the_answers(
    run: Run, trained: Path, toy: Path
) -> None:
    red = toy / "red"
    for number in range(8):
        Image.new("RGB", (8, 8)).save(red / f"black{number}.png")
    said = run("predict", trained, red, "--format", "csv")
    assert said.code == 0
    names = ", ".join(str(red / f"black{number}.png") for number in range(6))
    assert said.err == (
        f"gridcell: 8 files are of one colour throughout, as the network sees them: {names} and 2 "
        "more.\n"
    )
    header, *rows = said.out.splitlines()
    assert header == "path,label,probability,blue,red,reason" and len(rows) == 28
    for file in red.glob("black*.png"):
        file.unlink()
    usual = run("predict", trained, red, "--format", "csv")
    assert usual.err == ""
    assert usual.out.splitlines() == [header, *(row for row in rows if "black" not in row)]


def test_json_lines_are_the_same_for_blank_files(run: Run, trained: Path, toy: Path) -> None:
    Image.new("RGB", (8, 8)).save(toy / "red" / "black.png")
    said = run("predict", trained, toy / "red", "--format", "jsonl")
    assert "1 file is of one colour throughout, as the network sees it: " in said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert len({tuple(line) for line in lines}) == 1 and "remark" not in lines[0]


def test_show_prints_the_example_of_the_book(run: Run) -> None:
    said = run("show", EXAMPLE, "--input", "32x32x3")
    assert said.code == 0
    assert "32x32x3" in said.out.splitlines()[0]
    outputs = [line.split() for line in said.out.splitlines()[2:]]
    text = "\n".join(" ".join(words) for words in outputs)
    order = ["32x32x12", "32x32x12", "16x16x12", "3072", "10"]
    sizes = [next((w for w in words if w in order), None) for words in outputs]
    assert [size for size in sizes if size] == order, text
    found = json.loads(run("show", EXAMPLE, "--input", "32x32x3", "--json").out)
    assert [row["output"] for row in found if row["depth"] == 0][-5:] == order
    parameters = sum(row["parameters"] for row in found if row["depth"] == 0)
    assert parameters == 12 * (3 * 3 * 3 + 1) + 10 * (3072 + 1)


def test_show_reads_a_model_file(run: Run, trained: Path) -> None:
    said = run("show", trained)
    assert said.code == 0
    assert NET in said.out and "8x8x3" in said.out
    assert json.loads(run("show", trained, "--json").out)


def test_show_takes_a_long_network(run: Run) -> None:
    """Longer than any file name may be."""
    said = run("show", " ".join(["conv(8, 3) relu"] * 40), "--input", "8x8x3")
    assert said.code == 0
    assert said.out.count("conv(8, 3)") >= 40


def test_show_sizes_a_network_of_texts(run: Run) -> None:
    network = "embed(16) lstm(8) last dense(2)"
    said = run("show", network, "--input", "T:500").out
    assert "500 * 16 = 8,000" in said and "4 * (16 + 8 + 2) * 8 = 832" in said
    assert "50 x 16" in run("show", network, "--input", "50:500").out
    said = run("show", "spell(16) last dense(2)", "--input", "T:500:30").out
    assert "500 * 16 + 30 * 32 +" in said
    refused(run("show", network, "--input", "Tx500"), "--input T:5000")
    refused(run("show", network, "--input", "T:0"), "T:5000 for a text of 5,000 different words")


@pytest.mark.parametrize(
    ("network", "outputs", "totals"),
    [
        # 3*4*16 at each step; (16 + 16)*64 at every fourth; 16*3 once. Bytes are 4 a number.
        (
            "conv(16, time=3) maxpool(time=4) lstm(16) last dense(3)",
            ["T x 16", "T/4 x 16", "T/4 x 16", "16", "3"],
            f"{3 * 4 * 16 + 32 * 64 // 4} multiply-adds and {64 + 32} B a step of the input, "
            f"48 multiply-adds and {64 + 12} B once an item.",
        ),
        # Each of three members: 4*8 at each step, 8*16 at every second, 16 once.
        (
            "ensemble(conv(8, time=1) maxpool(time=2) conv(16, time=1) mean dense(1), members=3)",
            ["T x 8", "T/2 x 8", "T/2 x 16"],
            f"{3 * (32 + 64)} multiply-adds and {3 * 4 * (8 + 4 + 8)} B a step of the input, "
            f"{3 * 16} multiply-adds and {3 * 4 * 17 + 4} B once an item.",
        ),
    ],
)
def test_show_reckons_with_fewer_steps_behind_a_stride(
    run: Run, network: str, outputs: list[str], totals: str
) -> None:
    shown = run("show", network, "--input", "Tx4")
    assert shown.code == 0
    assert totals in " ".join(shown.out.split())
    for output in outputs:
        assert f" {output} " in shown.out


def test_show_sizes_a_preset(run: Run) -> None:
    assert run("show", "tiny", "--input", "28x28x1", "--outputs", "10").code == 0
    refused(run("show", "tiny", "--input", "28x28x1"), "add --outputs 10.")


def test_demo_writes_digits_and_trains(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("demo", "digits", "--net", "globalpool", "--epochs", "1", "--precision", "float32")
    assert said.code == 0
    assert "1,797 images in digits/ (scikit-learn's handwritten digits" in said.out
    assert len(list((tmp_path / "digits").rglob("*.png"))) == 1797
    assert (tmp_path / "runs" / "digits" / "model.gridcell").exists()
    (tmp_path / "digits" / "mine.txt").write_text("precious")
    refused(run("demo"), "digits already holds something else.", "name another with --folder.")
    assert (tmp_path / "digits" / "mine.txt").exists()


# --- Bad input -----------------------------------------------------------------------------------


def test_no_such_path(run: Run, tmp_path: Path, trained: Path) -> None:
    colours(tmp_path / "photos", 1)
    for words in (("train",), ("inspect",), ("evaluate", trained)):
        refused(
            run(*words, tmp_path / "photoz"),
            f"{tmp_path / 'photoz'} does not exist. Did you mean photos?",
            "Fix: name a folder of class folders",
        )
    said = run("predict", trained, tmp_path / "no.jpg")
    refused(said, "no.jpg does not exist.", "Fix: name another file, or pass --on-bad-file skip.")


def test_no_images(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty" / "a").mkdir(parents=True)
    (tmp_path / "empty" / "a" / "notes.doc").write_text("x")
    refused(
        run("train", tmp_path / "empty"),
        "empty holds no image, sound or clip. Extensions seen: .doc (1). Supported: .jpg",
        "Fix: ",
    )
    (tmp_path / "flat").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "flat" / "a.png")
    refused(run("train", tmp_path / "flat"), "holds 1 image, but no class folders")


def test_no_images_to_predict(run: Run, tmp_path: Path, trained: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(run("predict", trained, tmp_path / "empty"), "empty holds no image.")


def test_one_class(run: Run, tmp_path: Path) -> None:
    path = colours(tmp_path / "one", 5, names=["red"])
    refused(run("train", path), "at least 2 classes are needed, only red was found.", "Fix: ")


def test_unreadable_files_are_all_listed_and_may_be_skipped(
    run: Run, toy: Path, tmp_path: Path
) -> None:
    bad = [toy / "red" / f"bad{number}.png" for number in range(4)]
    for file in bad[:3]:
        file.write_bytes(b"no picture")
    bad[3].write_bytes((toy / "red" / "aaa.png").read_bytes()[:-60])
    said = run("train", toy, *FAST, "--out", tmp_path / "run")
    refused(said, *(str(file) for file in bad[:3]), "--on-bad-file skip")
    assert not (tmp_path / "run").exists()
    said = run("train", toy, *FAST, "--out", tmp_path / "run", "--on-bad-file", "skip")
    assert said.code == 0
    assert all(file.name in said.out for file in bad)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--epoch", "3"], "Unknown option: --epoch. Did you mean --epochs?"),
        (["--on-bad-files", "skip"], "Did you mean --on-bad-file?"),
        (["--epochs", "many"], "--epochs 'many' cannot be used: it must be a whole number."),
        (["--epochs", "+3"], "Fix: give the number of all epochs together"),
        (["--epochs", "0"], "epochs = 0 is out of range: it must be 1 to 100000."),
        (["--optimizer", "adam"], 'Invalid value "adam" for --optimizer.'),
        (["--budget", "soon"], "budget 'soon' is not a duration."),
        (["--budget", "5m", "--epochs", "3"], "epochs and budget both say how long to train."),
        (["--valid", "0.5", "--test", "0.5"], "leave less than a tenth of the rows"),
        (["--group", "patient"], "group has no effect on a folder of class folders"),
        (["--target", "price"], "target has no effect on a folder of class folders"),
        (["--task", "regress"], "task regress cannot be read from a folder of class folders"),
        (["--net", "relux"], "Did you mean relu?"),
        (["--net", "conv(8 3)"], "conv(8 3)"),
        (["--net", "conv(8, 20, padding=valid)"], "the smallest input that works is 20x20"),
    ],
)
def test_settings_that_cannot_be_used(
    run: Run, toy: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    refused(run("train", toy, "--out", tmp_path / "run", *words), expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian", "photos"], 'Unknown command "trian". Did you mean "train"?'),
        (["train"], "requires an argument"),
        (["predict", "model.gridcell"], "no file is named to answer for"),
        (["show", "relu"], "Fix: add --input 32x32x3."),
        (["show", "relu", "--input", "32"], "input '32' is not a size."),
        (["show", "relu", "--input", "0x32x3"], "input '0x32x3' is not a size."),
        (["show", "conv(8, 3", "--input", "8x8x3"], "conv(8, 3"),
        (["predict", "model.gridcell", "a.png", "--format", "xml"], '"xml"'),
        (["demo", "letters"], '"letters"'),
    ],
)
def test_words_that_cannot_be_used(run: Run, words: list[str], expected: str) -> None:
    refused(run(*words), expected)


@pytest.mark.parametrize("value", ["1.5", "16.7", "3.0", "+3", "1e3", "0x10", ""])
@pytest.mark.parametrize("name", (*COMMANDS, "bench"))
def test_every_option_that_counts_takes_whole_numbers_alone(
    run: Run, name: str, value: str
) -> None:
    for argument in cli.app[name].assemble_argument_collection():
        if int in (argument.hint, *get_args(argument.hint)):
            said = run(name, "digits", "nowhere", f"{argument.name}={value}")
            refused(said, f"{argument.name} '{value}' cannot be used: it must be a whole number.")


@pytest.mark.parametrize("name", (*COMMANDS, "bench"))
def test_an_empty_path_is_not_the_folder_one_stands_in(run: Run, name: str) -> None:
    for argument in cli.app[name].assemble_argument_collection():
        kinds = (argument.hint, *get_args(argument.hint))
        if argument.name in ("MODEL", "PATH", "NETWORK"):
            refused(run(name, "", "photos"), "is empty, and names no file or folder")
        if argument.name in ("PATH", "ITEMS"):
            refused(
                run(name, *(["model"] if name in ("predict", "evaluate") else []), ""), "is empty"
            )
        if argument.name.startswith("--") and Path in kinds:
            refused(run(name, "digits", "x", f"{argument.name}="), f"{argument.name} is empty")


def test_a_name_too_long_for_any_file(run: Run, trained: Path) -> None:
    refused(run("train", "x" * 300), "does not exist")
    refused(run("predict", "x" * 300, "a.png"), "does not exist")
    refused(run("predict", trained, "x" * 300 + ".png"), "x.png")


@pytest.mark.parametrize("command", [("predict", "a.png"), ("evaluate", "data"), ("show",)])
def test_a_model_file_that_is_cut_forged_or_later(
    run: Run, tmp_path: Path, trained: Path, command: tuple[str, ...]
) -> None:
    name, *rest = command
    path = tmp_path / "model.gridcell"
    refused(run(name, path, *rest), "does not exist")
    path.write_bytes(trained.read_bytes()[:1500])
    refused(run(name, path, *rest), f"{path} is not a safe gridcell bundle, or it is cut")
    with zipfile.ZipFile(trained) as archive:
        contents = {member: archive.read(member) for member in archive.namelist()}
    changes = (
        ("model.json", contents["model.json"] + b" ", "was changed or damaged"),
        ("manifest.json", b'{"format": 99, "sha256": {}}', "has format 99"),
        ("data.pkl", b"cos\nsystem\n", "is not a safe gridcell bundle: it holds data.pkl."),
    )
    for member, content, words in changes:
        with zipfile.ZipFile(path, "w") as archive:
            for each, whole in (contents | {member: content}).items():
                archive.writestr(each, whole)
        refused(run(name, path, *rest), words)


def test_labels_that_the_model_does_not_know(run: Run, tmp_path: Path, trained: Path) -> None:
    other = colours(tmp_path / "other", 3, names=("blue", "green", "red"))
    said = run("evaluate", trained, other)
    assert said.code == 0
    assert "Scores on 6 rows" in said.out
    assert (
        "! 3 items have the label 'green', which the model does not know: they are left out. With "
        "them counted as wrong, accuracy is " in said.out
    )
    said = run("evaluate", trained, other, "--json")
    assert json.loads(said.out)["unknown"]["labels"] == {"green": 3}
    shutil.rmtree(other / "blue")
    shutil.rmtree(other / "red")
    refused(
        run("evaluate", trained, other),
        "the model knows no label of the data: they hold green, the model knows blue, red.",
    )


def test_a_label_never_seen_in_training(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "own"
    colours(own / "train", 4)
    colours(own / "test", 4, names=("blue", "green"))
    refused(run("train", own), "green (4 items in test) is a label never seen in training.")


def test_a_run_folder_that_holds_something(run: Run, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    said = run("train", toy, *FAST, "--out", tmp_path / "run")
    refused(said, "out: ", "already exists, and a run never overwrites anything.")


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_full_of_pixels(run: Run, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    refused(run("train", toy, *FAST), "cannot be written: the disk is full.", "Fix: free some")


def test_a_disk_full_at_the_end(
    run: Run, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("inspect", toy).code == 0  # so that the pixels are there already
    monkeypatch.setattr(os, "fsync", full)
    said = run("train", toy, *FAST, "--out", tmp_path / "run")
    path = tmp_path / "run" / "model.gridcell"
    refused(said, f"{path} cannot be written: the disk is full.")
    assert not path.exists() and not list(path.parent.glob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_standard_output_that_is_full() -> None:
    with (
        open("/dev/full", "w") as nowhere,
        gridcell_process("--version", stdout=nowhere) as process,
    ):
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("gridcell: standard output cannot be written: the disk is full.")
    assert "Traceback" not in err and "Exception ignored" not in err


# --- Exit codes ----------------------------------------------------------------------------------


def test_a_failed_training_is_1(run: Run, toy: Path, tmp_path: Path) -> None:
    said = run(
        *("train", toy, "--net", NET, "--epochs", "8", "--precision", "float32", "--seed", "1"),
        *("--optimizer", "sgd", "--rate", "1e6", "--batch-size", "1", "--out", tmp_path / "run"),
    )
    assert said.code == 1
    assert "the loss became" in said.err and "Fix: try a lower rate" in said.err


def test_a_fault_of_ours_is_not_hidden(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(pipeline, "train", broken)
    with pytest.raises(ZeroDivisionError):  # which ends the process with its traceback and 1
        main(["train", str(toy)])


def test_ctrl_c_before_training_is_130(
    run: Run, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(pipeline, "inspect", interrupted)
    said = run("train", toy)
    assert said.code == 130
    assert said.err == "gridcell: interrupted; nothing was written.\n"


def test_sigterm_before_training_is_143(
    run: Run, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(pipeline, "inspect", ended)
    said = run("train", toy)
    assert said.code == 143
    assert said.err == "gridcell: interrupted; nothing was written.\n"


def test_the_handlers_of_signals_are_put_back(run: Run, toy: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run("inspect", toy)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between processes")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_training_leaves_a_usable_model(
    toy: Path, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "run"
    words = (
        *("train", toy, "--net", NET, "--epochs", "100000", "--patience", "100000"),
        *("--precision", "float32", "--out", out),
    )
    with (
        open(tmp_path / "out.txt", "w") as file,
        gridcell_process(*words, stdout=file) as process,
    ):
        deadline = time.monotonic() + 60
        while "epoch    loss" not in (tmp_path / "out.txt").read_text():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    said = (tmp_path / "out.txt").read_text()
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "Stopping after this step; the best weights so far are kept." in said
    assert "interrupted in epoch" in said
    found = gridcell.load(out / "model.gridcell").predict(toy / "red")
    assert len(found) == 20 and all(item.label for item in found)
    record = json.loads((out / "run.json").read_text())
    assert record["training"]["history"]["ended"] == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="Windows closes pipes in another way")
def test_a_reader_that_has_had_enough_is_no_fault(trained: Path, toy: Path) -> None:
    many = [toy] * 40
    with gridcell_process("predict", trained, *many, "--format", "csv") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("path,label")
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0
    assert err == ""


@pytest.mark.parametrize("option", ["--target", "--inputs", "--known"])
def test_values_behind_an_option_tell_that_it_is_repeated(run: Run, option: str) -> None:
    said = run("train", "t.csv", option, "a", "b c", "--horizon", "4")
    refused(said, f"{option} takes one value, and 'b c' stands behind it")
    assert f"Fix: repeat the option: {option} a {option} 'b c'\n" in said.err
    said = run("inspect", "t.csv", f"{option}=a", "b", "c", "--horizon", "4")
    refused(said, f"Fix: repeat the option: {option} a {option} b {option} c\n")
    refused(run("inspect", "t.csv", option, "a", "--horizon", "4", "5"), "inspect --help lists")


def test_a_misspelt_option_of_predict_is_named(run: Run) -> None:
    told = "Unknown option: --tempreature. Did you mean --temperature?"
    refused(run("predict", "m", "--write", "5", "--tempreature", "2"), told, "predict --help lists")


def test_the_folder_of_a_run_is_known_as_one(run: Run, trained: Path) -> None:
    folder = trained.parent
    refused(run("train", folder), f"it goes on with gridcell train {folder} --resume.")


def test_names_of_which_there_are_too_many_are_said(run: Run) -> None:
    said = run("train", "a", "b c", "d", "e", "f")
    refused(said, "gridcell: train takes no further name, and is given 'b c' d e and 1 more.\n")
    refused(run("evaluate", "m", "p", "x"), "evaluate takes no further name, and is given x.\n")


def test_unknown_words_point_to_the_help_of_their_command() -> None:
    assert cli._command(["train", "photos"]) == "train "
    assert cli._command(["trian"]) == "" and cli._command([]) == ""


def test_a_moved_model_still_answers(run: Run, trained: Path, toy: Path, tmp_path: Path) -> None:
    """Nothing of the run or the data is needed beside the file."""
    shutil.copy(trained, tmp_path / "alone.gridcell")
    said = run("predict", tmp_path / "alone.gridcell", toy / "red" / "aaa.png")
    assert said.code == 0 and " red " in said.out


@pytest.mark.skipif(os.name == "nt", reason="Windows closes pipes in another way")
def test_training_goes_on_when_its_reader_has_gone(toy: Path, tmp_path: Path) -> None:
    with gridcell_process("train", toy, *FAST, "--out", tmp_path / "run") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("Data: ")
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0 and err == ""
    assert gridcell.load(tmp_path / "run" / "model.gridcell").labels == ("blue", "red")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("could not create a primitive"),
    ],
)
def test_a_memory_that_is_full_names_the_options_that_help(
    run: Run, toy: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def hungry(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "train", hungry)
    refused(run("train", toy), "the memory is full", "--batch-size", "--image-size")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_memory_that_is_full_names_no_option_that_the_command_lacks(
    run: Run, toy: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def hungry(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(gridcell.model.Model, "load", hungry)
    said = run(command, "model.gridcell", toy)
    refused(said, "the memory is full", "Fix: end other programs")
    assert "--" not in said.err


def test_patience_without_validation_rows_is_refused(run: Run, toy: Path) -> None:
    said = run("train", toy, *FAST, "--valid", "0", "--patience", "3")
    refused(said, "patience has no effect without validation rows", "Fix: leave --patience out")


def test_a_disk_with_no_room_is_found_out_before_training(
    run: Run, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    said = run("train", toy, *FAST)
    refused(said, "the disk is full", "Fix: free some space")
    assert said.out == ""


def test_a_network_that_cannot_be_read_is_refused_before_the_data_is(run: Run, toy: Path) -> None:
    said = run("train", toy, "--net", "conv(3")
    refused(said, "is missing")
    assert said.out == ""


def test_names_are_printed_as_they_are_and_cost_no_model(run: Run, tmp_path: Path) -> None:
    toy = colours(tmp_path / "toy")
    (toy / "red").rename(toy / "a[bold]")
    (toy / "blue").rename(toy / ":cat:")
    said = run("train", toy, *FAST, "--out", tmp_path / "run")
    assert said.code == 0
    assert said.out.count("a[bold]") > 2 and said.out.count(":cat:") > 2
    assert (tmp_path / "run" / "model.gridcell").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a file name")
def test_a_name_that_is_no_utf_8_goes_all_the_way(run: Run, tmp_path: Path) -> None:
    toy = colours(tmp_path / os.fsdecode(b"caf\xe9"))
    picture = toy / "red" / os.fsdecode(b"\xff.png")
    shutil.copy(toy / "red" / "aaa.png", picture)
    assert run("train", toy, *FAST, "--out", tmp_path / "run").code == 0
    model = tmp_path / "run" / "model.gridcell"
    for format in ("table", "csv", "jsonl"):
        said = run("predict", model, picture, "--format", format)
        assert said.code == 0 and "red" in said.out


@pytest.mark.parametrize("words", [("--task", "regress"), ("--image-size", "9")])
def test_evaluate_refuses_what_the_model_decides(
    run: Run, trained: Path, toy: Path, words: tuple[str, str]
) -> None:
    refused(run("evaluate", trained, toy, *words), "has no effect here: the model brings its own")


def test_show_refuses_sizes_beside_a_model_file(run: Run, trained: Path) -> None:
    refused(run("show", trained, "--input", "8x8x3"), "input has no effect", "leave --input out.")
    said = run("show", trained, "--input", "8x8x3", "--outputs", "3")
    refused(said, "input and outputs have no effect", "leave --input and --outputs out.")


def test_a_name_that_is_no_name_of_a_file_is_refused(
    run: Run, toy: Path, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("a" * 300)
    for words in (("train", toy, *FAST, "--out", long), ("inspect", toy, "--cache", long)):
        refused(run(*words), "cannot be written: File name too long")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a.png\0b.png\n"))
    refused(run("predict", trained, "-"), "cannot be opened")


def test_label_smoothing_without_classes_is_refused(run: Run, tmp_path: Path) -> None:
    toy = colours(tmp_path / "toy")
    table = tmp_path / "ages.csv"
    files = sorted(toy.rglob("*.png"))
    rows = [f"{file.relative_to(tmp_path)},{n + 0.5}" for n, file in enumerate(files)]
    table.write_text("\n".join(["path,age", *rows]))
    assert run("train", table, *FAST, "--out", tmp_path / "run").code == 0
    said = run("train", table, *FAST, "--label-smoothing", "0.2")
    refused(said, "label_smoothing has no effect on the task regress")
