"""Files of the UCR and UEA archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import TEST, TRAIN, UNASSIGNED, Samples, SeriesFacts
from gridcell.sources.series_files import read_unlabelled

HEAD = "# remark\n@problemName x\n@timeStamps false\n@classLabel true up down\n@data\n"


def write(folder: Path, lines: str, name: str = "x.ts", head: str = HEAD) -> Path:
    path = folder / name
    path.write_text(head + lines)
    return path


def read(path: Path, *, group: str | None = None, **settings: object) -> Samples:
    return sources.read(path, DataConfig(**settings), group=group)  # type: ignore[arg-type]


def facts(samples: Samples) -> SeriesFacts:
    assert isinstance(samples.facts, SeriesFacts)
    return samples.facts


def refused(path: Path, kind: type[Exception] = SourceError, **settings: object) -> str:
    with pytest.raises(kind) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_line_is_a_series_and_its_label(tmp_path: Path) -> None:
    found = read(write(tmp_path, "1,2.5,3:up\n4,5:down\n"))
    assert (found.kind, found.task, found.labels) == ("series", "classify", ("down", "up"))
    assert found.targets.tolist() == [1, 0]
    assert facts(found).values.tolist() == [[1], [2.5], [3], [4], [5]]
    assert facts(found).starts.tolist() == [0, 3, 5]
    assert (facts(found).columns, facts(found).form) == (("value",), "files")
    assert found.paths == ("x.ts#6", "x.ts#7")
    assert found.given.tolist() == [UNASSIGNED] * 2
    assert "2 series of 2 to 3 steps from x.ts." in found.notes


def test_dimensions_stand_between_colons(tmp_path: Path) -> None:
    found = read(write(tmp_path, "1,2:3,4:up\n5,6:7,8:down\n"))
    assert facts(found).values.tolist() == [[1, 3], [2, 4], [5, 7], [6, 8]]
    assert facts(found).columns == ("d1", "d2")
    assert "2 series of 2 steps in 2 dimensions from x.ts." in found.notes


@pytest.mark.parametrize("named", ["", "x_TRAIN.ts", "x_TEST.ts"])
def test_a_pair_is_the_datas_own_split(tmp_path: Path, named: str) -> None:
    write(tmp_path, "1,2:up\n3,4:down\n", "x_TRAIN.ts")
    write(tmp_path, "5,6:down\n", "x_TEST.ts")
    found = read(tmp_path / named)
    assert found.given.tolist() == [TRAIN, TRAIN, TEST]
    assert found.paths == ("x_TRAIN.ts#6", "x_TRAIN.ts#7", "x_TEST.ts#6")
    assert (
        "The data's own split is kept, from the two files: 2 in x_TRAIN.ts, 1 in x_TEST.ts."
        in found.notes
    )


def test_one_half_of_a_pair_is_read_alone(tmp_path: Path) -> None:
    found = read(write(tmp_path, "1,2:up\n3,4:down\n", "x_TRAIN.ts"))
    assert found.given.tolist() == [UNASSIGNED] * 2


def test_a_folder_of_several_data_sets_asks_for_one(tmp_path: Path) -> None:
    for name in ("a_TRAIN.ts", "a_TEST.ts", "b_TRAIN.ts", "b_TEST.ts"):
        write(tmp_path, "1,2:up\n3,4:down\n", name)
    text = refused(tmp_path, ConfigError)
    assert "holds more than one data set: a, b" in text
    assert "a_TEST.ts" in text
    own = tmp_path / "b"
    own.mkdir()
    for name in ("b_TRAIN.ts", "b_TEST.ts", "b_eq_TRAIN.ts"):
        write(own, "1,2:up\n3,4:down\n", name)
    assert read(own).paths[0] == "b_TRAIN.ts#6"


def test_a_number_to_predict(tmp_path: Path) -> None:
    head = "@targetlabel true\n@data\n"
    found = read(write(tmp_path, "1,2:0.5\n3,4:-1e-1\n", head=head))
    assert (found.task, found.targets.tolist()) == ("regress", [[0.5], [-0.1]])
    text = refused(write(tmp_path, "1,2:0.5\n3,4:much\n", head=head))
    assert "line 4: the number to predict is 'much'" in text


def test_missing_numbers_name_lines_and_dimensions(tmp_path: Path) -> None:
    path = write(tmp_path, "1,?:3,4:up\n5,6:7,8:down\n?,6:7,NaN:up\n")
    text = refused(path)
    assert "x.ts: 3 numbers of d1, d2, in lines 6, 8" in text
    assert "--missing ffill|interpolate|drop|mask" in text and text.startswith(f"{path}: numbers")
    found = read(path, missing="mask")
    assert np.isnan(facts(found).values).tolist() == [
        [False, False],
        [True, False],
        [False, False],
        [False, False],
        [True, False],
        [False, True],
    ]
    assert "Numbers are missing, and mask says what becomes of them" in "\n".join(found.notes)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("1,2:up\n3,x:down\n", "line 7: 'x' is no number"),
        ("1,2:up\n3,,4:down\n", "line 7: '' is no number"),
        (
            "1,2:up\n3,4:5:down\n",
            "line 7: the dimensions of a series must be of one length, are of 1, 2",
        ),
        ("1,2:up\n3,4:5,6:down\n", "line 7: 2 dimensions, but the first series has 1"),
        ("1,2:up\n3,4:\n", "line 7 has no label"),
        ("1,2:up\n3,4:left\n", "line 7: the label left is none of those that @classLabel lists"),
        ("", "holds no series below @data"),
    ],
)
def test_lines_that_cannot_be_read_are_named(tmp_path: Path, lines: str, words: str) -> None:
    assert words in refused(write(tmp_path, lines))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("@timestamps true\n@classlabel true up\n@data\n", "gives each number a time"),
        ("@classLabel false\n@data\n", "says @classLabel false: there is nothing to learn"),
        ("", "is no .ts file of series: it has no line @data"),
    ],
)
def test_heads_that_cannot_be_used_are_told(tmp_path: Path, head: str, words: str) -> None:
    assert words in refused(write(tmp_path, "1,2:3,4\n", head=head))


def test_halves_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "1,2:up\n3,4:down\n", "x_TRAIN.ts")
    write(tmp_path, "1,2:3,4:up\n", "x_TEST.ts")
    assert "differ in their kind of label or their number of dimensions (1 and 2)" in refused(
        tmp_path
    )


def test_settings_without_effect_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2:up\n3,4:down\n")
    assert "target has no effect on .ts files" in refused(path, ConfigError, target=("label",))
    assert "group has no effect on .ts files" in refused(path, ConfigError, group="who")
    assert "task tags cannot be read from .ts files" in refused(path, ConfigError, task="tags")


def test_series_are_read_again_without_their_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "1,?:3,4:up\n5,6:7,8:down\n")
    found = read_unlabelled(path, ("d1", "d2"))
    assert [name for name, _, _ in found] == [f"{path}#6", f"{path}#7"]
    assert found[1][1].tolist() == [[5, 7], [6, 8]]
    assert np.isnan(found[0][1][1, 0])
    with pytest.raises(SourceError, match="holds series of d1, d2, but ax is needed"):
        read_unlabelled(path, ("ax",))
