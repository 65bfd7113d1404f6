"""Clips made in code: which frames are taken, how they are turned and what their pixels are."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gridcell.config import DataConfig
from gridcell.errors import MissingExtraError, SourceError
from gridcell.preparation import clips
from gridcell.preparation.cache import Decoded, decode_all
from gridcell.preparation.clips import (
    ClipPreparation,
    FrameReader,
    UnreadableClipError,
    choose_clips,
    choose_frames,
    decode,
    decode_windows,
    fit_clips,
)
from gridcell.preparation.images import Fit, refit
from gridcell.preparation.remarks import Remark, look_at, look_at_frames
from gridcell.samples import ClipFacts, Samples
from gridcell.sources.clips import Clip, opened

SIZE = (6, 8)


def written(
    pictures: Sequence[NDArray[np.uint8]],
    *,
    container: str = "matroska",
    codec: str = "ffv1",
    pixel_format: str = "bgr0",
    given: str = "rgb24",
    milliseconds: Sequence[int] | None = None,
    rate: int = 25,
    turn: tuple[float, bool, bool] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    words: dict[str, str] | None = None,
) -> bytes:
    """A video of these pictures; lossless, and in RGB, unless another codec is named."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=container_options or {}) as out:
        out.metadata.update(words or {})
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.bit_rate = 4_000_000
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if turn is not None:
            stream.set_display_rotation(*turn)
        for place, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format=given)
            if milliseconds is not None:
                frame.time_base = Fraction(1, 1000)
                frame.pts = milliseconds[place]
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def numbered(count: int) -> list[NDArray[np.uint8]]:
    """Pictures that bear their own number: its hundreds in red, the rest in green."""
    pictures = []
    for number in range(count):
        picture = np.zeros((*SIZE, 3), np.uint8)
        picture[...] = number // 100, number % 100, 77
        pictures.append(picture)
    return pictures


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    assert (frames == frames[:, :1, :1]).all()
    return [int(red) * 100 + int(green) for red, green, _ in frames[:, 0, 0]]


def taken(source: bytes | Path, frames: int = 16, *, channels: int = 3) -> NDArray[np.uint8]:
    """The frames of a clip of `SIZE`, as they are."""
    return decode(
        source, height=SIZE[0], width=SIZE[1], channels=channels, fit="stretch", frames=frames
    )


def noise(count: int, height: int, width: int, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    draw = np.random.default_rng(seed)
    return list(draw.integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def on_screen(milliseconds: Sequence[int], frames: int) -> list[int]:
    """The rule told once more, plainly: at each instant, the last frame that has begun."""
    length = milliseconds[-1] - milliseconds[0]
    instants = [milliseconds[0] + Fraction(k * length, frames - 1) for k in range(frames)]
    return [
        max(place for place, begins in enumerate(milliseconds) if begins <= instant + 1)
        for instant in instants
    ]


def grey_steps(count: int, *, first: int = 16, step: int = 10) -> list[NDArray[np.uint8]]:
    """Pictures for codecs that lose detail: each a little brighter than the one before."""
    return [np.full((48, 64, 3), first + step * place, np.uint8) for place in range(count)]


def brightness(source: bytes | Path, frames: int) -> NDArray[np.float64]:
    taken_frames = decode(source, height=48, width=64, channels=1, fit="stretch", frames=frames)
    return np.asarray(taken_frames.mean((1, 2, 3)))


@pytest.mark.parametrize("count", [1, 3, 16])
def test_a_short_clip_keeps_all_its_frames_and_its_length(count: int) -> None:
    assert numbers(taken(written(numbered(count)))) == list(range(count))


@pytest.mark.parametrize("frames", [2, 5, 16])
def test_frames_of_a_long_clip_are_spread_evenly_over_its_time(frames: int) -> None:
    times = [40 * place for place in range(600)]
    found = numbers(taken(written(numbered(600)), frames))
    assert found == on_screen(times, frames)
    assert (found[0], found[-1]) == (0, 599)


def test_a_single_frame_is_the_one_halfway() -> None:
    assert numbers(taken(written(numbered(9)), 1)) == [4]


@pytest.mark.parametrize("seed", range(5))
def test_frames_are_chosen_by_time_where_the_rate_varies(seed: int) -> None:
    gaps = np.random.default_rng(seed).choice([10, 33, 40, 400, 1500], 40)
    times = np.cumsum(gaps).tolist()
    source = written(numbered(40), milliseconds=times)
    assert numbers(taken(source, 7)) == on_screen(times, 7)


def test_a_frame_that_is_long_on_the_screen_stands_twice() -> None:
    source = written(numbered(5), milliseconds=[0, 100, 200, 300, 900])
    assert numbers(taken(source, 4)) == [0, 3, 3, 4]


def test_frames_that_are_coded_out_of_order_are_chosen_by_the_time_of_showing() -> None:
    times = np.cumsum([40, 40, 600, 40, 900, 40, 40, 40, 40, 700, 40, 40]).tolist()
    source = written(
        grey_steps(12),
        container="mp4",
        codec="libx264",
        pixel_format="yuv420p",
        milliseconds=times,
        options={"bf": "3", "b-adapt": "0"},
    )
    wanted = [16 + 10 * place for place in on_screen(times, 6)]
    np.testing.assert_allclose(brightness(source, 6), wanted, atol=4)


@pytest.mark.parametrize("ticks", [[7] * 9, [None] * 9, [0, 1, 2, 3, 4, 0, 1, 2, 3]])
def test_frames_without_sound_times_count_as_evenly_spread(ticks: list[int | None]) -> None:
    stream = SimpleNamespace(average_rate=None, time_base=Fraction(1, 5))
    seconds = clips._seconds(SimpleNamespace(stream=stream), ticks)
    np.testing.assert_allclose(seconds, np.arange(9) / 25)


def test_times_rounded_by_the_container_change_no_choice() -> None:
    exact = np.arange(31) / 30
    rounded = np.round(exact, 3)
    assert choose_frames(exact, 16).tolist() == list(range(0, 31, 2))
    assert choose_frames(rounded, 16).tolist() == list(range(0, 31, 2))


def test_few_frames_of_a_long_clip_are_made_small_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = written(numbered(600))
    made: list[int] = []
    opaque = clips._opaque
    monkeypatch.setattr(clips, "_opaque", lambda frame: made.append(frame.pts) or opaque(frame))
    assert len(taken(source)) == 16
    assert len(made) == 16


def test_times_that_the_file_gets_wrong_cost_a_second_reading_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = written(numbered(40))
    right = taken(source, 5)
    monkeypatch.setattr(clips, "_likely", lambda clip, *, frames: {0, 40, 80, 120, 160})
    np.testing.assert_array_equal(taken(source, 5), right)
    monkeypatch.setattr(clips, "_likely", lambda clip, *, frames: set())
    np.testing.assert_array_equal(taken(source, 5), right)


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("avi", "libx264", {}),  # with frames that are coded out of order, which AVI cannot tell
        ("avi", "mpeg4", {"bf": "2"}),
        ("mp4", "libx264", {}),
        ("mpeg", "mpeg2video", {"bf": "2"}),
        ("mpegts", "libx264", {}),
        ("webm", "libvpx-vp9", {}),
        ("asf", "wmv2", {}),
        ("flv", "flv", {}),
        ("h264", "libx264", {}),
        ("m4v", "mpeg4", {"bf": "2"}),
    ],
)
@pytest.mark.parametrize("frames", [8, 32])
def test_frames_stand_in_the_order_in_which_they_are_shown(
    container: str, codec: str, options: dict[str, str], frames: int
) -> None:
    source = written(
        grey_steps(20), container=container, codec=codec, pixel_format="yuv420p", options=options
    )
    found = brightness(source, frames)
    wanted = 16 + 10 * np.array(on_screen([40 * k for k in range(20)], 8))
    np.testing.assert_allclose(found, wanted if frames == 8 else 16 + 10 * np.arange(20), atol=5)


def test_a_joined_recording_whose_clock_begins_again_stays_in_its_order() -> None:
    parts = [
        written(grey_steps(10, first=first), container="flv", codec="flv", pixel_format="yuv420p")
        for first in (16, 126)
    ]
    joined = parts[0] + parts[1][13:]  # without the second file header of 9 + 4 bytes
    found = brightness(joined, 32)
    assert len(found) == 20
    np.testing.assert_allclose(found, [*range(16, 116, 10), *range(126, 226, 10)], atol=5)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("is_upside_down", [False, True])
def test_frames_are_turned_as_the_camera_says(
    degrees: int, is_mirrored: bool, is_upside_down: bool
) -> None:
    picture = noise(1, 6, 8)[0]
    source = written(
        [picture],
        container="mov",
        codec="qtrle",
        pixel_format="rgb24",
        turn=(degrees, is_mirrored, is_upside_down),
    )
    seen = np.rot90(picture, degrees // 90)
    seen = seen[:, ::-1] if is_mirrored else seen
    seen = seen[::-1] if is_upside_down else seen
    height, width = seen.shape[:2]
    found = decode(source, height=height, width=width, channels=3, fit="stretch", frames=4)
    np.testing.assert_array_equal(found[0], seen)


def test_an_angle_between_is_taken_to_the_nearest_quarter_turn() -> None:
    picture = noise(1, 6, 8)[0]
    source = written(
        [picture], container="mov", codec="qtrle", pixel_format="rgb24", turn=(80, False, False)
    )
    found = decode(source, height=8, width=6, channels=3, fit="stretch", frames=1)
    np.testing.assert_array_equal(found[0], np.rot90(picture))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_resized_as_pictures_are(fit: Fit, channels: int) -> None:
    pictures = noise(3, 20, 33)
    sizes = {"height": 9, "width": 7, "channels": channels, "fit": fit}
    found = decode(written(pictures), frames=8, **sizes)
    wanted = [refit(picture, **sizes) for picture in pictures]
    np.testing.assert_array_equal(found, wanted)


def test_an_odd_size_is_read_whole() -> None:
    pictures = [np.full((49, 65, 3), 90, np.uint8)]
    pictures[0][-5:, -5:] = 250
    source = written(pictures, container="mp4", codec="libx264", pixel_format="yuv444p")
    found = decode(source, height=49, width=65, channels=1, fit="stretch", frames=1)[0, :, :, 0]
    assert abs(float(found[:40, :50].mean()) - 90) < 4
    assert float(found[-3:, -3:].min()) > 230


def test_grey_clips_keep_their_values() -> None:
    values = np.arange(48, dtype=np.uint8).reshape(SIZE) * 5
    source = written([values], pixel_format="gray", given="gray")
    np.testing.assert_array_equal(taken(source, channels=1)[0, :, :, 0], values)
    np.testing.assert_array_equal(taken(source)[0], np.repeat(values[:, :, None], 3, axis=2))


def test_values_of_16_bits_are_scaled_not_cut() -> None:
    values = (np.arange(48, dtype=np.uint16).reshape(SIZE) * 5) * 257
    source = written([values], pixel_format="gray16le", given="gray16le")
    np.testing.assert_allclose(taken(source, channels=1)[0, :, :, 0], values / 257, atol=1)


@pytest.mark.parametrize(
    ("colourspace", "red", "green", "blue"),
    [
        (6, (0, 1.596), (-0.392, -0.813), (2.017, 0)),  # BT.601
        (1, (0, 1.793), (-0.213, -0.533), (2.112, 0)),  # BT.709
    ],
)
def test_colours_are_those_that_the_file_means(
    colourspace: int,
    red: tuple[float, float],
    green: tuple[float, float],
    blue: tuple[float, float],
) -> None:
    luma, chroma = 120, (90, 180)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.colorspace = colourspace
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.colorspace = colourspace
        for plane, value in zip(frame.planes, (luma, *chroma), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    found = decode(file.getvalue(), height=48, width=64, channels=3, fit="stretch", frames=1)
    wanted = [
        1.164 * (luma - 16) + of_u * (chroma[0] - 128) + of_v * (chroma[1] - 128)
        for of_u, of_v in (red, green, blue)
    ]
    np.testing.assert_allclose(found[0, 24, 32], wanted, atol=2)


def test_alpha_lies_on_white() -> None:
    picture = np.zeros((*SIZE, 4), np.uint8)
    picture[..., 0] = 200
    picture[:, :4, 3] = 255
    picture[:, 4:6, 3] = 51
    source = written([picture], container="mov", codec="qtrle", pixel_format="argb", given="rgba")
    row = taken(source)[0, 0]
    assert row[0].tolist() == [200, 0, 0]
    assert row[4].tolist() == [244, 204, 204]
    assert row[7].tolist() == [255, 255, 255]


def test_an_animated_gif_gives_the_frames_that_pillow_shows() -> None:
    draw = np.random.default_rng(0)
    pictures = []
    for _ in range(5):
        values = draw.integers(0, 256, (*SIZE, 4), dtype=np.uint8)
        values[..., 3] = np.where(values[..., 3] > 100, 255, 0)
        pictures.append(Image.fromarray(values))
    file = io.BytesIO()
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:], duration=100, disposal=2
    )
    wanted = []
    with Image.open(file) as gif:
        for place in range(gif.n_frames):
            gif.seek(place)
            white = Image.new("RGBA", gif.size, "white")
            wanted.append(Image.alpha_composite(white, gif.convert("RGBA")).convert("RGB"))
    assert (np.asarray(wanted[1]) == 255).all(-1).any()
    np.testing.assert_array_equal(taken(file.getvalue()), [np.asarray(image) for image in wanted])


def test_of_a_cut_clip_all_that_decodes_is_used_and_spread_by_its_true_times() -> None:
    whole = written(
        noise(60, 48, 64),
        container="mp4",
        codec="libx264",
        pixel_format="yuv420p",
        options={"bf": "2"},
        container_options={"movflags": "frag_keyframe+empty_moov"},  # the index comes first
    )
    sizes: dict[str, Any] = {"height": 12, "width": 16, "channels": 3, "fit": "stretch"}
    all_frames = decode(whole, frames=60, **sizes)
    cut = decode(whole[: len(whole) * 6 // 10], frames=60, **sizes)
    assert 20 < len(cut) < 60
    same = (cut == all_frames[: len(cut)]).all((1, 2, 3))
    assert same[:-2].all()  # what the last ones refer to may lie behind the cut
    few = decode(whole[: len(whole) * 6 // 10], frames=3, **sizes)
    np.testing.assert_array_equal(few, cut[[0, (len(cut) - 1) // 2, -1]])


def packets_of(source: bytes) -> list[bytes]:
    with av.open(io.BytesIO(source)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_behind_a_damaged_place_other_frames_follow() -> None:
    source = written(grey_steps(12), container="avi", codec="mjpeg", pixel_format="yuvj420p")
    broken = packets_of(source)[5]
    damaged = source.replace(broken, bytes(len(broken)))
    wanted = [16 + 10 * place for place in range(12) if place != 5]
    np.testing.assert_allclose(brightness(damaged, 16), wanted, atol=4)


def test_frames_that_the_decoder_holds_back_are_asked_for_at_a_damaged_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = written(
        grey_steps(12),
        container="mp4",
        codec="libx264",
        pixel_format="yuv420p",
        options={"bf": "3"},
    )
    packets = Clip.packets
    monkeypatch.setattr(Clip, "packets", lambda clip: (p for p in packets(clip) if p.size))
    assert len(brightness(source, 16)) == 12


def test_half_a_picture_is_no_frame() -> None:
    pictures = noise(5, 48, 64)
    source = written(pictures, container="avi", codec="mjpeg", pixel_format="yuvj420p")
    last = packets_of(source)[4]
    cut = source[: source.index(last) + len(last) // 2]
    sizes: dict[str, Any] = {"height": 48, "width": 64, "channels": 3, "fit": "stretch"}
    np.testing.assert_array_equal(
        decode(cut, frames=16, **sizes), decode(source, frames=16, **sizes)[:4]
    )


def damage_of(source: bytes, frames: int = 16) -> Remark | None:
    """What is said of a clip, which is the same where it is read in windows."""
    reader = FrameReader(height=12, width=16, channels=3, fit="stretch", frames=frames)
    remark = reader.read_closely(source)[2]
    windows = decode_windows(
        source,
        height=12,
        width=16,
        channels=3,
        fit="stretch",
        frames=frames,
        spans_of=lambda seconds: [(0.0, seconds)],
    )
    assert windows.remark == remark
    return remark


@pytest.mark.parametrize(
    ("greys", "spot", "is_blank"),
    [((7, 7, 7), None, True), ((7, 7, 8), None, False), ((7, 7, 7), 0, False), ((7, 7), 1, False)],
)
def test_frames_are_of_one_colour_where_all_have_the_same(
    greys: tuple[int, ...], spot: int | None, is_blank: bool
) -> None:
    frames = [np.full((4, 5, 3), grey, np.uint8) for grey in greys]
    if spot is not None:
        frames[spot][3, 1, 2] += 1
    wanted = Remark("blank") if is_blank else None
    assert look_at_frames(frames) == look_at(np.stack(frames)) == wanted


def test_damage_inside_a_clip_or_at_its_end_is_told() -> None:
    source = written(grey_steps(12), container="avi", codec="mjpeg", pixel_format="yuvj420p")
    packets = packets_of(source)
    assert damage_of(source) is None
    inside = source.replace(packets[5], bytes(len(packets[5])))
    assert damage_of(inside) == Remark("damaged", "11 of 12 frames")
    at_the_end = source[: source.index(packets[9])]
    assert damage_of(at_the_end) == Remark("damaged", "9 of 12 frames")


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("mjpeg", "yuvj420p"), ("mpeg4", "yuv420p"), ("libx264", "yuv420p")],
)
def test_a_clip_of_any_rate_is_no_damaged_one(codec: str, pixel_format: str) -> None:
    """The header of an AVI counts moments: of these 59, 20 have a frame."""
    milliseconds = [40 * place for place in [*range(5), *range(15, 25), 40, *range(55, 59)]]
    settings: dict[str, Any] = {"codec": codec, "pixel_format": pixel_format}
    source = written(grey_steps(20), container="avi", milliseconds=milliseconds, **settings)
    with opened(source) as clip:
        assert clip.stream.frames > 20
    assert damage_of(source, frames=20) is None
    cut = source[: source.index(packets_of(source)[12])]
    remark = damage_of(cut, frames=20)
    assert remark is not None and remark.what == "damaged"
    assert remark.detail.endswith("frames") and " of " not in remark.detail


def test_frames_that_the_decoder_had_to_guess_at_are_told() -> None:
    frames = [SimpleNamespace(is_corrupt=place == 2) for place in range(5)]
    clip = Clip(SimpleNamespace(), SimpleNamespace(frames=5, decode=lambda _: frames))
    assert list(clip._decoded(None)) == frames
    assert clip.damage(5) == "5 frames, 1 of them spoilt"


def test_a_header_that_counts_one_frame_too_many_tells_of_no_damage() -> None:
    clip = Clip(SimpleNamespace(), SimpleNamespace(frames=12))
    assert clip.damage(11) is None
    assert clip.damage(10) == "10 of 12 frames"
    clip.losses.discarded = 2
    assert clip.damage(10) is None


def test_a_clip_of_one_colour_is_told() -> None:
    assert damage_of(written([np.zeros((48, 64, 3), np.uint8)] * 5)) == Remark("blank")


def test_a_path_and_its_bytes_and_many_threads_give_the_same(tmp_path: Path) -> None:
    source = written(noise(40, *SIZE))
    path = tmp_path / "a:%02d \u4e2d.mkv"
    path.write_bytes(source)
    wanted = taken(source, 5)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: taken(path, 5), range(12)):
            np.testing.assert_array_equal(found, wanted)


def sound_only() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def without_frames() -> bytes:
    source = written(noise(3, *SIZE), options={"slicecrc": "1"})
    for packet in packets_of(source):
        source = source.replace(packet, bytes(len(packet)))
    return source


def indexed_last() -> bytes:
    return written(grey_steps(9), container="mp4", codec="libx264", pixel_format="yuv420p")


def without_index() -> bytes:
    source = indexed_last()
    return source[: source.index(b"moov") - 4]


def with_half_an_index() -> bytes:
    source = indexed_last()
    return source[: source.index(b"moov") + 60]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (b"not a video\n", "isn't a video FFmpeg can read (first bytes: b'not a video\\n')"),
        (sound_only(), "holds no moving pictures, only sound"),
        (without_index(), "has lost its index (moov)"),
        (with_half_an_index(), "has no pictures in its header: it is cut off or damaged"),
        (without_frames(), "has no frame that can be decoded"),
    ],
    ids=["empty", "text", "sound", "no index", "half an index", "no frame"],
)
def test_what_cannot_be_read_is_named_with_the_reason(
    source: bytes, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x\n.mp4"
    path.write_bytes(source)
    with pytest.raises(UnreadableClipError) as caught:
        taken(path)
    assert isinstance(caught.value, SourceError)
    assert str(caught.value).startswith(f"{tmp_path}/x\\n.mp4 {reason}")
    assert caught.value.fix is not None and "--on-bad-file skip" in caught.value.fix
    assert caught.value.is_lasting
    assert capfd.readouterr() == ("", "")
    with pytest.raises(UnreadableClipError, match=r"^the clip "):
        taken(source)


def test_a_picture_is_no_clip_whatever_it_is_called(tmp_path: Path) -> None:
    Image.fromarray(noise(1, 48, 64)[0]).save(tmp_path / "picture.png")
    path = (tmp_path / "picture.png").rename(tmp_path / "picture.mp4")
    with pytest.raises(UnreadableClipError, match="isn't a video"):
        taken(path)


def test_words_in_a_file_that_are_not_utf_8_do_no_harm() -> None:
    source = written(numbered(3), words={"title": "holiday"})
    assert numbers(taken(source.replace(b"holiday", b"h\xf6liday"))) == [0, 1, 2]


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(written(numbered(3)))
    for number, text in enumerate(
        [
            f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/real.mp4\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile {tmp_path}/real.mp4\n",
        ]
    ):
        path = tmp_path / f"{number}.mp4"
        path.write_text(text)
        with pytest.raises(UnreadableClipError, match="isn't a video"):
            taken(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.mp4", "does not exist"),
        (".", "cannot be read: Is a directory"),
        ("a\0b", "cannot be opened"),
    ],
)
def test_a_fault_outside_the_file_does_not_last(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableClipError, match=reason) as caught:
        taken(tmp_path / name)
    assert not caught.value.is_lasting


@pytest.mark.parametrize("reads", [0, 3, 12, 20, 30, 40])
def test_a_drive_that_goes_away_is_no_short_clip(
    reads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = written(noise(60, 64, 64))
    assert len(source) > 20 * 32768  # FFmpeg reads as much at a time

    class Failing(io.BytesIO):
        left = reads

        def read(self, size: int | None = -1, /) -> bytes:
            Failing.left -= 1
            if Failing.left < 0:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(Path, "open", lambda *_, **__: Failing(source))
    with pytest.raises(UnreadableClipError, match="Input/output error") as caught:
        taken(tmp_path / "remote.mkv")
    assert not caught.value.is_lasting
    assert capfd.readouterr() == ("", "")


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"gridcell\[video\]"):
        taken(b"anything")


def samples_of(sizes: Sequence[tuple[int, int]], *, is_colour: bool = True) -> Samples:
    count = len(sizes)
    colours = np.zeros(count, np.bool_)
    colours[-1] = is_colour
    return Samples(
        facts=ClipFacts(
            sizes=np.array(sizes, np.int32),
            seconds=np.full(count, np.nan),
            colours=colours,
            formats=np.full(count, b"h264"),
        ),
        task="classify",
        paths=tuple(f"{row}.mp4" for row in range(count)),
        root="clips",
        labels=("a",),
        targets=np.zeros(count, np.int64),
        digests=np.zeros(count, "V16"),
        given=np.full(count, -1, np.int8),
    )


@pytest.mark.parametrize(
    ("sizes", "config", "wanted"),
    [
        ([(48, 64), (48, 64)], DataConfig(), (48, 64)),
        ([(48, 64), (64, 48)], DataConfig(), (48, 48)),
        ([(48, 65), (48, 65)], DataConfig(), (48, 48)),
        ([(240, 320), (720, 1280), (360, 626)], DataConfig(), (64, 64)),
        ([(9, 9), (12, 10)], DataConfig(), (16, 16)),
        ([(48, 64), (48, 64)], DataConfig(image_size=80), (80, 80)),
    ],
)
def test_the_working_size_follows_from_the_headers(
    sizes: list[tuple[int, int]], config: DataConfig, wanted: tuple[int, int]
) -> None:
    chosen = choose_clips(samples_of(sizes), config)
    assert (chosen.height, chosen.width) == wanted
    assert (chosen.channels, chosen.fit, chosen.frames) == (3, "stretch", 16)
    assert str(chosen.layout) == f"T x {wanted[0]}x{wanted[1]}x3"


def test_colour_fit_and_frames_follow_the_files_and_the_settings() -> None:
    grey = samples_of([(48, 64)] * 3, is_colour=False)
    chosen = choose_clips(grey, DataConfig(image_fit="pad"), frames=5)
    assert (chosen.channels, chosen.fit, chosen.frames) == (1, "pad", 5)
    assert chosen.reader == FrameReader(48, 64, 1, "pad", 5)


def test_the_rule_is_described() -> None:
    facts = samples_of([(48, 64)] * 3).facts
    assert isinstance(facts, ClipFacts)
    assert ClipPreparation(48, 64, 3, "stretch", 16).describe(facts) == (
        "48x64 colour, 16 frames of a clip, evenly spread over its time; "
        "a shorter one keeps all it has"
    )
    assert ClipPreparation(32, 32, 1, "crop", 1).describe(facts) == (
        "32x32 grey, 1 frame of a clip, from its middle; a shorter one keeps all it has; "
        "clips of other proportions are cropped in the centre"
    )


def test_statistics_are_those_of_the_training_frames_alone() -> None:
    counts = [3, 1, 16, 7]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = np.concatenate([noise(count, 4, 5, seed=count) for count in counts])
    decoded = Decoded(
        values=values,
        starts=starts,
        scales=np.ones(4, np.float32),
        rows=np.arange(4),
        bad=(),
        file=None,
        was_cached=False,
    )
    chosen = ClipPreparation(4, 5, 3, "stretch", 16)
    assert not chosen.is_whole
    fitted = fit_clips(chosen, decoded, np.array([3, 0]))
    training = np.concatenate([values[20:27], values[0:3]]).astype(np.float64)
    np.testing.assert_allclose(fitted.mean, training.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation, training.std((0, 1, 2)), rtol=1e-12)
    assert fit_clips(chosen, decoded, np.array([0, 3])) == fitted
    assert fitted.is_whole
    assert fitted.layout == chosen.layout
    assert not replace(fitted, frames=0).is_whole


def test_the_cache_hears_of_everything_the_frames_depend_on(tmp_path: Path) -> None:
    reader = FrameReader(6, 8, 3, "stretch", 4)
    others = [
        replace(reader, height=7),
        replace(reader, width=7),
        replace(reader, channels=1),
        replace(reader, fit="pad"),
        replace(reader, frames=5),
    ]
    assert len({str(one.about) for one in [reader, *others]}) == 6
    assert "PyAV" in str(reader.about) and "libavcodec" in str(reader.about)
    path = tmp_path / "clip.mkv"
    path.write_bytes(written(numbered(9)))
    values, scale = reader.read(path)
    assert (values.shape, values.dtype, scale) == ((4, *reader.inner), reader.dtype, 1.0)
    prepared = ClipPreparation(6, 8, 3, "stretch", 4)
    np.testing.assert_array_equal(prepared.read(path), values)
    np.testing.assert_array_equal(prepared.read(path.read_bytes()), values)


def test_the_cache_keeps_clips_of_unlike_length_and_names_the_bad(tmp_path: Path) -> None:
    counts = [3, 40, 1]
    for row, count in enumerate(counts):
        (tmp_path / f"{row}.mp4").write_bytes(written(numbered(count)))
    (tmp_path / "3.mp4").write_bytes(sound_only())
    samples = replace(samples_of([SIZE] * 4), root=str(tmp_path))
    reader = FrameReader(*SIZE, 3, "stretch", 16)
    for was_cached in (False, True):
        decoded = decode_all(samples, reader, on_bad_file="skip", folder=tmp_path / "cache")
        assert decoded.was_cached is was_cached
        assert decoded.starts.tolist() == [0, 3, 19, 20]
        assert decoded.rows.tolist() == [0, 1, 2]
        assert decoded.bad == (("3.mp4", "holds no moving pictures, only sound"),)
        assert numbers(decoded.values[:3]) == [0, 1, 2]
        assert numbers(decoded.values[18:]) == [39, 0]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("plain_h264.mp4", 20),
        ("rotated_90.mp4", 20),
        ("one_frame.mp4", 1),
        ("odd_size_65x49.mp4", 12),
        ("mjpeg.avi", 15),
        ("vp9.webm", 15),
        ("grey_lossless.mkv", 15),
        ("variable_frame_rate.mp4", 15),
        ("animated.gif", 12),
        ("long_600_frames.mp4", 64),
        ("cut_after_index.mp4", 16),  # 14 in a row, and two more that the cut left whole
    ],
)
def test_odd_clips_give_the_frames_that_are_in_them(
    name: str, count: int, data_folder: Path
) -> None:
    path = data_folder / "odd" / "video" / name
    found = decode(path, height=32, width=32, channels=3, fit="stretch", frames=64)
    assert found.shape == (count, 32, 32, 3)
    assert found.std() > 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("audio_only.mp4", "holds no moving pictures, only sound"),
        ("cut_no_index.mp4", "has lost its index"),
        ("empty.mp4", "is empty"),
        ("text_renamed.mp4", "isn't a video"),
    ],
)
def test_odd_files_that_are_no_clips_are_named(name: str, reason: str, data_folder: Path) -> None:
    with pytest.raises(UnreadableClipError, match=reason):
        taken(data_folder / "odd" / "video" / name)


def test_a_phone_held_upright_gives_upright_frames(data_folder: Path) -> None:
    folder = data_folder / "odd" / "video"
    sizes: dict[str, Any] = {"height": 64, "width": 64, "channels": 3, "fit": "stretch"}
    stored = decode(folder / "plain_h264.mp4", frames=8, **sizes)
    seen = decode(folder / "rotated_90.mp4", frames=8, **sizes)
    np.testing.assert_array_equal(seen, np.rot90(stored, axes=(1, 2)))
