"""Text as characters: how bytes become characters, and how characters are cleaned.

The same in training and for every later answer:

    bytes -> the encoding asked for, else the one that the first bytes tell, else UTF-8
      -> line ends as line feeds -> Unicode's composed form (NFC), so that an é of two characters is
      the é of one -> zero-width spaces and byte-order marks removed -> no white space at the ends

What changes a meaning is left alone: case, joiners (an emoji of several people stays one), and the
marks that say which way a text runs.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ConfigError, SourceError

MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""First bytes that tell an encoding."""
REMOVED = {0x200B: None, 0xFEFF: None}
"""Zero-width space and byte-order mark: nothing is seen of them, so nobody means them."""

SIGNATURES = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WAV sound, a WebP picture or an AVI video",
    b"OggS": "an Ogg sound",
    b"fLaC": "a FLAC sound",
    b"ID3": "an MP3 sound",
    b"\x1a\x45\xdf\xa3": "a WebM or Matroska video",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a spreadsheet, a document or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet or document of an old office program",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet table",
    b"\x7fELF": "a program",
}
"""First bytes of files that are no text, and what they are."""


def is_stateful(encoding: str) -> bool:
    """Say whether other characters are written in bytes of ASCII, so that these look like UTF-8.

    >>> is_stateful("ISO-2022-JP"), is_stateful("utf-7"), is_stateful("latin-1")
    (True, True, False)
    """
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):  # an unknown one is refused where it is read
        return False
    return name in ("hz", "utf-7") or name.startswith("iso2022")


def marked(data: bytes) -> str | None:
    """The encoding that the first bytes say, None where they say none."""
    return next((name for mark, name in MARKS.items() if data.startswith(mark)), None)


def mixes_line_ends(feeds: int, pairs: int, returns: int) -> bool:
    """Say whether a text has more than one kind of line ends, by how many it has of each character.

    pairs   returns that a feed follows
    """
    return 0 < pairs < feeds or (returns > pairs and feeds > 0)


def one_line_end(raw: bytes) -> bytes:
    """Write every line end as a line feed; returns before one belong to it.

    >>> one_line_end(b"a\\r\\nb\\rc\\r\\r\\n")
    b'a\\nb\\nc\\n'
    """
    return re.sub(rb"\r*\n|\r", b"\n", raw)


def western(data: bytes) -> str:
    """An encoding that bytes which are no UTF-8 may have: that of Windows, where it has them all.

    It is latin-1 but for 27 more characters, the euro and curved quotes among them.

    >>> western("5 €".encode("cp1252")), western(b"\\x81")
    ('cp1252', 'latin-1')
    """
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _is_western(encoding: str) -> bool:
    """Whether an encoding has a byte for each character, all of which it may hold anywhere."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        return False
    return name.startswith(("cp125", "iso8859"))


def own_encoding(data: bytes, encoding: str) -> str:
    """The encoding of one file of many: UTF-8 where it is that, also where another one was named.

    Bytes beyond ASCII that are UTF-8 by chance are rare in text with a byte for each character.

    >>> own_encoding("où".encode(), "cp1252"), own_encoding("où".encode("cp1252"), "cp1252")
    ('utf-8', 'cp1252')
    """
    if data.isascii() or not _is_western(encoding):
        return encoding
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return encoding
    return "utf-8"


def decode_bytes(data: bytes, *, where: str, encoding: str = "auto") -> tuple[str, str]:
    """Return the characters of a file or table, and the encoding that was taken.

    Raises   SourceError for a byte that does not fit, with its line, and for a zero byte;
             ConfigError for an encoding that Python does not know

    >>> decode_bytes("é".encode("utf-16"), where="a.csv")
    ('é', 'utf-16')
    """
    mark, taken = marked(data), encoding
    if encoding == "auto":
        taken = mark or "utf-8"
    elif mark and _is_western(encoding):
        taken = mark  # of many files some may have one
    try:
        text = data.decode(taken)
    except (LookupError, ValueError) as error:
        if not isinstance(error, UnicodeDecodeError):
            raise ConfigError(
                f"encoding {encoding!r} is not one that Python knows.",
                fix="name another, such as utf-8, latin-1 or cp1252.",
                stage="writing",
            ) from error
        refuse_other_files(data, where)
        line = data.count(b"\n", 0, error.start) + 1
        fix = "save it as UTF-8 (a spreadsheet calls this CSV UTF-8), or name its own encoding"
        raise SourceError(
            f"{where} is not {taken.upper().removesuffix('-SIG')} text: "
            f"byte {data[error.start : error.start + 1]!r} in line {line:,}.",
            fix=f"{fix}, for instance --encoding {western(data)}.",
            stage="writing",
        ) from error
    if "\0" in text:
        refuse_other_files(data, where)
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SourceError(
            f"{where} holds a zero byte in line {line:,}, so it is damaged or no text.",
            fix="save it again as UTF-8 text.",
            stage="writing",
        )
    return text, taken


def refuse_other_files(data: bytes, where: str) -> None:
    """Say of bytes that are no text what they are, where the first of them tell.

    Raises   SourceError
    """
    what = next((what for mark, what in SIGNATURES.items() if data.startswith(mark)), None)
    if what is None and data[4:8] == b"ftyp":
        what = "a video or picture (MP4, MOV, HEIC)"
    if what is not None:
        is_sheet = "spreadsheet" in what
        raise SourceError(
            f"{where} is no text: its first bytes are those of {what}.",
            fix="save a spreadsheet as CSV UTF-8." if is_sheet else "name a text or a table.",
            stage="writing",
        )


def clean(text: str) -> str:
    r"""Return a text as it is read everywhere: composed, without what nobody sees.

    >>> clean("  cafe\u0301\r\nol\u200be\ufeff ")
    'café\nole'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", text.translate(REMOVED)).strip()


def codes_of(texts: Iterable[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the numbers of all characters of texts, one after another, and where each begins.

    >>> codes, starts = codes_of(["ab", "", "é"])
    >>> codes.tolist(), starts.tolist()
    ([97, 98, 233], [0, 2, 2, 3])
    """
    every = list(texts)
    data = "".join(every).encode("utf-32-le", "surrogatepass")
    starts = np.zeros(len(every) + 1, np.int64)
    np.cumsum([len(text) for text in every], out=starts[1:])
    return np.frombuffer(data, np.int32).copy(), starts


def texts_of(
    codes: NDArray[np.int32], starts: NDArray[np.int64], rows: Sequence[int] | NDArray[np.int64]
) -> list[str]:
    """Return the texts of some rows, as strings.

    >>> texts_of(*codes_of(["ab", "", "é"]), [2, 0])
    ['é', 'ab']
    """
    found = []
    for row in np.asarray(rows, np.int64).tolist():
        piece = np.ascontiguousarray(codes[starts[row] : starts[row + 1]], np.int32)
        found.append(piece.tobytes().decode("utf-32-le", "surrogatepass"))
    return found
