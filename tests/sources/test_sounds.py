"""Folders and tables of sounds: what is read, which kind it is, and what is named as bad."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, MissingExtraError, SourceError
from gridcell.samples import Samples, SoundFacts
from gridcell.sources import find_files, kinds, sounds
from gridcell.sources import scan as scans
from gridcell.sources.scan import Scan
from gridcell.sources.sounds import Header

CODINGS = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "PCM_U8"),
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("rf64", "RF64", "PCM_16"),
]


def wave(frames: int, *, channels: int = 1, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels))


def sound(
    path: Path,
    *,
    frames: int = 400,
    rate: int = 8000,
    channels: int = 1,
    seed: int = 0,
    **options: Any,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave(frames, channels=channels, seed=seed), rate, **options)
    return path


def encoded(form: str, coding: str, *, frames: int = 4000, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave(frames), rate, format=form, subtype=coding)
    return buffer.getvalue()


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def header(path: Path) -> Header:
    found = sounds.header(str(path))
    assert isinstance(found, Header), found
    return found


def read(path: Path, *, folds: str | None = None, **settings: object) -> Samples:
    return sources.read(path, DataConfig(**settings), folds=folds)  # type: ignore[arg-type]


def refused(path: Path, error: type[Exception] = SourceError, **settings: object) -> str:
    with pytest.raises(error) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    return str(caught.value)


def facts_of(samples: Samples) -> SoundFacts:
    assert isinstance(samples.facts, SoundFacts)
    return samples.facts


def said(samples: Samples) -> str:
    return "\n".join(samples.notes)


def aged(*paths: Path) -> None:
    """Make files look older than the two seconds within which a scan trusts no time of change."""
    for path in paths:
        os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.mark.parametrize(("extension", "form", "coding"), CODINGS)
def test_a_header_tells_duration_rate_channels_and_format(
    tmp_path: Path, extension: str, form: str, coding: str
) -> None:
    path = sound(
        tmp_path / f"x.{extension}",
        rate=16000,
        frames=4000,
        channels=2,
        format=form,
        subtype=coding,
    )
    found = header(path)
    assert (found.rate, found.channels, found.format) == (16000, 2, f"{form} {coding}")
    assert found.seconds == 0.25
    assert found.digest == hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    assert not found.is_cut
    assert sounds.MEDIUM.is_named(path.name.upper())


def test_a_sound_is_known_by_its_content_and_not_its_name(tmp_path: Path) -> None:
    path = written(tmp_path / "x.mp3", encoded("FLAC", "PCM_16"))
    assert header(path).format == "FLAC PCM_16"


def test_any_bytes_may_name_a_sound(tmp_path: Path) -> None:
    try:
        path = written(tmp_path / os.fsdecode(b"\xff x.wav"), encoded("WAV", "PCM_16"))
    except OSError:
        pytest.skip("this file system takes text only")
    assert header(path).seconds == 0.5


def test_a_digest_is_of_all_bytes_however_many(tmp_path: Path) -> None:
    path = sound(tmp_path / "x.wav", frames=700_000)
    data = path.read_bytes()
    assert len(data) > 2**20
    assert header(path).digest == hashlib.blake2b(data, digest_size=16).digest()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"just some text", "isn't a sound libsndfile can read (first bytes: b'just some te')"),
        (encoded("WAV", "PCM_16", frames=0), "holds no sample"),
        (encoded("WAV", "PCM_16")[:20], "has a header that cannot be read (Error in WAV"),
        (encoded("FLAC", "PCM_16")[:12], "has a header that cannot be read ("),
        (b"\0\0\0\x20ftypM4A " + b"\0" * 40, "is MPEG-4 (M4A, AAC), which is not supported: conv"),
        (b"\xff\xf1\x50\x80" + b"\0" * 40, "is AAC, which is not supported: convert it to WAV or"),
        (b"#!AMR\n" + b"\0" * 40, "is AMR, which is not supported: convert it to WAV or FLAC"),
        (sounds.ASF + b"\0" * 40, "is WMA, which is not supported"),
    ],
)
def test_what_is_no_sound_is_told_why(tmp_path: Path, data: bytes, words: str) -> None:
    found = sounds.header(str(written(tmp_path / "x.wav", data)))
    assert isinstance(found, str)
    assert found.startswith(words)


def test_a_flac_that_does_not_say_how_long_it_is_is_refused(tmp_path: Path) -> None:
    data = bytearray(encoded("FLAC", "PCM_16"))
    data[21] &= 0xF0  # the count of samples: 36 bits, the last of STREAMINFO before its MD5
    data[22:26] = bytes(4)
    found = sounds.header(str(written(tmp_path / "x.flac", bytes(data))))
    assert found == "does not say how long it is: convert it to WAV"


def test_more_samples_than_any_recording_has_are_refused(tmp_path: Path) -> None:
    data = bytearray(encoded("FLAC", "PCM_16"))
    data[22:26] = b"\xff" * 4
    found = sounds.header(str(written(tmp_path / "x.flac", bytes(data))))
    assert found == "claims 4,294,967,295 samples a channel, over the limit of 2,147,483,648"


def test_a_file_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sounds, "FILE_LARGEST_BYTES", 20)
    assert sounds.header(str(sound(tmp_path / "x.wav"))) == "is larger than 0 GiB"


@pytest.mark.parametrize(
    ("form", "coding"),
    [
        *[("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("W64", "PCM_16")],
        *[("RF64", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")],
    ],
)
def test_a_sound_that_was_cut_off_counts_what_is_there_and_is_known_as_cut(
    tmp_path: Path, form: str, coding: str
) -> None:
    data = encoded(form, coding, frames=200_000)
    found = header(written(tmp_path / "x", data[: len(data) // 2]))
    assert found.is_cut
    assert 0 < found.seconds < 15
    assert not header(written(tmp_path / "x", data)).is_cut


def test_a_wav_made_in_a_pipe_is_not_taken_for_cut(tmp_path: Path) -> None:
    data = bytearray(encoded("WAV", "PCM_16"))
    data[4:8] = data[40:44] = b"\xff" * 4
    found = header(written(tmp_path / "x.wav", bytes(data)))
    assert (found.seconds, found.is_cut) == (0.5, False)


SEEDS = [encoded(*form) for form in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16"))]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 200), st.binary(max_size=24), st.integers(0, 9000))
def test_no_damage_to_a_file_escapes_as_an_exception(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, junk: bytes, end: int
) -> None:
    damaged = (data[:at] + junk + data[at + len(junk) :])[:end]
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    found = sounds.header(str(written(path, damaged)))
    assert isinstance(found, str) or found.seconds > 0


def scan(root: Path, names: list[str]) -> Scan:
    return scans.scan(root, names, sounds.MEDIUM, about=root)


def test_an_index_is_taken_up_again_and_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    names = [f"{number}.wav" for number in range(5)]
    aged(*(sound(tmp_path / name, frames=100 + seed, seed=seed) for seed, name in enumerate(names)))
    first, second = scan(tmp_path, names), scan(tmp_path, names)
    assert (first.read, second.read) == (5, 0)
    assert first.facts.dtype == sounds.RECORD and (first.facts == second.facts).all()
    aged(sound(tmp_path / "3.wav", frames=999))
    third = scan(tmp_path, names)
    assert third.read == 1
    assert third.facts["seconds"][3] == 999 / 8000
    assert third.facts["digest"][3] != first.facts["digest"][3]
    assert (third.facts[:3] == first.facts[:3]).all()


def test_an_index_of_another_libsndfile_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(sound(tmp_path / "1.wav"))
    scan(tmp_path, ["1.wav"])
    monkeypatch.setattr("soundfile.__libsndfile_version__", "0.1")
    assert scan(tmp_path, ["1.wav"]).read == 1


def test_without_soundfile_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match="Sounds are read with soundfile") as caught:
        scan(tmp_path, [])
    assert "pip install soundfile" in str(caught.value)


def test_without_the_library_of_the_system_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost:
        def find_spec(self, name: str, *rest: object) -> None:
            if name == "soundfile":
                raise OSError("cannot load library 'libsndfile.so'")

    monkeypatch.delitem(sys.modules, "soundfile")
    monkeypatch.setattr(sys, "meta_path", [Lost(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match="libsndfile, which cannot be loaded"):
        scan(tmp_path, [])


def dogs_and_cats(path: Path) -> Path:
    for seed, name in enumerate(("cat/1.wav", "cat/2.FLAC", "dog/1.ogg", "dog/2.mp3")):
        sound(path / name, seed=seed, rate=16000 if seed else 8000, channels=1 + seed % 2)
    return path


def test_a_folder_of_sounds_is_read_as_one_of_images_is(tmp_path: Path) -> None:
    (dogs_and_cats(tmp_path) / "dog" / "notes.txt").write_text("no sound")
    found = read(tmp_path)
    assert found.kind == "sounds"
    assert found.paths == ("cat/1.wav", "cat/2.FLAC", "dog/1.ogg", "dog/2.mp3")
    assert (found.labels, found.targets.tolist()) == (("cat", "dog"), [0, 0, 1, 1])
    facts = facts_of(found)
    assert facts.rates.tolist() == [8000, 16000, 16000, 16000]
    assert facts.channels.tolist() == [1, 2, 1, 2]
    assert facts.seconds.tolist() == [400 / 8000] + [400 / 16000] * 3
    assert facts.formats[:2].tolist() == [b"WAV PCM_16", b"FLAC PCM_16"]
    assert [column.dtype.str[1:] for column in (facts.seconds, facts.rates, facts.channels)] == [
        *("f8", "i4", "i2")
    ]
    assert "4 sounds in 2 classes: cat, dog." in found.notes
    assert "Ignored, 1 file not named as sounds: .txt 1." in found.notes


def test_taking_rows_takes_their_facts(tmp_path: Path) -> None:
    found = read(dogs_and_cats(tmp_path)).take([2, 0])
    assert facts_of(found).rates.tolist() == [16000, 8000]
    assert facts_of(found).channels.tolist() == [1, 1]
    assert facts_of(found).seconds.tolist() == [0.025, 0.05]


def test_bad_sounds_are_listed_and_may_be_skipped(tmp_path: Path) -> None:
    dogs_and_cats(tmp_path)
    written(tmp_path / "cat" / "empty.wav", b"")
    written(tmp_path / "dog" / "speech.m4a", b"\0\0\0\x20ftypM4A " + b"\0" * 40)
    text = refused(tmp_path)
    assert "2 of 6 files cannot be read as sounds:" in text
    assert f"{tmp_path}/cat/empty.wav is empty (0 bytes)" in text
    assert "speech.m4a is MPEG-4 (M4A, AAC), which is not supported: convert it to WAV" in text
    assert "4 files used, 2 skipped as unreadable" in said(read(tmp_path, on_bad_file="skip"))


def test_sounds_that_were_cut_off_are_named(tmp_path: Path) -> None:
    dogs_and_cats(tmp_path)
    path = tmp_path / "cat" / "1.wav"
    path.write_bytes(path.read_bytes()[:-100])
    assert "1 file ends before its header says, and what is there is used: cat/1.wav." in said(
        read(tmp_path)
    )


def test_the_words_are_of_sounds(tmp_path: Path) -> None:
    sound(tmp_path / "1.wav")
    assert "holds 1 sound, but no class folders: nothing says which class a sound is of" in refused(
        tmp_path
    )
    assert "is a single sound; training needs many" in refused(tmp_path / "1.wav")
    written(tmp_path / "a" / "1.wav", b"")
    written(tmp_path / "b" / "1.wav", b"")
    text = refused(tmp_path, on_bad_file="skip")
    assert "none of the 2 files can be read as a sound" in text
    assert "name a folder or table with whole sound files." in text


def test_several_kinds_are_refused_until_one_is_asked_for(tmp_path: Path) -> None:
    dogs_and_cats(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "cat" / "1.png")
    written(tmp_path / "dog" / "1.mp4", b"no clip")
    text = refused(tmp_path, ConfigError)
    assert f"{tmp_path} holds 4 sounds, 1 image and 1 clip, and one set can hold one kind" in text
    assert "--kind sounds" in text
    found = read(tmp_path, kind="sounds")
    assert (found.kind, len(found)) == ("sounds", 4)
    assert "Ignored, 2 files not named as sounds: .png 1, .mp4 1." in found.notes


def test_a_gif_is_an_image_unless_clips_are_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
        frames[0].save(tmp_path / name / "1.gif", save_all=True, append_images=frames[1:])
    assert read(tmp_path).kind == "images"
    pytest.importorskip("av")
    assert read(tmp_path, kind="clips").kind == "clips"
    assert find_files(tmp_path, "clips") == [tmp_path / "a/1.gif", tmp_path / "b/1.gif"]


def test_no_extension_but_gif_is_of_two_kinds() -> None:
    named = [name for medium in kinds.MEDIA.values() for name in set(medium.extensions)]
    assert {name for name in named if named.count(name) > 1} == {".gif"}


def table(folder: Path, rows: Iterable[str]) -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_of_sounds_is_read_with_folds(tmp_path: Path) -> None:
    dogs_and_cats(tmp_path)
    rows = ["file,kind,fold", "dog/1.ogg,x,2", "cat/1.wav,y,1", "cat/2.FLAC,x,2"]
    found = read(table(tmp_path, rows), folds="fold")
    assert (found.kind, found.labels) == ("sounds", ("x", "y"))
    assert found.fold_names == ("1", "2")
    assert found.folds is not None and found.folds.tolist() == [1, 0, 1]
    assert facts_of(found).rates.tolist() == [16000, 8000, 16000]
    assert "3 sounds from t.csv, named by column file." in found.notes


def test_a_table_of_two_kinds_is_refused(tmp_path: Path) -> None:
    dogs_and_cats(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    path = table(tmp_path, ["file,y", "cat/1.wav,a", "dog/1.ogg,b", "1.png,b"])
    assert "holds 2 sounds and 1 image" in refused(path, ConfigError)
    assert "1.png isn't a sound libsndfile can read" in refused(path, kind="sounds")


def test_names_without_extension_are_read_as_what_is_asked_for(tmp_path: Path) -> None:
    for seed, name in enumerate("pq"):
        sound(tmp_path / name, seed=seed, format="WAV")
    path = table(tmp_path, ["file,y", "p,a", "q,b"])
    assert read(path, kind="sounds").kind == "sounds"
    assert "isn't an image Pillow can read" in refused(path)


def test_every_real_odd_sound_is_used_or_named(data_folder: Path, tmp_path: Path) -> None:
    odd = sorted((data_folder / "odd" / "audio").iterdir())
    for number, file in enumerate(odd):
        written(tmp_path / "ab"[number % 2] / file.name, file.read_bytes())
    text = refused(tmp_path)
    assert f"5 of {len(odd)} files cannot be read as sounds" in text
    for name, reason in (
        ("early-eof-no-data.wav", "has a header that cannot be read (Error in WAV file. No 'data'"),
        ("incomplete-chunk.wav", "has a header that cannot be read (Error in WAV file. No 'data'"),
        ("64bit.wav", "has a header that cannot be read (File contains data in an unimplemented"),
        ("text_renamed.wav", "isn't a sound libsndfile can read (first bytes: b'not audio"),
        ("zero_samples.wav", "holds no sample"),
    ):
        assert f"{name} {reason}" in text
    found = read(tmp_path, on_bad_file="skip")
    assert len(found) == len(odd) - 5
    assert "1 file ends before its header says, and what is there is used:" in said(found)
    facts = facts_of(found)
    known = dict(zip((Path(path).name for path in found.paths), range(len(found)), strict=True))
    row = known["stereo_96k_24bit.flac"]
    assert (facts.rates[row], facts.channels[row], facts.seconds[row]) == (96000, 2, 41484 / 96000)
    row = known["test-8000Hz-le-5ch-9S-5bit.wav"]
    assert (facts.channels[row], facts.seconds[row]) == (5, 9 / 8000)
