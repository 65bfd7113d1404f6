"""Sounds on disk: what the header of a sound file says, and why a file is none.

Nothing is decoded. Of a sound that was cut off, what is there counts; where its header, or its last
page, shows that there was more, that is noted. Where only decoding shows it (FLAC, MP3), the
decoder finds it later.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import MissingExtraError
from gridcell.samples import SoundFacts
from gridcell.sources.media import Medium, digest_of
from gridcell.sources.wording import counted, listed

if TYPE_CHECKING:
    from soundfile import SoundFile

EXTENSIONS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf"),
    *(".w64", ".rf64"),
)
UNSUPPORTED = (".m4a", ".aac", ".wma", ".amr")
"""Extensions of sounds that cannot be read: such files are named as bad, not passed over."""
FILE_LARGEST_BYTES = 2 * 2**30
FRAMES_LARGEST = 2**31
"""Samples that a file may hold in each channel: half a day at 48,000 Hz."""
FRAMES_UNKNOWN = 2**63 - 1
"""What libsndfile says where a file doesn't say how long it is, such as a FLAC made in a pipe."""

# What the first bytes of a file say it is, where libsndfile cannot read it.
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
STARTS = {b"#!AMR": "AMR", ASF: "WMA", b"ADIF": "AAC", b"\xff\xf1": "AAC", b"\xff\xf9": "AAC"}
CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")
# libsndfile's log of a header that promises more bytes than there are; 2 GiB less a little and more
# are what a program writes that doesn't know yet how long the sound will be.
PROMISE = re.compile(
    r"^\s*(?:data|Data Size|SSND|Riff size|riff) *: (\d+) \(should be (\d+)\)", re.M
)
PROMISE_LARGEST = 0x7FFF0000
OGG_CUT = "Last page lacks an end-of-stream bit"
ENDS = (
    "ends before its header says, and what is there is used",
    "end before their headers say, and what is there is used",
)
"""What is said of a file that was cut, and of several."""

RECORD = np.dtype(
    [
        ("digest", "V16"),
        ("seconds", np.float64),
        ("rate", np.int32),
        ("channels", np.int16),
        ("format", "S32"),
        ("is_cut", np.bool_),
    ]
)

# libsndfile keeps the reason why a file could not be opened in one place for all threads.
_OPENING = threading.Lock()


class Header(NamedTuple):
    """What a scan keeps of one file: the fields of `RECORD`."""

    digest: bytes
    """Of the file's bytes."""
    seconds: float
    rate: int
    channels: int
    format: str
    """libsndfile's format and coding: WAV PCM_16."""
    is_cut: bool
    """Whether the file ends before its header says."""


def header(path: str) -> Header | str:
    """Read a sound file and return what it says of itself, or the reason why it is no sound.

    The reason is the rest of a sentence that begins with the file's name.

    Raises   OSError if it cannot be read
    """
    import soundfile

    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return "is empty (0 bytes)"
        if size > FILE_LARGEST_BYTES:
            return f"is larger than {FILE_LARGEST_BYTES // 2**30} GiB"
        start = file.read(16)
        file.seek(0)
        digest = digest_of(file)
    try:
        with opened(path) as sound:
            return _checked(sound, digest)
    except soundfile.SoundFileError as error:
        return _not_opened(start, error)


def opened(path: str | os.PathLike[str]) -> SoundFile:
    """Open a sound file, whatever it is called.

    Raises   soundfile.SoundFileError if libsndfile cannot read it
    """
    import soundfile

    # As bytes, where a name may hold some that are no text.
    name = os.fspath(path) if os.name == "nt" else os.fsencode(path)
    with _OPENING:
        return soundfile.SoundFile(name)


def is_cut(sound: SoundFile) -> bool:
    """Say whether an open file ends before its header, or its last page, says."""
    log = sound.extra_info
    lacks = any(int(there) < int(told) < PROMISE_LARGEST for told, there in PROMISE.findall(log))
    return lacks or OGG_CUT in log


def facts_of(records: NDArray[np.void]) -> SoundFacts:
    """Return the records as the columns of `Samples`."""
    return SoundFacts(
        seconds=records["seconds"].copy(),
        rates=records["rate"].copy(),
        channels=records["channels"].copy(),
        formats=records["format"].copy(),
    )


def _checked(sound: SoundFile, digest: bytes) -> Header | str:
    frames = sound.frames
    if not frames:
        return "holds no sample"
    if frames == FRAMES_UNKNOWN:
        return "does not say how long it is: convert it to WAV"
    if frames > FRAMES_LARGEST:
        return f"claims {frames:,} samples a channel, over the limit of {FRAMES_LARGEST:,}"
    return Header(
        digest=digest,
        seconds=frames / sound.samplerate,
        rate=sound.samplerate,
        channels=sound.channels,
        format=f"{sound.format} {sound.subtype}",
        is_cut=is_cut(sound),
    )


def _not_opened(start: bytes, error: Exception) -> str:
    """Return why libsndfile could not open a file, given its first bytes."""
    known = next((name for mark, name in STARTS.items() if start.startswith(mark)), None)
    if start[4:8] == b"ftyp":
        known = "MPEG-4 (M4A, AAC)"
    if known:
        return f"is {known}, which is not supported: convert it to WAV or FLAC"
    if start.startswith(CONTAINERS):
        said = str(getattr(error, "error_string", error)).strip().rstrip(".")
        return f"has a header that cannot be read ({said})"
    return f"isn't a sound libsndfile can read (first bytes: {start[:12]!r})"


def _notes(records: NDArray[np.void], paths: Sequence[str]) -> tuple[str, ...]:
    cut = np.flatnonzero(records["is_cut"]).tolist()
    if not cut:
        return ()
    ends = ENDS[0] if len(cut) == 1 else ENDS[1]
    names = listed((paths[row] for row in cut), most=6)
    return (f"{counted(len(cut), 'file')} {ends}: {names}.",)


def _reader() -> str:
    """Name the library that reads the headers, or say that it is missing."""
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError(
            "Sounds are read with soundfile, which is not installed.", fix="pip install soundfile"
        ) from error
    except OSError as error:  # it is there, but the library of the system that it needs is not
        raise MissingExtraError(
            f"Sounds are read with libsndfile, which cannot be loaded ({error}).",
            fix="install libsndfile (Debian: apt install libsndfile1).",
        ) from error
    return f"soundfile {soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}"


MEDIUM = Medium(
    kind="sounds",
    noun="sound",
    extensions=EXTENSIONS,
    unsupported=UNSUPPORTED,
    dtype=RECORD,
    header=header,
    reader=_reader,
    facts_of=facts_of,
    notes_of=_notes,
)
