"""The command line: arguments to the pipeline, what it prints, and exit codes.

    0 done    2 the data or options cannot be used    1 a fault of ours or a failed training
    130 interrupted by Ctrl-C, 143 by SIGTERM (a usable model is written first)

Nothing heavy is imported until a command needs it: `gridcell --help` loads no PyTorch.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from inspect import signature as signature_of
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import (
    App,
    CycloptsError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)

from gridcell.config import (
    SECTIONS,
    Config,
    DataConfig,
    Decimal,
    Delimiter,
    Part,
    SplitConfig,
    TrainConfig,
)
from gridcell.errors import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    ConfigError,
    GridcellError,
)
from gridcell.help_text import Paragraphs
from gridcell.names_elsewhere import meant
from gridcell.options import refuse_unusable
from gridcell.process import STARTED, is_out_of_memory, wait_politely
from gridcell.version import VERSION

if TYPE_CHECKING:
    from gridcell.model import Model
    from gridcell.prediction import Prediction
    from gridcell.preparation.remarks import Remark

Answer = TypeVar("Answer")
BEGAN: ContextVar[float] = ContextVar("BEGAN")
"""When the command began that is run: its budget counts from there."""
Flat = Parameter(name="*", negative_iterable="")
Json = Annotated[bool, Parameter(negative="", help="Print the result as JSON on standard output.")]

SHORT = {"--id": "--id-column", "--time": "--time-column"}
"""Options that may be written shorter."""
OPTION = re.compile(r"--[a-z][a-z-]*[a-z]")
OF_THE_MODEL = (
    *("task", "horizon", "past", "known", "missing", "text_level", "longest_text", "vectors"),
    *("image_size", "image_fit", "sample_rate", "window", "frames"),
)
"""Settings that a model brings: evaluate refuses them, and its help leaves them out."""

app = App(
    name="gridcell",
    version=VERSION,
    help="From a folder of recordings to a CNN or LSTM that you can trust, see inside and ship.",
    help_format="plaintext",
    version_flags=["--version"],
    help_formatter=Paragraphs(),
    suppress_keyboard_interrupt=False,  # `main` says what became of the work
    config=refuse_unusable,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = _in_full(sys.argv[1:] if arguments is None else arguments)
    BEGAN.set(STARTED if arguments is None else time.perf_counter())
    wait_politely()
    try:
        code = app(
            _options_first(words),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
    except UnusedCliTokensError as error:
        unused = error.unused_tokens or []
        said = _left_over(words, unused) or f"{_one_too_many(words, unused)}{_help(words)}"
        return _complain(said, EXIT_UNUSABLE)
    except UnknownOptionError as error:
        option = (error.token.keyword or error.token.value).partition("=")[0]
        known = [each for argument in error.argument_collection for each in argument.names]
        return _complain(
            f"Unknown option: {option}.{meant(option, known)}{_help(words)}", EXIT_UNUSABLE
        )
    except CycloptsError as error:
        return _complain(f"{error}{_help(words)}", EXIT_UNUSABLE)
    except GridcellError as error:
        return _complain(f"{error}{_of_train(words, error)}{_notes(error)}", error.exit_code)
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT
        notes = _notes(error)
        return _complain(
            f"interrupted.{notes}" if notes else "interrupted; nothing was written.", 128 + number
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fix = "give a smaller --batch-size or --image-size."
        if words[:1] in (["predict"], ["evaluate"]):  # the model decides both
            fix = "end other programs, or use a machine with more memory."
        return _complain(
            f"the memory is full.\n  Fix: {fix}{_notes(error)}",
            EXIT_UNUSABLE,
        )
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has had enough.
        _drop_output()
        return EXIT_DONE
    except OSError as error:
        # Where a file of ours meets a full disk, that is a StorageError.
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        return _complain(
            "standard output cannot be written: the disk is full.\n  Fix: free some space.",
            EXIT_UNUSABLE,
        )
    return code if isinstance(code, int) else EXIT_DONE


@app.command
def train(
    path: Path,
    /,
    *,
    data: Annotated[DataConfig, Flat] = DataConfig(),
    split: Annotated[SplitConfig, Flat] = SplitConfig(),
    training: Annotated[TrainConfig, Flat] = TrainConfig(),
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    moved: Annotated[Path | None, Parameter(name="--data")] = None,
    json: Json = False,
) -> int:
    """Train a network on folders or tables of images, sounds, clips, series or texts.

    Example: gridcell train photos/

    A training that was stopped goes on: gridcell train runs/photos --resume

    Parameters
    ----------
    path
        Folder of class folders, or table: of the paths of images, sounds or clips, of series or of
        texts. A text alone is learned to be written.
    out
        Folder for the run; runs/NAME where left out.
    resume
        Go on with the run whose folder is named. Beside it --budget +10m gives it so much more
        time, --epochs 30 so many epochs in all, those that are done among them, --rate another
        peak, and --batch-size takes fewer items at a time where the memory was full. --net names
        the network of a run that an earlier version began without noting it.
    moved
        Where the data of a run that goes on lie now, if they were moved.
    """
    from gridcell import folds, pipeline

    if moved is not None and not resume:
        raise ConfigError(
            "data has no effect without resume: the path itself says what to learn from.",
            fix=f"gridcell train {shlex.quote(str(moved))}; or add --resume to a run's folder.",
        )
    config = Config(path, data, split, training, out)
    with _terminal(json) as terminal:
        run: Any
        if resume:
            run = _resume(config, terminal, moved)
        elif split.folds is None:
            run = pipeline.train(config, terminal, started=BEGAN.get(None))
        else:
            run = folds.cross_validate(config, terminal)
    if json:
        sys.stdout.write((run.folder / "run.json").read_text("utf-8") + "\n")
    return 128 + terminal.signal if run.was_interrupted else EXIT_DONE


@app.command
def inspect(
    path: Path,
    /,
    *,
    data: Annotated[DataConfig, Flat] = DataConfig(),
    split: Annotated[SplitConfig, Flat] = SplitConfig(),
    seed: int = 0,
    json: Json = False,
) -> int:
    """Say what would be trained on: what was found, how it is split, what is wrong with it.

    Example: gridcell inspect photos/

    Parameters
    ----------
    path
        Folder or table, as for train.
    seed
        Start of the random split, as for train.
    """
    from gridcell import pipeline

    config = Config(path, data, split, TrainConfig(seed=seed))
    with _terminal(json) as terminal:
        found = pipeline.inspect(config, terminal)
    if json:
        _print_json(found.to_json())
    return EXIT_DONE


@app.command(help_formatter=Paragraphs(without=OF_THE_MODEL))
def evaluate(
    model: Path,
    path: Path,
    /,
    *,
    data: Annotated[DataConfig, Flat] = DataConfig(),
    part: Part = "auto",
    json: Json = False,
) -> int:
    """Score a model on labelled data.

    Example: gridcell evaluate runs/photos/model.gridcell more-photos/

    Items of a class that the model does not know are left out; how many is said, with the accuracy
    that counts them as wrong.

    Parameters
    ----------
    model
        A model.gridcell file, or the folder of its run.
    path
        Folder or table with answers, as for train.
    part
        Which of the data's own splits to score; auto takes test where there is one, else all rows.
    """
    from gridcell import scoring
    from gridcell.model import Model

    with _terminal(json) as terminal:
        scores = scoring.evaluate(Model.load(model), path, data, part=part, teller=terminal)
    if json:
        _print_json(None if scores is None else scores.to_json())
    return EXIT_DONE


@app.command
def predict(
    model: Path,
    items: Annotated[list[str], Parameter(negative="", allow_leading_hyphen=True)] = [],  # noqa: B006
    /,
    *,
    window: float | None = None,
    step: float | None = None,
    write: int | None = None,
    prompt: str | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    path_column: str | None = None,
    decimal: Decimal = "auto",
    delimiter: Delimiter = "auto",
    encoding: str = "auto",
    header: bool | None = None,
    date_format: str | None = None,
    rows_in_order: Annotated[bool, Parameter(negative="")] = False,
    format: Literal["table", "csv", "jsonl"] | None = None,
    on_bad_file: Literal["stop", "skip"] | None = None,
) -> int:
    """Answer for files, every file of a folder that the model reads, or the rows of a table.

    Example: gridcell predict runs/photos/model.gridcell new.jpg

    A model that was trained to write needs no files: gridcell predict MODEL --write 300

    Files that are answered for though they are damaged, silent or of one colour throughout are
    named on standard error, behind the answers.

    Parameters
    ----------
    model
        A model.gridcell file, or the folder of its run.
    items
        Files, folders, tables of series, of texts or of the paths of images, sounds or clips, or -
        to read a path a line from standard input.
    window
        Answer for each stretch of so many seconds of a sound or clip; for the whole where left out.
    step
        Seconds from the start of one window to the next; half a window where left out.
    write
        Write so many characters (or words, if it learned words), as the text does that the model
        learned from.
    prompt
        What stands before the first character or word that is written.
    temperature
        Below 1 what is likely to be written becomes likelier still, above 1 less so; 1 where left
        out.
    seed
        Start of the random choice of what is written; 0 where left out.
    path_column
        Column of a table of paths that names the files; that of training, or found by itself,
        where left out.
    decimal
        The mark before the decimals of a table's numbers; as found, or as training was told.
    delimiter
        What separates the columns of a table; as found, or as training was told.
    encoding
        Encoding of a table or text, such as cp1252; as found, or as training was told.
    header
        Whether the first row of a table names its columns; as found, or as training was told.
    date_format
        How dates of a table are written, such as %d/%m/%Y; as found, or as training was told.
    rows_in_order
        The rows of a table stand in the order of time, whatever columns of times it has.
    format
        A table for people (where left out), CSV, or JSON with a line an item. A class that is
        called as another column of the CSV, such as path, has the column p(path).
    on_bad_file
        What to do with a file, or a series or text of a table, that cannot be read: stop (where
        left out), or give it a row without an answer.
    """
    from gridcell import answers, timeline
    from gridcell.model import Model
    from gridcell.preparation import remarks
    from gridcell.sources import check_path_column
    from gridcell.sources.remembered import Dialect

    answering = {
        "window": window,
        "step": step,
        "format": format,
        "on_bad_file": on_bad_file,
        "path_column": path_column,
    }
    for name, value in answering.items():
        if write is not None and value is not None:
            raise ConfigError(
                f"{name} has no effect beside write.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )
    if window is None and step is not None:
        raise ConfigError("step has no effect without window.", fix="give a --window too.")
    writing = {"prompt": prompt, "temperature": temperature, "seed": seed}
    asked = {name: value for name, value in writing.items() if value is not None}
    if write is None and asked:
        raise ConfigError(f"{next(iter(asked))} has no effect without write.", fix="add --write.")
    if write is None and not items:
        raise ConfigError(
            "no file is named to answer for.",
            fix="name files, folders, or -; a model that writes needs --write 300.",
        )
    loaded = Model.load(model)
    dialect = Dialect.of(
        DataConfig(
            decimal=decimal,
            delimiter=delimiter,
            encoding=encoding,
            header=header,
            date_format=date_format,
            rows_in_order=rows_in_order,
        )
    )
    if dialect.said and (write is not None or window is not None):
        raise ConfigError(
            f"{next(iter(dialect.said))} has no effect beside "
            f"{'write' if write is not None else 'window'}.",
            fix="leave it out.",
        )
    if write is not None:
        return _write(loaded, items, write, asked)
    if loaded.task == "write":
        raise ConfigError("the model writes, and answers for no files.", fix="add --write 300.")
    form = format or "table"
    check_path_column(path_column, map(Path, items), loaded.kind)
    paths, is_skipping = _paths(items, loaded, path_column), on_bad_file == "skip"
    noticed: dict[str, Remark] = {}
    if window is None:
        predictions = loaded.predict_files(paths, skip_bad_files=is_skipping, dialect=dialect)
        lines = answers.FORMATS[form](_noticed(predictions, lambda p: p, noticed), loaded)
    else:
        windows = timeline.of_files(
            loaded, paths, window_s=window, step_s=step, skip_bad_files=is_skipping
        )
        lines = answers.WINDOW_FORMATS[form](
            _noticed(windows, lambda w: w.prediction, noticed), loaded
        )
    for line in lines:
        print(line)
    sys.stdout.flush()
    for sentence in remarks.told(noticed.items(), loaded.kind):
        print(f"gridcell: {sentence}", file=sys.stderr)
    return EXIT_DONE


@app.command
def show(
    network: str,
    /,
    *,
    input: str | None = None,
    outputs: int | None = None,
    json: Json = False,
) -> int:
    """Print a network's table: each layer's output size with its arithmetic, parameters, work.

    Example: gridcell show "conv(12, 3) relu maxpool(2) flatten dense(10)" --input 32x32x3

    Parameters
    ----------
    network
        Notation, the name of a preset, or a model.gridcell file.
    input
        Size of a sample: 32x32x3 of an image, Tx40x1 of a sound of 40 bands, Tx64x64x3 of a clip,
        Tx9 of a series of 9 columns, T:5000 of a text of 5,000 different words or characters; not
        needed for a model file.
    outputs
        Classes or numbers to answer; adds the last layer where it is missing.
    """
    from gridcell import shown

    rows, heading, notes = shown.table_of(network, input, outputs=outputs)
    if json:
        _print_json([row.fields() for row in rows])
        return EXIT_DONE
    shown.print_table(rows, heading, notes)
    return EXIT_DONE


@app.command
def bench(
    network: str | None = None,
    /,
    *,
    input: str | None = None,
    batch_size: int = 128,
    steps: str | None = None,
    json: Json = False,
) -> int:
    """Measure this machine's peak, and what share of it a network's training step reaches.

    Example: gridcell bench "lstm(128) last" --input Tx9

    Parameters
    ----------
    network
        Notation, the name of a preset, or a model.gridcell file; a small CNN and a small LSTM where
        left out.
    input
        Size of a sample: 32x32x3 of an image, Tx9 of a series of 9 columns, T:5000 of a text of
        5,000 different words; not needed for a model file.
    batch_size
        Items in one step.
    steps
        Steps of an item where its size begins with T: 100, or 50-100 where items differ; 100 where
        left out.
    """
    if network is None:
        for name, value in (("input", input), ("steps", steps)):
            if value is not None:
                raise ConfigError(
                    f"{name} has no effect without a network.",
                    fix=f"name one, or leave --{name} out.",
                )
    TrainConfig(batch_size=batch_size)  # refuses what no training takes
    from gridcell import bench as benches
    from gridcell import shown, training
    from gridcell.training.device import choose_device

    training.keep_memory()
    wanted = benches.STANDARD if network is None else ((network, input),)
    # What cannot be built is refused before anything is measured.
    subjects = [benches.subject_of(*each, steps=steps) for each in wanted]
    device = choose_device("auto")
    machine = benches.measure_machine(device)
    if not json:
        shown.print_machine(machine)
    speeds = []
    for subject in subjects:
        speed = benches.measure_network(subject, machine, batch_size=batch_size, device=device)
        speeds.append(speed)
        if not json:
            shown.print_speed(speed)
    if json:
        _print_json({"machine": machine, "networks": speeds})
    else:
        shown.print_meaning()
    return EXIT_DONE


@app.command
def demo(
    name: Literal["digits"] = "digits",
    /,
    *,
    training: Annotated[TrainConfig, Flat] = TrainConfig(),
    folder: Path | None = None,
    out: Path | None = None,
) -> int:
    """Write built-in real data as a folder of images per class, and train on it.

    Example: gridcell demo digits

    Parameters
    ----------
    name
        digits: 1,797 handwritten digits of 8 x 8 pixels.
    folder
        Where to write the images; ./digits where left out.
    out
        Folder for the run; runs/NAME where left out.
    """
    from gridcell import demo as demos

    written = demos.WRITERS[name](folder or Path(name))
    print(f"{written.images:,} images in {written.folder}/ ({written.source})")
    return train(written.folder, training=training, out=out)


def _resume(config: Config, terminal: Any, moved: Path | None) -> Any:
    """Go on with a run; what it was started with it keeps, but for how long it is."""
    from gridcell import folds
    from gridcell.resuming import resume

    may = {"budget", "epochs", "rate", "batch_size", "profile", "net"}
    usual = Config(config.path)
    for section in SECTIONS:
        mine, theirs = getattr(config, section), getattr(usual, section)
        for field in dataclasses.fields(mine):
            is_usual = getattr(mine, field.name) == getattr(theirs, field.name)
            if not is_usual and field.name not in may:
                raise ConfigError(
                    f"{field.name} has no effect beside resume: the run keeps its own.",
                    fix=f"leave --{field.name.replace('_', '-')} out, or begin a new training.",
                )
    if config.out is not None:
        raise ConfigError(
            "out has no effect beside resume: the run keeps its folder.", fix="leave --out out."
        )
    train = config.train
    if folds.begun(config.path):
        folds.refuse_other_settings(
            name for name in may if getattr(train, name) != getattr(usual.train, name)
        )
        return folds.resume(config.path, terminal, data=moved)
    return resume(
        config.path,
        budget=train.budget,
        epochs=train.epochs,
        rate=train.rate,
        batch_size=train.batch_size,
        net=None if train.net == usual.train.net else train.net,
        data=moved,
        profile=train.profile,
        teller=terminal,
        started=BEGAN.get(None),
    )


def _write(model: Model, items: Sequence[str], steps: int, asked: dict[str, Any]) -> int:
    """Print text as it is written."""
    from gridcell import writing
    from gridcell.sources.wording import listed

    if items:
        raise ConfigError(
            f"{items[0]} has no effect beside write, which reads no files.", fix="leave it out."
        )
    prompt = asked.get("prompt", "")
    print(prompt, end="")
    for piece in writing.write(model, steps, **asked):
        print(piece, end="", flush=True)
    print()
    sys.stdout.flush()
    strange = writing.unknown_in(model, prompt)
    if strange:
        print(
            f"gridcell: the model never saw {listed(map(repr, strange))} of the prompt in "
            "training: each was read as unknown.",
            file=sys.stderr,
        )
    return EXIT_DONE


def _terminal(is_quiet: bool) -> Any:
    """The terminal to tell; on standard error where standard output is for a machine."""
    from gridcell.terminal import PatientConsole, Terminal

    return Terminal(PatientConsole(stderr=is_quiet))


def _paths(items: Iterable[str], model: Model, column: str | None) -> Iterator[Path]:
    """Files as they were named, those of a folder or table, and those that standard input names."""
    from gridcell.sources import find_files, is_list_of_files

    kind, asked = model.kind, model.description.asked

    for item in items:
        if item.startswith("-") and item != "-":
            raise ConfigError(
                f"Unknown option: {item}.{meant(item, _predict_options())}",
                fix=f"a file of that name is ./{item}.",
            )
        if item == "-":
            for line in sys.stdin:
                if line.strip():
                    yield Path(line.rstrip("\r\n"))
        elif os.path.exists(item) or is_list_of_files(Path(item), kind):
            yield from find_files(
                Path(item), kind, asked=asked, column=column, inputs=model.columns
            )
        else:
            yield Path(item)


def _predict_options() -> tuple[str, ...]:
    """The options of predict, whose other words are names of files, whatever they begin with."""
    named = signature_of(predict).parameters.values()
    return tuple(f"--{p.name.replace('_', '-')}" for p in named if p.kind is p.KEYWORD_ONLY)


def _in_full(words: Sequence[str]) -> list[str]:
    """Return the words with the options that may be shortened in full."""
    if not words or words[0] not in ("train", "inspect", "evaluate"):
        return list(words)
    ends = words.index("--") if "--" in words else len(words)
    found = []
    for word in words[:ends]:
        option, mark, value = word.partition("=")
        found.append(f"{SHORT.get(option, option)}{mark}{value}")
    return [*found, *words[ends:]]


def _options_first(words: Sequence[str]) -> list[str]:
    """Return the words of predict with its options in front of the names of model and files.

    The parser takes one name alone where the first of many stands behind an option. Where an option
    is misspelt the words stay as they are, for the parser to find it.
    """
    if words[:1] != ["predict"]:
        return list(words)
    options = _predict_options()
    named = signature_of(predict).parameters
    flags = {each for each in options if "bool" in named[each[2:].replace("-", "_")].annotation}
    flags |= {f"--no-{flag[2:]}" for flag in flags}
    front: list[str] = [words[0]]
    rest: list[str] = []
    left = iter(range(1, len(words)))
    for place in left:
        word = words[place]
        if word == "--":
            rest += words[place:]
            break
        option, _, value = word.partition("=")
        if option in flags or (option in options and value):
            front.append(word)
        elif option in options and place + 1 < len(words):
            front += words[place : place + 2]
            next(left)
        elif word.startswith("--"):
            return list(words)
        else:
            rest.append(word)
    return front + rest


def _noticed(
    found: Iterable[Answer], prediction: Callable[[Answer], Prediction], remarks: dict[str, Remark]
) -> Iterator[Answer]:
    """Pass answers on, and keep what is to be said of their files."""
    for each in found:
        answer = prediction(each)
        if answer.remark is not None:
            remarks[answer.path] = answer.remark
        yield each


def _print_json(content: Any) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(content), indent=1).decode() + "\n")


def _left_over(words: Sequence[str], unused: Sequence[str]) -> str:
    """Say how an option is given several values; "" where the unused words are behind no such."""
    lists = {
        f"--{field.name.replace('_', '-')}"
        for section in SECTIONS.values()
        for field in dataclasses.fields(section)
        if isinstance(field.default, tuple)
    }
    for place, word in enumerate(words):
        option, _, value = word.partition("=")
        if option not in lists:
            continue
        values = [value] if value else []
        values += itertools.takewhile(lambda each: not each.startswith("-"), words[place + 1 :])
        if len(values) > 1 and values[1] in unused:
            return (
                f"{option} takes one value, and {shlex.join(values[1:])} stands behind it.\n"
                f"  Fix: repeat the option: "
                f"{' '.join(f'{option} {shlex.quote(each)}' for each in values)}"
            )
    return ""


def _one_too_many(words: Sequence[str], unused: Sequence[str]) -> str:
    """Say which names nothing is done with, such as those of `photos/*`, or a misspelt option."""
    before = words[words.index(unused[0]) - 1] if unused and unused[0] in words else ""
    if words[:1] == ["predict"] and before.startswith("--") and before not in _predict_options():
        return f"Unknown option: {before}.{meant(before, _predict_options())}"
    rest = f" and {len(unused) - 3:,} more" if len(unused) > 3 else ""
    return f"{_command(words)}takes no further name, and is given {shlex.join(unused[:3])}{rest}."


def _help(words: Sequence[str]) -> str:
    return f"\n  Fix: gridcell {_command(words)}--help lists what there is."


def _command(words: Sequence[str]) -> str:
    known = {"train", "inspect", "evaluate", "predict", "show", "bench", "demo"}
    return f"{words[0]} " if words and words[0] in known else ""


def _of_train(words: Sequence[str], error: GridcellError) -> str:
    """Say which options that an error advises of are train's alone; "" where there are none.

    What reads data says how to mend them the same way for whoever reads: most of it holds for all.
    """
    name, fix = words[0] if words else "", error.fix or ""
    if name not in ("predict", "evaluate", "show", "bench") or re.search(r"\btrain\b", fix):
        return ""
    options = {
        each for argument in app[name].assemble_argument_collection() for each in argument.names
    }
    if name == "evaluate":
        options -= {f"--{each.replace('_', '-')}" for each in OF_THE_MODEL}
    lacking = dict.fromkeys(each for each in OPTION.findall(fix) if each not in options)
    if not lacking:
        return ""
    are = "is an option" if len(lacking) == 1 else "are options"
    return f"\n  {' and '.join(lacking)} {are} of train; {name} has no such."


def _drop_output() -> None:
    """Let what is still to be written to standard output go nowhere."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _notes(error: BaseException) -> str:
    """What was added to an error on its way: how to go on, as whoever called last knows it."""
    return "".join(f"\n  {note}" for note in getattr(error, "__notes__", [])[-1:])


def _complain(text: str, code: int) -> int:
    print(f"gridcell: {text}", file=sys.stderr)
    return code


def entry() -> None:
    """The installed command `gridcell`."""
    sys.exit(main())
