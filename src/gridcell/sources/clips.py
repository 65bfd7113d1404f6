"""Clips on disk: how a video file is opened, what its header says, and why one cannot be read.

A header's words are not enough for a clip: it counts frames that are not there, and only a frame
tells how it is to be turned. So the scan decodes the first frame that can be decoded, and no more.
The clip as frames is `gridcell.preparation.clips`'s work, which opens files by what is here.

FFmpeg keeps silent: PyAV takes its log lines and shows them only to those who ask for them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import MissingExtraError
from gridcell.samples import ClipFacts
from gridcell.sources.images import PIXELS_LARGEST
from gridcell.sources.media import Medium, Record, digest_of

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

EXTENSIONS = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".3gp", ".ogv"),
)
CONTAINERS = (
    *("mov", "avi", "matroska", "webm", "mpeg", "mpegvideo", "mpegts", "m4v"),
    *("asf", "flv", "ogg", "gif", "h264", "hevc"),
)
"""FFmpeg's containers that may be opened, whatever a file is called. The others stay closed: a
playlist, for one, opens further files and addresses."""
START_BYTES = 12
MICROSECONDS = 1_000_000
LEAST_SHARE = 0.95
"""Share of the frames that a header counts, below which a clip was cut."""
GREY_FORMATS = ("gray", "ya", "mono")
"""How FFmpeg's names of pixel formats without colour begin."""
HEADER = np.dtype(
    [
        ("digest", "V16"),
        ("height", np.int32),
        ("width", np.int32),
        ("seconds", np.float64),
        ("is_colour", np.bool_),
        ("codec", "S16"),
    ]
)
"""One record a file: digest of its bytes, size as seen, duration by the header (NaN: not said),
whether it holds colour, and how it is coded."""


class ClipFault(Exception):
    """Why a clip cannot be read: the rest of a sentence that begins with the file's name.

    `is_lasting` is False where the fault is not in the bytes of the file.
    """

    def __init__(self, reason: str, *, is_lasting: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_lasting = is_lasting


@dataclass
class Losses:
    """Frames that do not come as they were coded, counted while a clip is read."""

    discarded: int = 0
    """Those that the container itself says are not to be shown."""
    left_out: int = 0
    """Those that are cut, stand behind a gap, or cannot be decoded."""
    spoilt: int = 0
    """Those that are shown, with parts that the decoder had to guess."""


@dataclass
class Slots:
    """How far a clip reaches in a container that counts moments, of which not all have a frame.

    AVI has one rate. Where frames come at any time its slots are short and most of them empty.
    """

    last: int = -1
    longest: int = 1
    """From a frame to the next."""

    @property
    def reached(self) -> int:
        """Slots up to the end of the last frame, which may last as long as any other."""
        return self.last + self.longest

    @property
    def are_filled(self) -> bool:
        """Whether each has its frame."""
        return self.longest == 1

    def add(self, slot: int) -> None:
        """Count a frame."""
        self.longest = max(self.longest, slot - self.last)
        self.last = max(self.last, slot)


@dataclass(frozen=True)
class Clip:
    """An open video file and the one of its streams that is used: the first with moving pictures.

    A cover picture of a sound file is no such stream.
    """

    container: InputContainer
    stream: VideoStream
    losses: Losses = field(default_factory=Losses)
    slots: Slots = field(default_factory=Slots)

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield the coded frames in the order of the file; a damaged end is where they end.

        One that is cut or has a gap is left out: some decoders make half a picture of it.
        """
        import av

        demuxed = self.container.demux(self.stream)
        while True:
            try:
                packet = next(demuxed)
            except StopIteration:
                return
            except av.FFmpegError as error:
                _check_memory(error)
                self.losses.left_out += 1
                return
            if packet.is_corrupt:
                self.losses.left_out += 1
                continue
            self.losses.discarded += packet.is_discard
            if packet.dts is not None and self.container.format.name == "avi":
                self.slots.add(packet.dts)
            yield packet

    def frames(self) -> Iterator[VideoFrame]:
        """Yield all frames that can be decoded, in the order in which they are shown.

        What cannot be decoded is passed over, as players do: of a cut file, the frames up to the
        cut are whole, and behind a damaged place others may follow.
        """
        is_flushed = False
        for packet in self.packets():
            is_flushed = packet.size == 0  # an empty last packet asks for what is still held back
            yield from self._decoded(packet)
        if not is_flushed:
            yield from self._decoded(None)

    def damage(self, frames: int) -> str | None:
        """Say what is damaged, once `frames` were read: `16 of 60 frames`; None where nothing is.

        A header that counts a few frames too many is usual, and no damage.
        """
        promised = self.stream.frames - self.losses.discarded
        come = max(frames, self.slots.reached)
        are_missing = promised - come > 1 and come < LEAST_SHARE * promised
        if not (are_missing or self.losses.left_out or self.losses.spoilt):
            return None
        of = f" of {promised:,}" if promised > frames and self.slots.are_filled else ""
        spoilt = f", {self.losses.spoilt:,} of them spoilt" if self.losses.spoilt else ""
        return f"{frames:,}{of} frames{spoilt}"

    def _decoded(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        import av

        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError as error:
            _check_memory(error)
            self.losses.left_out += 1
            return []
        self.losses.spoilt += sum(frame.is_corrupt for frame in frames)
        return frames


@dataclass(frozen=True)
class Turn:
    """How stored frames become what a person sees: rows and columns exchanged, then mirrored."""

    is_transposed: bool = False
    is_upside_down: bool = False
    """The first row becomes the last."""
    is_mirrored: bool = False
    """The first column becomes the last."""

    def turned(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels as a person sees them: [H, W, C] -> [H, W, C], or [W, H, C]."""
        if self.is_transposed:
            pixels = pixels.transpose(1, 0, 2)
        if self.is_upside_down:
            pixels = pixels[::-1]
        if self.is_mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels)


@contextmanager
def opened(source: Path | bytes) -> Iterator[Clip]:
    """Open a video file, or the bytes of one, for as long as the block lasts.

    Raises   ClipFault if it is empty, no video, without pictures, or larger than can be meant, and
             for whatever FFmpeg stumbles on in the block; OSError, at the end of the block, if the
             file itself cannot be read; MissingExtraError without PyAV
    """
    av_version()
    with _file(source) as raw:
        file = _Watched(raw)
        try:
            with _container(file) as container:
                yield Clip(container, _picture_stream(container))
        except ClipFault:
            raise
        except MemoryError as error:
            raise ClipFault("needs more memory than there is", is_lasting=False) from error
        except Exception as error:  # a file's content makes PyAV raise errors of a dozen kinds
            said = " ".join(str(error).split()) or type(error).__name__
            raise ClipFault(f"is damaged ({said})") from error
        finally:
            if file.fault is not None:
                raise file.fault


def turn_of(frame: VideoFrame) -> Turn:
    """Return how a frame is to be turned, from the display matrix that the camera left with it.

    The matrix [a b; c d] sends a stored pixel (x, y) to (a x + c y, b x + d y), y downwards. Of an
    angle between, the nearest quarter turn is taken. PyAV's `frame.rotation` says less: a mirrored
    picture is to it one that lies on its head.
    """
    from av.sidedata.sidedata import Type

    beside: Any = frame.side_data  # PyAV's types know of no display matrix
    try:
        matrix = beside[Type.DISPLAYMATRIX]
    except KeyError:
        return Turn()
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(is_upside_down=d < 0, is_mirrored=a < 0)
    return Turn(is_transposed=True, is_upside_down=b < 0, is_mirrored=c < 0)


def av_version() -> str:
    """Return name and version of PyAV and of FFmpeg's libraries in it, for which values hold.

    Raises   MissingExtraError if PyAV is not installed
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "Clips are read with PyAV, which is not installed.",
            fix="pip install 'gridcell[video]'",
        ) from error
    libraries = (
        f"{name} {'.'.join(map(str, version))}"
        for name, version in sorted(av.library_versions.items())
    )
    return ", ".join([f"PyAV {av.__version__}", *libraries])


def header(path: str) -> Record | str:
    """Return what a video file says of itself, or the reason why it is none that can be read.

    One frame is decoded: it tells how the clip is turned, and that there is anything to see.
    """
    try:
        with opened(Path(path)) as clip:
            frame = next(clip.frames(), None)
            if frame is None:
                raise ClipFault("has no frame that can be decoded")
            sides = frame.height, frame.width
            height, width = sides[::-1] if turn_of(frame).is_transposed else sides
            is_colour = not frame.format.name.startswith(GREY_FORMATS)
            seconds, codec = _seconds(clip), clip.stream.codec_context.name
    except ClipFault as fault:
        return fault.reason
    with open(path, "rb") as file:
        digest = digest_of(file)
    return digest, height, width, seconds, is_colour, codec.encode()


def facts_of(records: NDArray[np.void]) -> ClipFacts:
    """Return the columns that `Samples` holds, of records [N] of `HEADER`."""
    return ClipFacts(
        sizes=np.stack([records["height"], records["width"]], axis=1),
        seconds=records["seconds"],
        colours=records["is_colour"],
        formats=records["codec"].copy(),
    )


MEDIUM = Medium(
    kind="clips",
    noun="clip",
    extensions=EXTENSIONS,
    dtype=HEADER,
    header=header,
    reader=av_version,
    facts_of=facts_of,
)


def _seconds(clip: Clip) -> float:
    """Return how long the pictures last by the header, or else all that is in the file."""
    stream = clip.stream
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if clip.container.duration is not None:
        return clip.container.duration / MICROSECONDS
    return math.nan


class _Watched:
    """A file for FFmpeg that remembers why it could not be read, and then tells FFmpeg of its end.

    An error that came out of a read would pass through FFmpeg, which asks again or goes on with
    what it has: a drive that goes away must not look like a short clip.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.fault: OSError | None = None
        self._file = file

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            self.fault = error
            return b""

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def _file(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except ValueError as error:  # no file can have that name, for instance one with a zero byte
        raise ClipFault(f"cannot be opened: {error}", is_lasting=False) from error


@contextmanager
def _container(file: _Watched) -> Iterator[InputContainer]:
    import av

    if not file.read(1):
        raise ClipFault("is empty (0 bytes)")
    file.seek(0)
    options = {"format_whitelist": ",".join(CONTAINERS)}
    try:
        # An open file and not its name: to FFmpeg a name with a colon is an address.
        container = av.open(file, "r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        _check_memory(error)
        raise ClipFault(_not_opened(file)) from error
    with container:
        yield container


def _picture_stream(container: InputContainer) -> VideoStream:
    from av.codec.context import ThreadType
    from av.stream import Disposition

    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not len(container.streams):
        raise ClipFault("has no pictures in its header: it is cut off or damaged")
    if not streams:
        only = ", only sound" if container.streams.audio else ""
        raise ClipFault(f"holds no moving pictures{only}")
    stream = streams[0]
    context = stream.codec_context
    # PyAV has no context where FFmpeg has no decoder, though its types do not say so.
    if context is None:
        raise ClipFault("is coded in a way that FFmpeg, as it is built here, cannot decode")
    if context.width * context.height > PIXELS_LARGEST:
        claimed = f"{context.width} x {context.height} = {context.width * context.height:,}"
        raise ClipFault(f"claims {claimed} pixels a frame, over the limit of {PIXELS_LARGEST:,}")
    # Files are decoded side by side, one a core; threads within one would only stand in their way.
    context.thread_type = ThreadType.NONE
    context.thread_count = 1
    return stream


def _check_memory(error: av.FFmpegError) -> None:
    """Raise the error again if memory ran out: then nothing is known of the file.

    FFmpeg's other errors are about the content, even those that look like the system's, since it
    does not read the file itself.
    """
    if isinstance(error, MemoryError):
        raise error


def _not_opened(file: _Watched) -> str:
    """Return why FFmpeg could not open a file."""
    file.seek(0)
    start = file.read(START_BYTES)
    if start[4:8] == b"ftyp" and b"moov" not in _boxes(file):
        return "has lost its index (moov): it was cut off, or its recording was never closed"
    return f"isn't a video FFmpeg can read (first bytes: {start!r})"


def _boxes(file: _Watched) -> set[bytes]:
    """Return the kinds of the outermost boxes of an MP4 or MOV file, as far as they go."""
    kinds: set[bytes] = set()
    end = file.seek(0, io.SEEK_END)
    place = 0
    while place + 8 <= end:
        file.seek(place)
        head = file.read(16)
        kinds.add(head[4:8])
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # a length of 64 bits follows
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # 0: up to the end of the file; the rest make no sense
            break
        place += size
    return kinds
