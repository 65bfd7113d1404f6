"""From a video file to frames: the one way, in training, evaluation and prediction alike.

In order:

    true times of all frames -> `frames` of them chosen -> each turned as its camera says
      -> alpha laid on white -> 8 bits -> resized as a picture is (`images.refit`)

Frames are chosen by time, not by number, and not by what the header says: cameras drop frames when
it gets dark, phones slow down to save power, and headers count frames that are not there. A clip
of at most `frames` frames keeps all of them and its true length; nothing is repeated to fill it
up. Of a longer one, `frames` instants spread evenly from its first frame to its last give each the
frame that is on the screen then. Where the rate varies, one frame may be on the screen at two
instants; then it stands twice, as a person saw it.

Pixels are taken as square. Colour is converted to RGB by what the file says of itself; from more
than 8 bits the upper 8 are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridcell.axes import Layout
from gridcell.config import DataConfig
from gridcell.preparation.cache import Decoded
from gridcell.preparation.fit import ImagePreparation, choose_size, fit_images
from gridcell.preparation.images import Fit, PictureReader, refit
from gridcell.preparation.remarks import Remark, look_at, look_at_frames
from gridcell.preparation.unreadable import UnreadableError
from gridcell.samples import ClipFacts, Facts, Samples
from gridcell.sources.clips import Clip, ClipFault, av_version, opened, turn_of
from gridcell.sources.wording import shown

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FORMAT = 1
"""Raised whenever `decode` would give other frames for the same file."""
FRAMES = 16
"""Frames of a clip where nothing else is asked for: a movement shows in them, and a step over a
batch stays quick on two cores."""
FRAMES_LARGEST = 4096
WORKING_SIDE = 64
"""Side that larger clips are brought to: every clip costs a CNN over all of its frames."""
TOLERANCE_S = 0.001
"""A frame counts as on the screen this much early: some containers round times to 1 ms."""
USUAL_RATE_HZ = 25.0
"""Frames in a second of a file that gives neither times nor a rate."""

Span = tuple[float, float]
"""Start and end of a stretch of time, in seconds."""
Choice = Callable[[NDArray[np.float64]], NDArray[np.int64]]
"""Which frames of a clip are taken, given when each begins."""
Small = Callable[["VideoFrame"], NDArray[np.uint8]]

BAD_FILE_FIX = "convert it to MP4 (H.264), or pass --on-bad-file skip."


class UnreadableClipError(UnreadableError):
    """A clip cannot be decoded; `reason` is the rest of the sentence that `name` begins."""

    fix_bad_file = BAD_FILE_FIX


def decode(
    source: Path | bytes, *, height: int, width: int, channels: int, fit: Fit, frames: int
) -> NDArray[np.uint8]:
    """Return at most `frames` frames of a video file, or of the bytes of one, in order of time.

    What can be decoded of a damaged or cut file is its clip. `fit` is as for images.

    Shapes   -> [n, H, W, C], 1 <= n <= `frames`; C = `channels`, 1 or 3
    Units    0..255
    Raises   UnreadableClipError, a SourceError, that names the file and the reason: not a video,
             empty, without pictures, its index lost, or no frame that can be decoded
    Cost     every frame is decoded, since each is coded as what is new in it; once where the file
             is right about the times of its frames, else twice. In memory are `frames` frames of
             the wanted size and one of the file's.

    Threads may decode at the same time; PyAV lets go of the GIL while it decodes.
    """
    small = _smaller(height=height, width=width, channels=channels, fit=fit)
    with _named(source):
        return _chosen(source, small, frames=frames)[0]


@dataclass(frozen=True)
class ClipWindows:
    """The frames of a clip, window by window; a frame that several windows show is kept once."""

    spans: list[Span]
    """[N] start and end of each window, in seconds from the clip's first frame."""
    places: list[NDArray[np.int64]]
    """[N] which of the clip's frames each window shows."""
    kept: dict[int, NDArray[np.uint8]]
    """The frames [H, W, C] by their place in the clip."""
    remark: Remark | None = None
    """What is to be said of a clip that is used all the same."""

    def frames(self, window: int) -> NDArray[np.uint8]:
        """Return the frames [n, H, W, C] of one window, n >= 1."""
        return np.stack([self.kept[place] for place in self.places[window].tolist()])


def decode_windows(
    source: Path | bytes,
    *,
    height: int,
    width: int,
    channels: int,
    fit: Fit,
    frames: int,
    spans_of: Callable[[float], list[Span]],
) -> ClipWindows:
    """Return at most `frames` frames of each window of a video file, or of the bytes of one.

    `spans_of` is given the seconds that the clip lasts and returns the windows, the last of which
    ends where the clip does. A window shows what is on the screen in it, chosen as of a clip that
    holds nothing else; the last frame is on the screen for as long as frames are on average.

    Raises   UnreadableClipError as `decode` does
    Cost     every frame is decoded, as by `decode`. In memory are the chosen frames of all windows
             in the wanted size, 12 kB each of 64 x 64 pixels in colour, and one of the file's.
    """
    small = _smaller(height=height, width=width, channels=channels, fit=fit)

    def places_of(seconds: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        spans = spans_of(_lasting(seconds))
        return [
            first + choose_frames(shown_then, frames)
            for first, shown_then in _on_screen(seconds, spans)
        ]

    def choose(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.unique(np.concatenate(places_of(seconds)))

    with _named(source):
        with opened(source) as clip:
            likely = _promised(clip, choose)
        seconds, kept, damage = _kept(source, small, choose, likely=likely, most=len(likely))
    remark = Remark("damaged", damage) if damage else look_at_frames([*kept.values()])
    return ClipWindows(spans_of(_lasting(seconds)), places_of(seconds), kept, remark)


def choose_frames(seconds: NDArray[np.float64], frames: int) -> NDArray[np.int64]:
    """Return which frames of a clip are used, given when each begins, never going backwards.

    `frames` instants are spread evenly from the first time to the last (one alone lies halfway);
    each takes the last frame that begins no later. At most `frames` frames: all of them.

    >>> choose_frames(np.array([0.0, 0.1, 0.2, 0.3, 0.9]), 4)
    array([0, 3, 3, 4])
    """
    if len(seconds) <= frames:
        return np.arange(len(seconds), dtype=np.int64)
    first, last = seconds[0], seconds[-1]
    instants = np.linspace(first, last, frames) if frames > 1 else np.array([(first + last) / 2])
    return np.asarray(np.searchsorted(seconds, instants + TOLERANCE_S, side="right") - 1)


@dataclass(frozen=True)
class FrameReader(PictureReader):
    """What the cache needs to decode clips and to know which frames it has kept."""

    frames: int
    folder: str = field(default="frames", init=False)
    is_ragged: bool = field(default=True, init=False)

    @property
    def about(self) -> list[object]:
        """Everything that the frames depend on besides the file's bytes."""
        import PIL

        libraries = [f"Pillow {PIL.__version__}", av_version()]
        return [FORMAT, *libraries, *self.inner, self.fit, self.frames]

    def read(self, source: Path | bytes) -> tuple[NDArray[np.uint8], float]:
        """Return the frames [n, H, W, C] of a file, and 1: they have no scale of their own."""
        return self.read_closely(source)[:2]

    def read_closely(self, source: Path | bytes) -> tuple[NDArray[np.uint8], float, Remark | None]:
        """Return what `read` does, and what is wrong with the file all the same."""
        small = _smaller(height=self.height, width=self.width, channels=self.channels, fit=self.fit)
        with _named(source):
            frames, damage = _chosen(source, small, frames=self.frames)
        return frames, 1.0, Remark("damaged", damage) if damage else look_at(frames)


@dataclass(frozen=True)
class ClipPreparation:
    """How a video file becomes `[T, C, H, W]` of whole numbers 0 to 255, and their statistics."""

    height: int
    width: int
    channels: int
    fit: Fit
    frames: int
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def layout(self) -> Layout:
        """The sizes of one sample; clips may differ in their number of frames."""
        return Layout(self.channels, (self.height, self.width), steps=None)

    @property
    def reader(self) -> FrameReader:
        """What decodes a file, as in training."""
        return FrameReader(self.height, self.width, self.channels, self.fit, self.frames)

    @property
    def is_whole(self) -> bool:
        """Whether the numbers hold together, as those that `fit_clips` gives do."""
        return self._pictures.is_whole and 0 < self.frames <= FRAMES_LARGEST

    @property
    def _pictures(self) -> ImagePreparation:
        """The preparation of each frame."""
        return ImagePreparation(
            self.height, self.width, self.channels, self.fit, self.mean, self.deviation
        )

    def read(self, source: Path | bytes) -> NDArray[np.uint8]:
        """Return the frames of a file, or of the bytes of one, `[n, H, W, C]`, as in training."""
        return self.reader.read(source)[0]

    def describe(self, facts: Facts) -> str:
        """A sentence for the user, given what the clips are."""
        assert isinstance(facts, ClipFacts)
        few = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        spread = "from its middle" if self.frames == 1 else "evenly spread over its time"
        told = (
            f"{self._pictures.told_size}, {few} of a clip, {spread}; a shorter one keeps all it has"
        )
        how = self._pictures.told_fit(facts.sizes)
        return f"{told}; clips of other proportions are {how}" if how else told


def choose_clips(
    samples: Samples, config: DataConfig, *, frames: int | None = None
) -> ClipPreparation:
    """Choose working size, channels, fit and frames from the files' headers and the settings.

    Clips that all have one size of at most 64 pixels keep it; others become squares of the median
    short side, 16 to 64. Three channels if any file has colour, else one. 16 frames unless asked
    for otherwise.
    """
    picture = choose_size(samples, config, working_side=WORKING_SIDE)
    return ClipPreparation(
        picture.height,
        picture.width,
        picture.channels,
        picture.fit,
        FRAMES if frames is None else frames,
    )


def fit_clips(
    chosen: ClipPreparation, decoded: Decoded, rows: NDArray[np.int64]
) -> ClipPreparation:
    """Add each channel's mean and deviation over the frames of `rows`, the training rows.

    Exact, and the same for any order of rows: the frames are counted as images are.
    """
    starts = decoded.starts
    frames = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows])
    fitted = fit_images(chosen._pictures, decoded.values, frames)
    return replace(chosen, mean=fitted.mean, deviation=fitted.deviation)


def _smaller(*, height: int, width: int, channels: int, fit: Fit) -> Small:
    """Return what makes a decoded frame one of the wanted size, [H, W, C]."""

    def small(frame: VideoFrame) -> NDArray[np.uint8]:
        pixels = turn_of(frame).turned(_opaque(frame))
        return refit(pixels, height=height, width=width, channels=channels, fit=fit)

    return small


@contextmanager
def _named(source: Path | bytes) -> Iterator[None]:
    """Tell of what goes wrong inside as a fault of this file."""
    name = "the clip" if isinstance(source, bytes) else shown(str(source))
    try:
        yield
    except ClipFault as fault:
        raise UnreadableClipError(name, fault.reason, is_lasting=fault.is_lasting) from fault
    except FileNotFoundError as error:
        raise UnreadableClipError(name, "does not exist", is_lasting=False) from error
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise UnreadableClipError(name, reason, is_lasting=False) from error


def _chosen(
    source: Path | bytes, small: Small, *, frames: int
) -> tuple[NDArray[np.uint8], str | None]:
    """Return the chosen frames of a clip, and what of it is damaged."""

    def choose(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        return choose_frames(seconds, frames)

    with opened(source) as clip:
        likely = _likely(clip, frames=frames)
    seconds, kept, damage = _kept(source, small, choose, likely=likely, most=frames)
    return np.stack([kept[place] for place in choose(seconds).tolist()]), damage


def _kept(
    source: Path | bytes, small: Small, choose: Choice, *, likely: set[int], most: int
) -> tuple[NDArray[np.float64], dict[int, NDArray[np.uint8]], str | None]:
    """Return when each frame of a clip is shown, the chosen ones by their places, and the damage.

    Each is made small as soon as it is decoded. Only decoding tells the times for certain. But the
    file names a time with each coded frame, and reading these costs a hundredth of decoding. So
    the frames that would be chosen by them, `likely`, are made small on the way, at most `most`;
    if it turns out that others should have been, it is done once more.
    """
    with opened(source) as clip:
        ticks: list[int | None] = []
        kept: dict[int, NDArray[np.uint8]] = {}
        for place, frame in enumerate(clip.frames()):
            ticks.append(_tick(frame))
            if len(kept) < most and ticks[-1] in likely:
                kept[place] = small(frame)
        seconds, damage = _seconds(clip, ticks), clip.damage(len(ticks))
    if not len(seconds):
        raise ClipFault("has no frame that can be decoded")
    wanted = set(choose(seconds).tolist())
    if not kept.keys() >= wanted:
        with opened(source) as clip:
            shown_now = enumerate(clip.frames())
            kept = {place: small(frame) for place, frame in shown_now if place in wanted}
    if not kept.keys() >= wanted:
        raise ClipFault("was changed while it was read", is_lasting=False)
    return seconds, kept, damage


def _likely(clip: Clip, *, frames: int) -> set[int]:
    """Return the times, in the stream's ticks, of the frames that are chosen if the file is right.

    Empty where it gives no times.
    """
    return _promised(clip, lambda seconds: choose_frames(seconds, frames))


def _promised(clip: Clip, choose: Choice) -> set[int]:
    """Return the ticks of the frames that `choose` takes by the times that the file gives."""
    ticks = [_tick(packet) for packet in clip.packets() if packet.size and not packet.is_discard]
    known = sorted(tick for tick in ticks if tick is not None)
    if len(known) < len(ticks):
        return set()
    seconds = np.array(known, np.float64) * _tick_seconds(clip)
    return {known[place] for place in choose(seconds)} if known else set()


def _lasting(seconds: NDArray[np.float64]) -> float:
    """Return how long a clip lasts whose frames begin then, at least one of them."""
    length = float(seconds[-1] - seconds[0])
    if not length:
        return len(seconds) / USUAL_RATE_HZ
    return length * len(seconds) / (len(seconds) - 1)


def _on_screen(
    seconds: NDArray[np.float64], spans: list[Span]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield which frame is the first on the screen in each span, and when each in it appears.

    A frame that was there before the span counts from the span's start. So no span is empty,
    however long a frame stands.
    """
    seconds = seconds - seconds[0]
    starts, ends = np.array(spans).T
    firsts = np.searchsorted(seconds, starts + TOLERANCE_S, side="right") - 1
    stops = np.searchsorted(seconds, ends - TOLERANCE_S, side="left")
    stops[-1] = len(seconds)  # the last span reaches the end, however short its last frame
    for start, first, stop in zip(starts.tolist(), firsts.tolist(), stops.tolist(), strict=True):
        yield first, np.maximum(seconds[first:stop], start)


def _tick(timed: VideoFrame | Packet[VideoStream]) -> int | None:
    """Return the time at which a frame is shown, or the best guess at it, in the stream's ticks."""
    return timed.dts if timed.pts is None else timed.pts


def _tick_seconds(clip: Clip) -> float:
    return float(clip.stream.time_base or 0)


def _seconds(clip: Clip, ticks: list[int | None]) -> NDArray[np.float64]:
    """Return when each frame is shown, given the ticks of all in the order of showing.

    A decoder hands frames out in the order in which they are shown. So times that go backwards are
    the container's mistake and no order to sort by: AVI numbers frames as they are coded, and
    joined recordings begin again at 0. Then, and where times are missing or all the same, the
    frames count as evenly spread.
    """
    known = np.array([tick for tick in ticks if tick is not None], np.int64)
    is_running = len(known) == len(ticks) and (np.diff(known) >= 0).all()
    if is_running and len(known) and known[-1] > known[0]:
        return np.asarray(known * _tick_seconds(clip))
    rate = float(clip.stream.average_rate or USUAL_RATE_HZ)
    return np.asarray(np.arange(len(ticks)) / rate)


def _opaque(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return a frame as RGB, [H, W, 3], alpha laid on white."""
    from PIL import Image

    has_alpha = frame.format.has_palette or any(part.is_alpha for part in frame.format.components)
    # One thread: files are read side by side, and values must not depend on the number of cores.
    pixels = frame.to_ndarray(format="rgba" if has_alpha else "rgb24", threads=1)
    if not has_alpha:
        return np.asarray(pixels, np.uint8)
    picture = Image.fromarray(pixels)
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))
