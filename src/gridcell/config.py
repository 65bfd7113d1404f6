"""Every setting of a run: its name, its one default, its meaning, and what it may be.

These frozen dataclasses are the one source of the command line and of the keyword arguments in
Python. The sentence under each field is what `--help` shows.
"""

from __future__ import annotations

import dataclasses
import numbers
import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gridcell.errors import ConfigError
from gridcell.names_elsewhere import meant

Task = Literal["auto", "classify", "labels", "regress", "events", "tags", "forecast", "write"]
Decimal = Literal["auto", "point", "comma"]
Delimiter = Literal["auto", "comma", "semicolon", "tab", "bar", "space"]
IMAGE_SIZE_LARGEST = 4096
DATE_LETTERS = frozenset("aAbBdmyYjHIMSpfz")
"""Letters that stand for parts of a date, as strptime knows them."""
SHORT_LETTERS = frozenset("dmyjHIMS")
"""Those that may have - in front: a number without zeros before it."""


Part = Literal["auto", "train", "valid", "test", "all"]
"""What of the data is scored; auto is the test part where there is one, else all."""


@dataclass(frozen=True)
class DataConfig:
    """What to read, and how raw items become arrays."""

    target: tuple[str, ...] = ()
    """Column of the table to learn, found by itself where only one can be meant; named once for
    each of several: --target a --target b."""
    path_column: str | None = None
    """Column of the table that holds the file names, found by itself where left out."""
    id_column: str | None = None
    """Column of a table of steps that says which series (or sentence) a row belongs to; --id is
    enough."""
    time_column: str | None = None
    """Column that the steps of a series, or the tokens of a sentence, are sorted by; found by
    itself, else they stand in the order of the rows. --time is enough."""
    inputs: tuple[str, ...] = ()
    """Columns of numbers that a series is made of; all that have no other use where left out."""
    text_column: str | None = None
    """Column that holds the texts, found by itself where only one can be meant."""
    kind: Literal["auto", "images", "sounds", "clips", "series", "texts", "forecasts"] = "auto"
    """What the items are; told apart by extensions and columns where left out."""
    task: Task = "auto"
    """What to learn: a class (classify), several labels (cells such as a;b, empty for none, or a
    column of 0 and 1 for each), numbers (regress), labels that come and go in a sound (events), a
    class for each step (tags), how a series goes on (forecast), or to write as a text does; told
    from the data where left out."""
    horizon: int | None = None
    """Steps of a series to forecast, which is what this asks for."""
    past: int | None = None
    """Steps that a forecast looks back on; chosen from the time between two where left out."""
    known: tuple[str, ...] = ()
    """Columns that are known in advance for the steps to forecast, such as holidays or prices."""
    missing: Literal["stop", "ffill", "interpolate", "drop", "mask"] = "stop"
    """What becomes of missing numbers of a series: stop and list them; ffill, the last number
    stands for them; interpolate, a line is drawn between its neighbours (not in forecasts); drop,
    the step is left out; mask, the training mean (in a forecast the last number) stands for them
    and the network is told which they are."""
    decimal: Decimal = "auto"
    """The mark before the decimals of a table's numbers, found by itself unless it is ambiguous."""
    delimiter: Delimiter = "auto"
    """What separates the columns of a table, found by itself where left out."""
    encoding: str = "auto"
    """Encoding of a table or text, such as cp1252; UTF-8 or as its first bytes say if left
    out. Of texts in files of their own, that of those which are no UTF-8."""
    header: bool | None = None
    """Whether the first row of a table names its columns; found by itself where left out."""
    date_format: str | None = None
    """How dates of a table are written, such as %d/%m/%Y (a clock may follow) or %Y%m%d; found by
    itself unless it is ambiguous."""
    rows_in_order: bool = False
    """Whether the rows of a table stand in the order of time, so that no column of times is used;
    the rows of each series, where there are several."""
    text_level: Literal["auto", "words", "characters"] = "auto"
    """What the steps of a text are; chosen from the texts where left out."""
    longest_text: int | None = None
    """Most steps of a text that are read, the rest is cut; chosen from the texts if left out."""
    vectors: Path | None = None
    """Text file of pretrained word vectors (a word and its numbers a line, as GloVe and word2vec
    write them), for the first layer."""
    image_size: int | None = None
    """Side in pixels of the square that the network sees of an image or frame; chosen from the
    files where left out."""
    image_fit: Literal["auto", "stretch", "crop", "pad"] = "auto"
    """How an oblong image becomes a square: stretched, cropped in the centre, or padded."""
    sample_rate: int | None = None
    """Samples a second that sounds are brought to; the most frequent among them if left out."""
    window: float | None = None
    """Seconds of a sound, or steps of a series, that are read at once, at most 10 or 2,000 where
    left out; of longer ones training reads a stretch, and answers are the mean over windows."""
    frames: int | None = None
    """Most frames that are taken from a clip, evenly spread over its time; 16 if left out."""
    on_bad_file: Literal["stop", "skip"] = "stop"
    """What to do when files, or series or texts of a table, cannot be read: stop and list them all,
    or go on without them."""
    cache: Path | None = None
    """Folder for decoded arrays; the user's cache folder where left out."""

    def __post_init__(self) -> None:
        if self.image_size is not None:
            _check_range("image_size", self.image_size, 1, IMAGE_SIZE_LARGEST)
        for name, low, high in (
            ("sample_rate", 1000, 384_000),
            ("window", 0.05, 1_000_000),
            ("frames", 1, 1000),
            ("longest_text", 1, 100_000),
            ("horizon", 1, 10_000),
            ("past", 1, 100_000),
        ):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), low, high)
        if self.date_format is not None:
            _check_date_format(self.date_format)
        if self.rows_in_order and self.time_column is not None:
            raise ConfigError(
                "time_column has no effect beside rows_in_order.",
                fix="leave --time-column or --rows-in-order out.",
            )
        self._check_forecast()

    @property
    def is_forecast(self) -> bool:
        """Whether a series is to be continued: a horizon says so by itself."""
        return self.task == "forecast" or self.kind == "forecasts" or self.horizon is not None

    def _check_forecast(self) -> None:
        if not self.is_forecast:
            for name in ("past", "known"):
                if getattr(self, name):
                    raise ConfigError(
                        f"{name} has no effect without horizon.",
                        fix="say how many steps to forecast: --horizon 24.",
                    )
        elif self.task not in ("auto", "forecast"):
            raise ConfigError(
                f"horizon has no effect on the task {self.task}.", fix="leave --horizon out."
            )
        elif self.kind not in ("auto", "series", "forecasts"):
            raise ConfigError(
                f"horizon has no effect on {self.kind}.", fix="leave --horizon or --kind out."
            )
        elif self.horizon is None:
            raise ConfigError(
                "a forecast needs its horizon, the number of steps to forecast.",
                fix="give it, for instance --horizon 24.",
            )


USUAL_VALID = 0.1
ENOUGH_VALID, ENOUGH_OF_A_CLASS = 2500, 25
"""Validation items that tell an accuracy to one point at worst (one standard error); more are of
more use in training."""


@dataclass(frozen=True)
class SplitConfig:
    """Who goes where: training, validation and test rows."""

    valid: float | None = None
    """Share of the rows held out to choose the best epoch, where the data has no such split. Left
    out it is a tenth, but of many items about 2,500, or 25 of each class where those are more."""
    test: float = 0.15
    """Share of the rows held out for the final scores, where the data has no such split."""
    group: str | None = None
    """Column of the table whose equal values never stand on two sides (patient, speaker ...); of
    files also where it stands in their names: '{person}_*'."""
    folds: str | None = None
    """Column whose values are folds, or a pattern of names as for group: each in turn is the test
    part (cross-validation)."""

    def __post_init__(self) -> None:
        _check_range("valid", self.valid_share, 0.0, 0.9)
        _check_range("test", self.test, 0.0, 0.9)
        for name, value in (("group", self.group), ("folds", self.folds)):
            if value is not None and not value.strip():
                raise ConfigError(
                    f"{name} is empty, and names nothing.",
                    fix=f"name a column, or say where it stands in the files' names: --{name} "
                    "'{person}_*'.",
                )
        if self.folds is not None and self.test != SplitConfig.test:
            raise ConfigError(
                "test has no effect beside folds: each fold in turn is the test part.",
                fix="leave --test out.",
            )
        if self.valid_share + self.test > 0.9:
            raise ConfigError(
                f"valid ({self.valid_share:g}) and test ({self.test:g}) leave less than a tenth "
                "of the rows to learn from.",
                fix="give a smaller --valid or --test.",
            )

    @property
    def valid_share(self) -> float:
        """The share that is asked for, else the usual one."""
        return USUAL_VALID if self.valid is None else self.valid

    def valid_share_of(self, items: int, *, classes: int = 0) -> float:
        """The share of so many items that stand for themselves.

        >>> SplitConfig().valid_share_of(1000), SplitConfig().valid_share_of(50_000)
        (0.1, 0.05)
        """
        if self.valid is not None:
            return self.valid
        most = max(ENOUGH_VALID, ENOUGH_OF_A_CLASS * classes)
        return min(USUAL_VALID, most / max(items, 1))


@dataclass(frozen=True)
class TrainConfig:
    """How the network learns."""

    net: str = "auto"
    """A preset (auto, tiny, lenet, resnet, rows, cnn, crnn, lstm, lstm_fcn, inception, forecast,
    linear) or a network in gridcell's notation."""
    members: int = 1
    """Networks of that kind side by side, whose answers are averaged. They share the items of each
    epoch, so that a training takes as many times the epochs, where --epochs does not say how many.
    """
    epochs: int | None = None
    """Times that every training row is seen; chosen from the data where left out."""
    budget: str | None = None
    """Time that the whole command may take (of a cross-validation each fold), such as 90s, 10m or
    1h; epochs and schedule are fitted to it."""
    batch_size: int | None = None
    """Items in one step; chosen from the data where left out."""
    optimizer: Literal["auto", "adamw", "sgd", "muon"] = "auto"
    """AdamW, SGD with Nesterov momentum 0.9, or Muon for the filters of convolutions (AdamW for all
    else); auto takes what the data ask for."""
    rate: float | None = None
    """Peak learning rate; chosen from the optimizer and the data where left out."""
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """How the learning rate moves: up then down, a short warm-up then a cosine, or not at all."""
    weight_decay: float | None = None
    """Pull of the weights toward zero, biases and norms left out; chosen as the rate is."""
    label_smoothing: float | None = None
    """Share of each target spread over all classes, against overconfidence; where left out and a
    class is learned 0.1, or 0.2 for many small colour images."""
    ema: float | None = None
    """Decay of the running average of the weights, which is what is kept; 0 turns it off, and it is
    chosen from the steps of training where left out."""
    class_weights: Literal["none", "balanced"] = "none"
    """Whether all items count alike in the loss, or (balanced) all classes, however many items they
    have."""
    patience: int | None = None
    """Epochs without a better score before training stops; half of all, at least 5, if left out."""
    augment: bool = True
    """Vary training items at random, as their kind allows: images and clips are shifted, turned
    and erased in part, sounds shifted, sped up and mixed, series stretched, words left out."""
    flip: Literal["auto", "on", "off"] = "auto"
    """Whether varying mirrors images left to right; auto looks whether that keeps their class."""
    on_divergence: Literal["stop", "retry"] = "stop"
    """Where the loss is no longer a number: stop, or train once more at a tenth of the rate."""
    profile: bool = False
    """Tell where the time went: reading data, forward, backward, optimizer, validation."""
    tbptt: int | None = None
    """Steps through which gradients flow back in an LSTM or RNN; all of them where left out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the training step; auto measures both and takes the faster safe one, for a
    short step on as many threads as make it shortest."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU where one can be used."""
    seed: int = 0
    """Start of every random choice; the same seed gives the same bits on the same machine."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("members", 1, 100),
            ("epochs", 1, 100_000),
            ("batch_size", 1, 65_536),
            ("rate", 1e-9, 1e6),
            ("weight_decay", 0.0, 100.0),
            ("label_smoothing", 0.0, 0.9),
            ("ema", 0.0, 0.999999),
            ("patience", 1, 100_000),
            ("tbptt", 1, 1_000_000),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if value is not None:
                _check_range(name, value, low, high)
        if self.flip == "on" and not self.augment:
            raise ConfigError("flip = 'on' has no effect without augment.", fix="drop one of them.")
        if self.budget is not None:
            seconds(self.budget.removeprefix("+"))
            if self.epochs is not None:
                raise ConfigError(
                    "epochs and budget both say how long to train.", fix="give only one of them."
                )


@dataclass(frozen=True)
class Config:
    """All settings of one training run."""

    path: Path
    """Folder of images, sounds or clips, or table of paths."""
    data: DataConfig = field(default_factory=DataConfig)
    """What to read."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Who goes where."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How the network learns."""
    out: Path | None = None
    """Folder for the run; runs/NAME where left out."""


SECTIONS: dict[str, type] = {"data": DataConfig, "split": SplitConfig, "train": TrainConfig}


def from_mapping(path: Path, settings: Mapping[str, Any], *, out: Path | None = None) -> Config:
    """Build a Config from settings, as keyword arguments or a nested mapping hold them.

    A key may stand in its section (`{"train": {"epochs": 3}}`), carry it (`"train.epochs"`) or,
    since no name stands in two sections, stand alone (`"epochs"`).

    Raises   ConfigError for an unknown name (the nearest is named), a name that stands twice, a
             wrong type or range

    >>> from_mapping(Path("photos"), {"train.epoch": 3})
    Traceback (most recent call last):
        ...
    gridcell.errors.ConfigError: train.epoch is not a setting. Did you mean train.epochs?
    """
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for key, value in _flat(settings):
        section, name = _locate(key)
        if name in sections[section]:
            raise ConfigError(f"{key} is given twice.", fix="give it once.")
        sections[section][name] = _checked(key, value, _hints(section)[name])
    return Config(
        path=path,
        data=DataConfig(**sections["data"]),
        split=SplitConfig(**sections["split"]),
        train=TrainConfig(**sections["train"]),
        out=out,
    )


def path_of(value: Any, *, what: str) -> Path:
    """Return the path that a value of a user is.

    what   it names, such as "a folder or a table"

    Raises   ConfigError for what is no path, or an empty one

    >>> path_of(None, what="a folder")
    Traceback (most recent call last):
        ...
    gridcell.errors.ConfigError: a value of the type NoneType is no path.
      Fix: give the path of a folder, as a text or a pathlib.Path.
    """
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str) and path.strip():
            return Path(path)
        wrong = "an empty path names nothing" if isinstance(path, str) else "bytes are no path"
    else:
        wrong = f"a value of the type {type(value).__name__} is no path"
    raise ConfigError(f"{wrong}.", fix=f"give the path of {what}, as a text or a pathlib.Path.")


def to_mapping(config: Config) -> dict[str, Any]:
    """Return the settings as plain JSON values, for the run record."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Path):
            return json_text(str(value))
        return list(value) if isinstance(value, tuple) else value

    return typing.cast(dict[str, Any], plain(config))


def json_text(text: str) -> str:
    """The text as it is, but what is no UTF-8 written as escapes: a file name may hold any bytes.

    >>> json_text("caf\\udce9.png")
    'caf\\\\udce9.png'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def seconds(text: str) -> float:
    """Read a duration: a number with s, m or h, or several of them.

    >>> seconds("1h30m")
    5400.0
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smh])", text.strip().lower())
    total = sum(float(number) * units[unit] for number, unit in parts)
    if not parts or "".join(n + u for n, u in parts) != text.strip().lower():
        raise ConfigError(f"budget {text!r} is not a duration.", fix="write 90s, 10m or 1h30m.")
    if total <= 0:
        raise ConfigError(
            f"budget {text!r} is no time: it must be more than 0.", fix="give some, such as 10m."
        )
    return total


def _hints(section: str) -> dict[str, Any]:
    return typing.get_type_hints(SECTIONS[section])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs


def _locate(key: str) -> tuple[str, str]:
    """Find the section and field that a key means."""
    names = {section: list(_hints(section)) for section in SECTIONS}
    plain = key.replace("-", "_")
    if "." in plain:
        section, name = plain.split(".", 1)
        if name in names.get(section, ()):
            return section, name
        known = [f"{s}.{n}" for s, fields in names.items() for n in fields]
    else:
        for section, fields in names.items():
            if plain in fields:
                return section, plain
        known = [n for fields in names.values() for n in fields]
    raise ConfigError(f"{key} is not a setting.{meant(plain, known)}")


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Return `value` as the hinted type, or say what was wanted."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in kinds:
        origin = typing.get_origin(kind)
        if kind is type(None):
            if value is None:
                return None
        elif origin is Literal:
            if value in typing.get_args(kind):
                return value
        elif origin is tuple:
            items = (value,) if isinstance(value, str) else value
            if isinstance(items, (list, tuple)) and all(isinstance(v, str) for v in items):
                return tuple(items)
        elif kind is Path:
            if isinstance(value, (str, Path)):
                return Path(value)
        elif kind in (int, float):
            # NumPy's numbers are numbers too; a bool is one only by history.
            wanted = numbers.Integral if kind is int else numbers.Real
            if isinstance(value, wanted) and not isinstance(value, bool):
                return kind(value)
        elif isinstance(value, kind):
            return value
    raise ConfigError(f"{name} = {value!r} cannot be used: it must be {_wanted(kinds)}.")


def _wanted(kinds: tuple[Any, ...]) -> str:
    words: list[str] = []
    for kind in kinds:
        if typing.get_origin(kind) is Literal:
            words += [repr(choice) for choice in typing.get_args(kind)]
        elif typing.get_origin(kind) is tuple:
            words.append("a name or a list of names")
        elif kind is not type(None):
            words.append(
                {int: "a whole number", float: "a number", bool: "true or false"}.get(
                    kind, "a text"
                )
            )
    return " or ".join(words)


def _check_date_format(text: str) -> None:
    """Refuse what is no way to write a date; the letters are those of strptime."""
    known = {*DATE_LETTERS, *(f"-{letter}" for letter in SHORT_LETTERS)}
    # What stands behind each %, but a %% that means the character itself.
    letters = re.findall(r"%(-?.|$)", text.replace("%%", ""), re.DOTALL)
    strange = [f"%{letter}" for letter in letters if letter not in known]
    if not letters or strange:
        why = f"{strange[0]} is no part of a date" if strange else "it names no part of a date"
        raise ConfigError(
            f"date_format = {text!r} cannot be used: {why}.",
            fix="write %d for the day, %m for the month, %Y for the year (%y where it has two "
            "digits), %H %M %S for the clock, such as '%d/%m/%Y'.",
        )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        got, least, most = (f"{v}" if isinstance(v, int) else f"{v:g}" for v in (value, low, high))
        raise ConfigError(f"{name} = {got} is out of range: it must be {least} to {most}.")
