"""A setting without effect is an error, whatever the data: never silence."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gridcell import pipeline
from gridcell.config import from_mapping
from gridcell.errors import ConfigError

SETTINGS: dict[str, Any] = {
    "path_column": "file",
    "text_column": "text",
    "id_column": "id",
    "time_column": "t",
    "inputs": "x",
    "decimal": "point",
    "delimiter": "comma",
    "encoding": "utf-8",
    "header": True,
    "missing": "ffill",
    "past": 5,
    "known": "x",
    "vectors": "vectors.txt",
    "text_level": "words",
    "longest_text": 50,
    "sample_rate": 8000,
    "frames": 4,
    "image_size": 8,
    "image_fit": "pad",
    "window": 20,
}
TABLE = {"delimiter", "encoding", "header"}
OF_SERIES = {"id_column", "time_column", "inputs", "decimal", *TABLE, "missing", "window"}
USED = {
    "images": {"image_size", "image_fit"},
    "paths": {"path_column", *TABLE, "image_size", "image_fit"},
    "series": OF_SERIES,
    "folder of series": OF_SERIES - {"id_column"},
    "texts": {"text_column", *TABLE, "text_level", "longest_text", "vectors"},
    "folder of texts": {"encoding", "text_level", "longest_text", "vectors"},
    "tokens": {"text_column", "id_column", "time_column", *TABLE, "vectors"},
    "conllu": {"encoding", "vectors"},
    "writing": {"encoding", "text_level", "vectors"},
}


def written(kind: str, folder: Path) -> Path:
    """Data of a kind, small and whole."""
    if kind in ("images", "paths"):
        for label in "ab":
            (folder / "pictures" / label).mkdir(parents=True)
            for n in range(12):
                picture = Image.new("L", (8, 8), 20 * n + (label == "b"))
                picture.save(folder / "pictures" / label / f"{n}.png")
        if kind == "images":
            return folder / "pictures"
        lines = [f"pictures/{label}/{n}.png,{label}" for label in "ab" for n in range(12)]
        return text(folder / "paths.csv", "\n".join(["file,label", *lines]))
    if kind == "series":
        with (folder / "series.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "t", "x", "label"])
            table.writerows([n, t, 0.1 * n + t, "ab"[n % 2]] for n in range(24) for t in range(9))
        return folder / "series.csv"
    if kind == "folder of series":
        for n in range(24):
            rows = "\n".join(f"{t},{n + 0.1 * t}" for t in range(9))
            text(folder / "files" / "ab"[n % 2] / f"{n}.csv", f"t,x\n{rows}")
        return folder / "files"
    if kind == "texts":
        lines = [f"a text of number {n},{'ab'[n % 2]}" for n in range(24)]
        return text(folder / "texts.csv", "\n".join(["text,label", *lines]))
    if kind == "folder of texts":
        for n in range(24):
            text(folder / "mail" / "ab"[n % 2] / f"{n}.txt", f"a text of number {n}")
        return folder / "mail"
    if kind == "tokens":
        lines = [f"{n},{t},w{n}{t},{'XY'[t % 2]}" for n in range(24) for t in range(4)]
        return text(folder / "tokens.csv", "\n".join(["sentence_id,position,token,tag", *lines]))
    if kind == "conllu":
        lines = [
            "\n".join(
                f"{t + 1}\tw{n}{t}\t_\t{'XY'[t % 2]}\t" + "\t".join("_" * 6) for t in range(4)
            )
            for n in range(24)
        ]
        return text(folder / "bank.conllu", "\n\n".join(lines) + "\n\n")
    return text(folder / "plays.txt", "to write, or not to write: that is the task.\n" * 600)


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content + "\n", "utf-8")
    return path


@pytest.mark.parametrize("kind", USED)
def test_every_setting_is_heeded_or_refused(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path)
    needed = {"target": "tag"} if kind == "tokens" else {}
    pipeline.inspect(from_mapping(path, needed))
    for name, value in SETTINGS.items():
        column = (
            {"text_column": "token", "id_column": "sentence_id", "time_column": "position"}
            if needed
            else {}
        )
        settings = {**needed, name: column.get(name, value)}
        if name in USED[kind]:
            pipeline.inspect(from_mapping(path, settings))
            continue
        with pytest.raises(ConfigError, match=r"effect|needs|no column") as refused:
            pipeline.inspect(from_mapping(path, settings))
        assert name in str(refused.value), (name, str(refused.value))
        assert "Fix" in str(refused.value)
