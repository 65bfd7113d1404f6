"""What the header of a video file tells, and the words for files that are none."""

from __future__ import annotations

import hashlib
import io
import math
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gridcell.errors import MissingExtraError
from gridcell.sources import clips
from gridcell.sources.clips import MEDIUM
from gridcell.sources.scan import good_rows, scan


def written(
    *,
    count: int = 12,
    size: tuple[int, int] = (48, 64),
    container: str = "mp4",
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    turn: float | None = None,
) -> bytes:
    """A video, ten frames a second, each a little brighter than the one before."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=10)
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        if turn is not None:
            stream.set_display_rotation(turn)
        for number in range(count):
            picture = np.full((*size, 3), 20 + 5 * number, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return file.getvalue()


def sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def record_of(path: Path) -> NDArray[np.void]:
    found = MEDIUM.header(str(path))
    assert not isinstance(found, str), found
    return np.array([found], MEDIUM.dtype)


def kept(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("options", "codec", "is_colour"),
    [
        ({}, "h264", True),
        ({"size": (49, 65), "pixel_format": "yuv444p"}, "h264", True),
        ({"container": "avi", "codec": "mjpeg", "pixel_format": "yuvj420p"}, "mjpeg", True),
        ({"container": "webm", "codec": "libvpx-vp9"}, "vp9", True),
        ({"container": "matroska", "codec": "ffv1", "pixel_format": "gray"}, "ffv1", False),
        ({"container": "matroska", "codec": "ffv1", "pixel_format": "gray16le"}, "ffv1", False),
        ({"container": "mov", "codec": "qtrle", "pixel_format": "argb"}, "qtrle", True),
        ({"container": "gif", "codec": "gif", "pixel_format": "rgb8"}, "gif", True),
    ],
)
def test_the_header_tells_size_duration_colour_and_coding(
    options: dict[str, Any], codec: str, is_colour: bool, tmp_path: Path
) -> None:
    data = written(**options)
    record = record_of(kept(tmp_path / "clip", data))
    facts = MEDIUM.facts_of(record)
    assert facts.kind == "clips"
    assert facts.sizes.tolist() == [list(options.get("size", (48, 64)))]
    assert facts.seconds.tolist() == pytest.approx([1.2])
    assert facts.colours.tolist() == [is_colour]
    assert facts.formats.tolist() == [codec.encode()]
    wanted = hashlib.blake2b(data, digest_size=16).digest()
    assert record["digest"][0].tobytes() == wanted


@pytest.mark.parametrize(
    ("turn", "size"), [(0, (48, 64)), (90, (64, 48)), (-90, (64, 48)), (180, (48, 64))]
)
def test_the_size_is_that_which_a_person_sees(
    turn: float, size: tuple[int, int], tmp_path: Path
) -> None:
    facts = MEDIUM.facts_of(record_of(kept(tmp_path / "clip.mp4", written(turn=turn))))
    assert facts.sizes.tolist() == [list(size)]


def test_a_duration_that_the_file_does_not_tell_is_nan(tmp_path: Path) -> None:
    path = kept(tmp_path / "clip.mpg", written(container="h264"))
    assert math.isnan(record_of(path)["seconds"][0])


def without_decodable_frames() -> bytes:
    data = written(container="avi", codec="mjpeg", pixel_format="yuvj420p")
    with av.open(io.BytesIO(data)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for packet in packets:
        data = data.replace(packet, bytes(len(packet)))
    return data


def without_index() -> bytes:
    data = written()
    return data[: data.index(b"moov") - 4]


BAD = {
    "empty": (b"", "is empty (0 bytes)"),
    "text": (b"text\n", "isn't a video FFmpeg can read (first bytes: b'text\\n')"),
    "sound": (sound(), "holds no moving pictures, only sound"),
    "cut": (
        without_index(),
        "has lost its index (moov): it was cut off, or its recording was never closed",
    ),
    "damaged": (without_decodable_frames(), "has no frame that can be decoded"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_clip_has_a_reason(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, reason = BAD[name]
    assert MEDIUM.header(str(kept(tmp_path / "clip.mp4", data))) == reason
    assert capfd.readouterr() == ("", "")


def test_a_picture_in_a_sound_file_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        sounds = out.add_stream("aac", rate=8000, layout="mono")
        cover = out.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        out.mux(sounds.encode(frame))
        out.mux(sounds.encode(None))
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        out.mux(cover.encode(picture))
        out.mux(cover.encode(None))
    assert MEDIUM.header(str(path)) == "holds no moving pictures, only sound"


def test_a_giant_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(tmp_path / "clip.mp4", written())
    monkeypatch.setattr(clips, "PIXELS_LARGEST", 3000)
    wanted = "claims 64 x 48 = 3,072 pixels a frame, over the limit of 3,000"
    assert MEDIUM.header(str(path)) == wanted


def test_a_fault_of_the_disk_is_let_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MEDIUM.header(str(tmp_path / "gone.mp4"))


def test_a_scan_reads_good_clips_and_names_the_bad(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    kept(folder / "a.mp4", written(count=1))
    kept(folder / "b.avi", written(container="avi", codec="mpeg4"))
    for name, (data, _) in BAD.items():
        kept(folder / f"{name}.mp4", data)
    paths = ["a.mp4", "b.avi", *(f"{name}.mp4" for name in BAD)]
    found = scan(folder, paths, MEDIUM, about=folder)
    assert list(found.reasons.values()) == [reason for _, reason in BAD.values()]
    rows, notes = good_rows(found, paths, MEDIUM, where=folder, on_bad_file="skip")
    assert rows.tolist() == [0, 1]
    assert "5 skipped as unreadable" in notes[0]
    assert MEDIUM.facts_of(found.facts[rows]).formats.tolist() == [b"h264", b"mpeg4"]


def test_extensions_are_those_of_videos() -> None:
    assert all(MEDIUM.is_named(name) for name in ("a.MP4", "b.mov", "c.webm", "d.ogv"))
    assert not any(MEDIUM.is_named(name) for name in ("a.ts", "b.gif", "c.mp3", "mp4"))


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError) as caught:
        MEDIUM.reader()
    assert caught.value.fix == "pip install 'gridcell[video]'"


@pytest.mark.parametrize(
    ("name", "size", "seconds", "codec"),
    [
        ("plain_h264.mp4", (64, 64), 2.0, "h264"),
        ("odd_size_65x49.mp4", (49, 65), 1.2, "h264"),
        ("mjpeg.avi", (64, 64), 1.5, "mjpeg"),
        ("vp9.webm", (64, 64), 1.5, "vp9"),
        ("grey_lossless.mkv", (64, 64), 1.5, "ffv1"),
        ("variable_frame_rate.mp4", (64, 64), 3.3, "h264"),
        ("cut_after_index.mp4", (96, 96), 6.0, "h264"),  # by its header: that is all it is
    ],
)
def test_odd_clips_tell_what_they_are(
    name: str, size: tuple[int, int], seconds: float, codec: str, data_folder: Path
) -> None:
    facts = MEDIUM.facts_of(record_of(data_folder / "odd" / "video" / name))
    assert facts.sizes.tolist() == [list(size)]
    assert facts.seconds.tolist() == pytest.approx([seconds])
    assert facts.formats.tolist() == [codec.encode()]
    assert facts.colours.tolist() == [codec != "ffv1"]
