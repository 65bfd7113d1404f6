"""From a sound file to a wave, and what is chosen and fitted to read waves as log-mel features.

In order:
    samples as floats, at the file's own rate -> the mean of all channels -> one rate
      -> 16 bits relative to the clip's own peak, as the cache keeps them
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gridcell.axes import Layout
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, MissingExtraError
from gridcell.layers.lengths import valid_steps
from gridcell.preparation.cache import Decoded
from gridcell.preparation.logmel import LogMel
from gridcell.preparation.remarks import Remark
from gridcell.preparation.unreadable import UnreadableError
from gridcell.samples import Facts, Samples, SoundFacts
from gridcell.sources.sounds import FRAMES_LARGEST, FRAMES_UNKNOWN, is_cut, opened
from gridcell.sources.wording import shown

if TYPE_CHECKING:
    from soundfile import SoundFile

FORMAT = 1
"""Raised whenever `decode` would give other values for the same file."""
FULL = 32767
FULL_LEVEL = {np.dtype(np.int16): 2**15, np.dtype(np.int32): 2**31}
"""Whole numbers that stand for the amplitude 1.0, as libsndfile has it."""
LEAST_SHARE = 0.9
LEAST_STEPS = 16
"""Steps that every sound has: a shorter one goes on in silence, so that networks which halve the
time a few times have something left of it."""
LOWEST_RATE, HIGHEST_RATE = 8000, 32000
LOWEST_HZ = 20.0
NARROW_RATE = 8000
LONG_CLIP_S = 2.0
LONGEST_S = 10.0
LEVELS = ("clip", "none")
BLOCK_FRAMES = 1 << 20
LARGEST_PEAK, SMALLEST_PEAK = 1e12, 1e-30
"""Amplitudes whose powers float32 can still hold; below the smallest a wave is silent."""
SILENT_PEAK = 1e-4
"""Amplitude, 80 dB below full level, under which nothing is heard: a few steps of 16 bits."""
FITTED_SAMPLES = 1 << 18
"""Samples that statistics are made of at once: enough to be quick, few enough for the caches."""


class UnreadableSoundError(UnreadableError):
    """A sound cannot be decoded."""

    fix_bad_file = "convert it to WAV or FLAC, or pass --on-bad-file skip."


class UnreadableWaveError(UnreadableSoundError):
    """A sound that is in memory cannot be used."""

    fix_bad_file = (
        "give samples [n] or [n, channels], as floats with 1.0 at full level or as int16 or int32, "
        "or pass skip_bad_files=True."
    )


def decode(source: Path | bytes, *, rate: int) -> tuple[NDArray[np.int16], float]:
    """Return the wave in a file, or in the bytes of one, at the wanted rate.

    Several channels become their mean. A WAV that ends before its header says gives what is there,
    which the scan of the headers tells; an MP3 that loses a tenth or more is refused.

    Shapes   -> int16 [n], and a scale: sample * scale is the amplitude, 1.0 at full level
    Units    `rate` in Hz. The loudest sample is 32767, so that soft recordings keep 96 dB below
             their own peak and floats above 1.0 are not clipped; silence has the scale 1
    Raises   UnreadableSoundError, a SourceError, that names the file and the reason: not a sound,
             empty, without samples, damaged, or with samples that are no numbers;
             MissingExtraError if soundfile or soxr is not installed
    Cost     about 10 ms a minute of speech and core, and as much again where the rate changes

    Threads may decode at the same time; both libraries let go of the GIL.
    """
    name = "the sound" if isinstance(source, bytes) else shown(str(source))
    try:
        own_rate, wave = _mono(source, name)
        return _sixteen_bits(_resampled(wave, own_rate, rate, name))
    except FileNotFoundError as error:
        raise UnreadableSoundError(name, "does not exist", is_lasting=False) from error
    except MemoryError as error:
        reason = "needs more memory than there is"
        raise UnreadableSoundError(name, reason, is_lasting=False) from error
    except OSError as error:
        reason = f"cannot be opened: {error.strerror or error}"
        raise UnreadableSoundError(name, reason, is_lasting=False) from error


def decode_wave(
    wave: NDArray[Any], *, own_rate: int, rate: int, name: str
) -> tuple[NDArray[np.int16], float]:
    """Return a wave that is in memory as `decode` would a file of it.

    name     what the sound is called in a message

    Shapes   [n], or [n, channels] as soundfile gives them -> int16 [n'], and a scale
    Units    floats are 1.0 at full level; whole numbers of 16 or 32 bits are what a WAV holds
    Raises   UnreadableWaveError for an array of another shape or type, or without samples
    """
    has_channels = wave.ndim == 1 or (wave.ndim == 2 and wave.shape[1] > 0)
    if not has_channels or not (wave.dtype.kind == "f" or wave.dtype in FULL_LEVEL):
        raise UnreadableWaveError(
            name, f"is an array of {wave.dtype} {list(wave.shape)}, which are no samples of a sound"
        )
    if wave.ndim == 2 and wave.shape[1] > wave.shape[0]:
        raise UnreadableWaveError(
            name, f"has more channels than samples: {list(wave.shape)} is [samples, channels]"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        floats = wave.astype(np.float32)
        if wave.dtype in FULL_LEVEL:
            floats /= np.float32(FULL_LEVEL[wave.dtype])
        mono = floats.mean(1) if wave.ndim == 2 else floats
    try:
        _check_samples(mono, name)
        return _sixteen_bits(_resampled(mono, own_rate, rate, name))
    except UnreadableSoundError as error:
        raise UnreadableWaveError(name, error.reason) from error


def _libraries() -> tuple[ModuleType, ModuleType]:
    """Return soundfile and soxr, which only sounds need."""
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise MissingExtraError(
            f"Sounds are read with soundfile and soxr; {error.name} is not installed.",
            fix=f"pip install {error.name}",
        ) from error
    return soundfile, soxr


def _mono(source: Path | bytes, name: str) -> tuple[int, NDArray[np.float32]]:
    """Return a file's own rate in Hz and the mean of its channels [n]."""
    soundfile, _ = _libraries()
    if _bytes_in(source, name) == 0:
        raise UnreadableSoundError(name, "is empty (0 bytes)")
    try:
        sound = opened(source) if isinstance(source, Path) else _opened_bytes(source)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: named .raw, no header
        reason = f"isn't a sound libsndfile can read ({_said(error)})"
        raise UnreadableSoundError(name, reason) from error
    parts: list[NDArray[np.float32]] = []
    # In blocks: a damaged header may promise more samples than any memory holds.
    with sound, np.errstate(over="ignore", invalid="ignore"):
        while True:
            try:
                block = sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise UnreadableSoundError(name, f"is damaged ({_said(error)})") from error
            parts.append(block[:, 0] if block.shape[1] == 1 else block.mean(1))
            if len(block) < BLOCK_FRAMES:
                break
    wave = np.concatenate(parts)
    _check_samples(wave, name)
    # Libsndfile knows of a WAV that was cut, and the scan tells; of an MP3 it does not.
    if len(wave) < LEAST_SHARE * sound.frames < LEAST_SHARE * FRAMES_UNKNOWN:
        reason = (
            f"ends after {len(wave) / sound.samplerate:.2f} s of the "
            f"{sound.frames / sound.samplerate:.2f} s that it says it has"
        )
        raise UnreadableSoundError(name, reason)
    return int(sound.samplerate), wave


def _check_samples(wave: NDArray[np.float32], name: str) -> None:
    if not len(wave):
        raise UnreadableSoundError(name, "holds no sample")
    # One such sample in one channel shows itself in the mean, and in the sum.
    if not np.abs(wave).max() <= LARGEST_PEAK:
        reason = "holds samples that are no numbers (NaN, infinite, or far above full level)"
        raise UnreadableSoundError(name, reason)


def _opened_bytes(content: bytes) -> SoundFile:
    soundfile, _ = _libraries()
    return soundfile.SoundFile(io.BytesIO(content))


def _bytes_in(source: Path | bytes, name: str) -> int:
    """Return the length of a file that can be opened; libsndfile would not say why one cannot."""
    if isinstance(source, bytes):
        return len(source)
    try:
        with source.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except ValueError as error:  # no file can have that name, for instance one with a zero byte
        reason = f"cannot be opened: {error}"
        raise UnreadableSoundError(name, reason, is_lasting=False) from error


def _resampled(
    wave: NDArray[np.float32], own_rate: int, rate: int, name: str
) -> NDArray[np.float32]:
    """Return a wave at another rate."""
    if own_rate == rate:
        return wave
    samples = len(wave) * rate // own_rate
    if samples > FRAMES_LARGEST:
        raise UnreadableSoundError(
            name, f"has a rate of {own_rate:,} Hz: it would be {samples:,} samples at {rate:,} Hz"
        )
    _, soxr = _libraries()
    changed: NDArray[np.float32] = soxr.resample(wave, own_rate, rate, quality="HQ")
    if not len(changed):
        raise UnreadableSoundError(name, f"is shorter than one sample at {rate:,} Hz")
    return changed


def _sixteen_bits(wave: NDArray[np.float32]) -> tuple[NDArray[np.int16], float]:
    """Return a wave in steps of its own peak / 32767, and that step."""
    peak = float(np.abs(wave).max())
    if peak < SMALLEST_PEAK:
        return np.zeros(len(wave), np.int16), 1.0
    return np.rint(wave * np.float32(FULL / peak)).astype(np.int16), peak / FULL


def _said(error: Exception) -> str:
    """Return what libsndfile said, without the path that it begins with."""
    said = " ".join(str(getattr(error, "error_string", error)).split())
    return said.removeprefix("Error : ").rstrip(".") or type(error).__name__


def _silence(wave: NDArray[np.int16], scale: float) -> Remark | None:
    return Remark("silent") if not wave.any() or scale * FULL < SILENT_PEAK else None


@dataclass(frozen=True)
class SoundReader:
    """What the cache needs to decode sounds and to know which waves it has kept."""

    rate: int
    folder: str = field(default="waves", init=False)
    is_ragged: bool = field(default=True, init=False)
    inner: tuple[int, ...] = field(default=(), init=False)

    @property
    def dtype(self) -> np.dtype[np.int16]:
        """Type of one sample."""
        return np.dtype(np.int16)

    @property
    def about(self) -> list[object]:
        """Everything that a wave depends on besides the file's bytes."""
        soundfile, soxr = _libraries()
        libraries = [soundfile.__version__, soundfile.__libsndfile_version__, soxr.__version__]
        return [FORMAT, *libraries, self.rate]

    def read(self, source: Path | bytes) -> tuple[NDArray[np.int16], float]:
        """Return the wave of a file and its scale."""
        return decode(source, rate=self.rate)

    def read_closely(self, source: Path | bytes) -> tuple[NDArray[np.int16], float, Remark | None]:
        """Return what `read` does, and whether it is silent."""
        wave, scale = self.read(source)
        return wave, scale, _silence(wave, scale)

    def read_new(self, source: Path) -> tuple[NDArray[np.int16], float, Remark | None]:
        """Return what `read_closely` does of a file that no scan has seen: it may be cut too."""
        wave, scale, remark = self.read_closely(source)
        with opened(source) as sound:
            return wave, scale, Remark("cut") if is_cut(sound) else remark

    def read_wave(
        self, wave: NDArray[Any], own_rate: int, *, name: str
    ) -> tuple[NDArray[np.int16], float, Remark | None]:
        """Return a sound in memory as `read_closely` would a file of it; see `decode_wave`."""
        samples, scale = decode_wave(wave, own_rate=own_rate, rate=self.rate, name=name)
        return samples, scale, _silence(samples, scale)


@dataclass(frozen=True)
class SoundPreparation:
    """How a sound file becomes log-mel features `[T, 1, F]`, and their statistics."""

    rate: int
    bins: int
    window_ms: float
    hop_ms: float
    low_hz: float
    high_hz: float
    level: Literal["clip", "none"]
    longest_s: float
    """Longest stretch that is read at once; longer sounds are read in windows of it."""
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def layout(self) -> Layout:
        """The sizes of one sample."""
        return Layout(1, (self.bins,))

    @property
    def reader(self) -> SoundReader:
        """What decodes a file, as in training."""
        return SoundReader(self.rate)

    @property
    def window(self) -> int:
        """Samples in the window of one step."""
        return max(2, round(self.window_ms * self.rate / 1000))

    @property
    def hop(self) -> int:
        """Samples from step to step."""
        return max(1, round(self.hop_ms * self.rate / 1000))

    @property
    def longest_samples(self) -> int:
        """Samples of the longest stretch."""
        return max(1, round(self.longest_s * self.rate))

    @cached_property
    def logmel(self) -> LogMel:
        """The features of a wave."""
        return LogMel(
            rate=self.rate,
            bins=self.bins,
            window=self.window,
            hop=self.hop,
            low_hz=self.low_hz,
            high_hz=self.high_hz,
            is_level_clip=self.level == "clip",
        )

    @property
    def is_whole(self) -> bool:
        """Whether the numbers hold together, as those that `fit_sounds` gives do."""
        return (
            1000 <= self.rate <= 384_000
            and 1 <= self.bins <= 1024
            and 0 <= self.low_hz < self.high_hz <= self.rate / 2
            and 0 < self.hop_ms <= self.window_ms <= 10_000
            and self.window_ms / 1000 <= self.longest_s <= 3600
            and self.level in LEVELS
            and len(self.mean) == len(self.deviation) == self.bins
        )

    def features(self, waves: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [B, T, F] of waves [B, N], 0 past their samples, and the steps [B]."""
        least = (LEAST_STEPS - 1) * self.hop
        samples = torch.where(samples > 0, samples.clamp(min=least), 0)
        if len(samples) and int(samples.max()) > waves.shape[1]:
            waves = F.pad(waves, (0, int(samples.max()) - waves.shape[1]))
        return self.logmel(waves, samples)  # type: ignore[no-any-return]

    def steps_of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps of waves with so many samples."""
        return np.where(samples > 0, np.maximum(1 + samples // self.hop, LEAST_STEPS), 0)

    def describe(self, facts: Facts) -> str:
        """A sentence for the user, given what the sounds are."""
        assert isinstance(facts, SoundFacts)
        changed = []
        resampled = int((facts.rates != self.rate).sum())
        mixed = int((facts.channels > 1).sum())
        if resampled:
            changed.append(f"{resampled:,} resampled")
        if mixed:
            changed.append(f"{mixed:,} mixed down to one channel by their mean")
        level = ", each clip at its own peak" if self.level == "clip" else ""
        told = (
            f"{self.rate:,} Hz{', ' if changed else ''}{', '.join(changed)}; {self.bins} log-mel "
            f"bands of {self.low_hz:g} to {self.high_hz:,.0f} Hz every {self.hop_ms:g} ms{level}"
        )
        longer = int((facts.seconds > self.longest_s).sum())
        if longer:
            are = "is" if longer == 1 else "are"
            told += f"; {longer:,} longer than {self.longest_s:g} s {are} read in windows"
        return told


def choose_sound(samples: Samples, config: DataConfig) -> SoundPreparation:
    """Choose rate, steps and bands from the files' headers and the settings.

    The most frequent rate is taken, between 8 and 32 kHz. Short clips are words and knocks, with
    a step every 10 ms; longer ones are scenes, with one every 20 ms.

    Raises   ConfigError for a window shorter than a step
    """
    facts = samples.facts
    assert isinstance(facts, SoundFacts)
    rates, counts = np.unique(facts.rates, return_counts=True)
    usual = int(rates[counts == counts.max()].max())
    rate = config.sample_rate or min(max(usual, LOWEST_RATE), HIGHEST_RATE)
    seconds = facts.seconds
    is_long = float(np.median(seconds)) >= LONG_CLIP_S
    longest = float(seconds.max())
    longest_s = config.window or (longest if longest <= LONGEST_S else LONGEST_S)
    hop_ms, window_ms = (20.0, 40.0) if is_long else (10.0, 25.0)
    if longest_s * 1000 < window_ms and config.window:
        raise ConfigError(
            f"window = {config.window:g} s is shorter than one step's {window_ms:g} ms.",
            fix="give a longer --window.",
        )
    return SoundPreparation(
        rate=rate,
        bins=40 if rate <= NARROW_RATE else 64,
        window_ms=window_ms,
        hop_ms=hop_ms,
        low_hz=LOWEST_HZ,
        high_hz=rate / 2,
        level="clip",
        longest_s=max(longest_s, window_ms / 1000),
    )


def fit_sounds(
    chosen: SoundPreparation, decoded: Decoded, rows: NDArray[np.int64]
) -> SoundPreparation:
    """Add each band's mean and deviation over all steps of `rows`, the training rows.

    A long sound counts as stretches of the longest that is read at once, one after the other. The
    same bits for any order of rows.
    """
    count, total, squares = 0, np.zeros(chosen.bins), np.zeros(chosen.bins)
    for features in _features(chosen, decoded, np.sort(rows)):
        values = features.numpy().astype(np.float64)
        count += len(values)
        total += values.sum(0)
        squares += (values**2).sum(0)
    mean = total / max(count, 1)
    variance = np.maximum(squares / max(count, 1) - mean**2, 0.0)
    # A band that holds nothing but silence differs by rounding alone.
    deviation = np.where(variance > 1e-8, np.sqrt(variance), 0.0)
    return replace(chosen, mean=tuple(map(float, mean)), deviation=tuple(map(float, deviation)))


def _features(
    prep: SoundPreparation, decoded: Decoded, rows: NDArray[np.int64]
) -> Iterator[Tensor]:
    """Yield the valid features [steps, F] of some stretches after others of these rows."""
    longest = prep.longest_samples
    stretches = [
        (row, first, min(first + longest, int(decoded.starts[row + 1])))
        for row in rows.tolist()
        for first in range(int(decoded.starts[row]), int(decoded.starts[row + 1]), longest)
    ]
    samples = [stop - first for _, first, stop in stretches]
    at_once = max(1, FITTED_SAMPLES // max(samples, default=1))
    for begin in range(0, len(stretches), at_once):
        some = slice(begin, begin + at_once)
        counts = torch.tensor(samples[some])
        waves = torch.zeros(len(counts), int(counts.max()))
        for wave, (row, first, stop) in zip(waves, stretches[some], strict=True):
            values = decoded.values[first:stop].astype(np.float32) * decoded.scales[row]
            wave[: stop - first] = torch.from_numpy(values)
        features, steps = prep.logmel(waves, counts)
        yield features[valid_steps(steps, features.shape[1])]
