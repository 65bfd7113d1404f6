"""Sounds made in code: what wave a file becomes, what is chosen from headers, what is fitted."""

from __future__ import annotations

import errno
import io
import math
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, MissingExtraError, SourceError
from gridcell.preparation import sounds
from gridcell.preparation.cache import Decoded
from gridcell.preparation.sounds import (
    SoundPreparation,
    SoundReader,
    UnreadableSoundError,
    choose_sound,
    decode,
    fit_sounds,
)
from gridcell.samples import Samples, SoundFacts

Wave = NDArray[np.float64]


def encoded(
    wave: Wave | NDArray[np.int32],
    rate: int = 8000,
    *,
    form: str = "WAV",
    subtype: str | None = None,
    endian: str | None = None,
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=form, subtype=subtype, endian=endian)
    return file.getvalue()


def amplitudes(source: bytes | Path, *, rate: int = 8000) -> Wave:
    values, scale = decode(source, rate=rate)
    assert values.dtype == np.int16
    return values * np.float64(scale)


def tone(hertz: float, rate: int, *, seconds: float = 1.0, level: float = 0.5) -> Wave:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def noise(*shape: int, level: float = 0.5, seed: int = 0) -> Wave:
    return np.random.default_rng(seed).uniform(-level, level, shape)


def reason_of(source: bytes | Path, *, rate: int = 8000) -> str:
    with pytest.raises(UnreadableSoundError) as caught:
        decode(source, rate=rate)
    assert caught.value.fix == "convert it to WAV or FLAC, or pass --on-bad-file skip."
    assert str(caught.value).startswith(f"{caught.value.name} {caught.value.reason}.\n")
    return caught.value.reason


# --- Rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_rate", [8000, 16000, 44100])
def test_a_tone_stays_that_tone_at_another_rate(own_rate: int) -> None:
    wave = amplitudes(encoded(tone(440, own_rate), own_rate), rate=16000)
    assert abs(len(wave) - 16000) <= 1
    power = np.abs(np.fft.rfft(wave[:15999] * np.hanning(15999))) ** 2
    assert abs(int(power.argmax()) * 16000 / 15999 - 440) <= 1
    assert np.abs(wave[2000:14000]).max() == pytest.approx(0.5, abs=2e-3)
    others = power.sum() - power[436:445].sum()
    assert others < 1e-5 * power.sum()


def test_what_the_lower_rate_cannot_hold_is_gone_and_not_mirrored() -> None:
    wave = amplitudes(encoded(tone(3000, 16000) + tone(6000, 16000), 16000), rate=8000)
    power = np.abs(np.fft.rfft(wave * np.hanning(8000))) ** 2
    assert abs(int(power.argmax()) - 3000) <= 1
    assert power[1900:2100].max() < 1e-5 * power.max(), "6,000 Hz would be mirrored to 2,000 Hz"


def test_a_file_of_the_wanted_rate_keeps_its_samples() -> None:
    whole = np.array([0, 1, -2, 32767, -32767, 400], np.int16)
    values, scale = decode(encoded(whole / 32768, subtype="PCM_16"), rate=8000)
    assert values.tolist() == whole.tolist() and scale == pytest.approx(1 / 32768)


def test_too_few_samples_for_the_rate_are_refused() -> None:
    assert len(amplitudes(encoded(noise(1), 8000))) == 1
    assert reason_of(encoded(noise(1), 44100)) == "is shorter than one sample at 8,000 Hz"


def test_a_rate_that_cannot_be_true_is_refused_before_memory_is_asked_for() -> None:
    data = bytearray(encoded(noise(40000), 8000, subtype="PCM_U8"))
    data[24:28] = struct.pack("<I", 1)
    assert reason_of(bytes(data), rate=384_000).startswith(
        "has a rate of 1 Hz: it would be 15,360,"
    )


# --- Channels ------------------------------------------------------------------------------------


def test_channels_become_their_mean() -> None:
    left = np.stack([np.ones(100), np.zeros(100)], axis=1)
    wave = amplitudes(encoded(left, subtype="FLOAT"))
    np.testing.assert_allclose(wave, 0.5, rtol=1e-6)
    four = noise(500, 4)
    wave = amplitudes(encoded(four, subtype="DOUBLE"))
    np.testing.assert_allclose(wave, four.mean(1), atol=np.abs(four.mean(1)).max() / FULL_STEPS)
    against = np.stack([noise(50), -noise(50)], axis=1)
    assert decode(encoded(against, subtype="FLOAT"), rate=8000)[1] == 1.0, "silence"


# --- Values --------------------------------------------------------------------------------------

FULL_STEPS = 2 * 32767 * 0.99
"""Half a step of 16 bits below the peak is the peak by this; a hundredth of it is for float32."""


@pytest.mark.parametrize(
    ("form", "subtype", "endian", "error"),
    [
        ("WAV", "PCM_U8", None, 1 / 128),
        ("WAV", "PCM_16", None, 1 / 32768),
        ("WAV", "PCM_24", None, 2**-23),
        ("WAV", "PCM_32", None, 2**-31),
        ("WAV", "FLOAT", None, 1e-7),
        ("WAV", "FLOAT", "BIG", 1e-7),
        ("WAV", "DOUBLE", None, 1e-7),
        ("WAVEX", "DOUBLE", None, 1e-7),
        ("RF64", "PCM_16", None, 1 / 32768),
        ("AIFF", "PCM_24", None, 2**-23),
        ("AU", "PCM_16", None, 1 / 32768),
        ("CAF", "PCM_16", None, 1 / 32768),
        ("W64", "PCM_16", None, 1 / 32768),
        ("FLAC", "PCM_16", None, 1 / 32768),
        ("FLAC", "PCM_24", None, 2**-23),
        ("WAV", "ULAW", None, 0.03),
        ("WAV", "ALAW", None, 0.03),
    ],
)
@pytest.mark.parametrize("level", [0.9, 0.3])
def test_every_coding_gives_the_wave_to_half_a_step(
    form: str, subtype: str, endian: str | None, error: float, level: float
) -> None:
    whole = noise(3000, level=level)
    wave = amplitudes(encoded(whole, form=form, subtype=subtype, endian=endian))
    assert np.abs(wave - whole).max() <= error + np.abs(whole).max() / FULL_STEPS


def test_a_soft_recording_of_24_bits_keeps_its_steps() -> None:
    whole = noise(3000, level=1e-4)
    wave = amplitudes(encoded(whole, subtype="PCM_24"))
    assert np.abs(wave - whole).max() <= 2**-23 + 1e-4 / FULL_STEPS


def test_in_8_bits_128_is_silence() -> None:
    data = encoded(np.zeros(64), subtype="PCM_U8")
    assert data[-64:] == b"\x80" * 64
    values, scale = decode(data, rate=8000)
    assert not values.any() and scale == 1.0


@pytest.mark.parametrize("peak", [3.0, 32768.0, 1e9])
def test_floats_above_full_level_are_not_clipped(peak: float) -> None:
    whole = tone(100, 8000, level=peak)
    wave = amplitudes(encoded(whole, subtype="DOUBLE"))
    assert np.abs(wave - whole).max() <= peak / FULL_STEPS


def test_the_scale_is_the_peak_over_32767() -> None:
    for peak in (1.0, 0.25, 3.0, 2.0**-40):
        values, scale = decode(
            encoded(np.array([0.0, -peak, 0.5 * peak]), subtype="DOUBLE"), rate=8000
        )
        assert scale == peak / 32767 and values.tolist() == [0, -32767, 16384]


def test_silence_and_what_float32_cannot_square_have_no_level() -> None:
    for level in (0.0, 1e-38, 1e-320):
        values, scale = decode(encoded(np.full(90, level), subtype="DOUBLE"), rate=8000)
        assert len(values) == 90 and not values.any() and scale == 1.0


def test_96_khz_of_24_bits_in_flac_becomes_8_khz() -> None:
    stereo = np.stack([tone(440, 96000), tone(440, 96000)], axis=1)
    wave = amplitudes(encoded(stereo, 96000, form="FLAC", subtype="PCM_24"))
    assert len(wave) == 8000
    assert np.abs(wave - tone(440, 8000))[100:-100].max() < 1e-3


@pytest.mark.parametrize(("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")])
def test_lossy_files_sound_alike(form: str, subtype: str) -> None:
    whole = tone(440, 16000)
    wave = amplitudes(encoded(whole, 16000, form=form, subtype=subtype), rate=16000)
    assert 16000 <= len(wave) <= 16000 + 3 * 1152, "MP3 pads both ends"
    power = np.abs(np.fft.rfft(wave[:16000])) ** 2
    assert abs(int(power.argmax()) - 440) <= 1
    assert np.abs(wave[3000:13000]).max() == pytest.approx(0.5, abs=0.03)


def test_a_long_file_is_read_in_blocks_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    for samples in (4096, 5000, 8192):
        data = encoded(noise(samples, 2), subtype="PCM_16")
        whole = decode(data, rate=8000)
        monkeypatch.setattr(sounds, "BLOCK_FRAMES", 1024)
        parts = decode(data, rate=8000)
        monkeypatch.undo()
        assert len(whole[0]) == samples and whole[1] == parts[1]
        np.testing.assert_array_equal(whole[0], parts[0])


def test_a_path_and_its_bytes_give_the_same_bits(tmp_path: Path) -> None:
    data = encoded(noise(4000, 2), 44100, form="FLAC")
    path = tmp_path / "é ü 中 (1).WAV"
    path.write_bytes(data)
    from_path, from_bytes = decode(path, rate=8000), SoundReader(8000).read(data)
    assert from_path[1] == from_bytes[1]
    np.testing.assert_array_equal(from_path[0], from_bytes[0])


def test_threads_get_the_same_bits(tmp_path: Path) -> None:
    files = [encoded(noise(3000, seed=k), 11025, form="FLAC") for k in range(6)]
    files.append(files[0][: len(files[0]) // 2])
    alone = [decode(data, rate=8000) for data in files[:6]]

    def is_same(k: int) -> bool:
        if k % 7 == 6:
            return "damaged" in reason_of(files[6])
        values, scale = decode(files[k % 7], rate=8000)
        return scale == alone[k % 7][1] and bool((values == alone[k % 7][0]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_same, range(140)))


# --- Files that are none -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 1e15])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers_are_refused(value: float, subtype: str) -> None:
    wave = noise(100, 2)
    wave[50, 1] = value
    with np.errstate(over="ignore"):
        data = encoded(wave, subtype=subtype)
    assert reason_of(data).startswith("holds samples that are no numbers (NaN, infinite")
    wave[50] = [math.inf, -math.inf]
    assert reason_of(encoded(wave, subtype=subtype)).startswith("holds samples that are no numbers")


def test_bad_files_are_named_with_their_reason(tmp_path: Path) -> None:
    flac = encoded(noise(20000), form="FLAC")
    for name, data, words in (
        ("empty.wav", b"", "is empty (0 bytes)"),
        ("none.wav", encoded(np.zeros(0)), "holds no sample"),
        ("text.wav", b"not a sound", "isn't a sound libsndfile can read (Format not recognised)"),
        ("text.raw", b"not a sound", "isn't a sound libsndfile can read ("),
        ("head.wav", encoded(noise(9))[:20], "isn't a sound libsndfile can read ("),
        ("cut.flac", flac[: len(flac) // 2], "is damaged ("),
    ):
        (tmp_path / name).write_bytes(data)
        assert reason_of(tmp_path / name).startswith(words), name
        assert reason_of(data).startswith(words), name
        with pytest.raises(SourceError) as caught:
            decode(tmp_path / name, rate=8000)
        assert str(caught.value).startswith(f"{tmp_path / name} {words}")
        assert isinstance(caught.value, UnreadableSoundError) and caught.value.is_lasting


def test_a_cut_wav_gives_what_is_there() -> None:
    whole = noise(1000)
    wave = amplitudes(encoded(whole, subtype="PCM_16")[: 44 + 2 * 300])
    assert len(wave) == 300 and np.abs(wave - whole[:300]).max() < 1e-4


def test_a_header_that_promises_too_much_is_no_fault_of_memory() -> None:
    data = bytearray(encoded(noise(1000), form="FLAC"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4  # 2 ** 36 - 1 samples
    try:
        assert len(decode(bytes(data), rate=8000)[0]) == 1000
    except UnreadableSoundError as error:
        assert error.reason.startswith("is damaged")


def test_faults_that_may_pass_are_not_lasting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(path: Path) -> tuple[str, bool]:
        with pytest.raises(UnreadableSoundError) as caught:
            decode(path, rate=8000)
        return caught.value.reason, caught.value.is_lasting

    assert fault(tmp_path / "gone.wav") == ("does not exist", False)
    assert fault(tmp_path) == ("cannot be opened: Is a directory", False)
    assert fault(tmp_path / "a\0b.wav") == ("cannot be opened: embedded null byte", False)
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(noise(10)))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    def no_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert fault(path) == ("cannot be opened: Permission denied", False)
    with monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "read", no_memory)
        assert fault(path) == ("needs more memory than there is", False)


@pytest.mark.parametrize("library", ["soundfile", "soxr"])
def test_a_missing_library_is_named_with_its_command(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"{library} is not installed") as caught:
        decode(b"RIFF", rate=8000)
    assert caught.value.fix == f"pip install {library}"
    with pytest.raises(MissingExtraError):
        _ = SoundReader(8000).about


def test_damaged_bytes_are_refused_or_heard_but_never_a_crash() -> None:
    draw = np.random.default_rng(0)
    for form in ("WAV", "FLAC", "OGG", "MP3"):
        whole = encoded(noise(3000), form=form)
        for _ in range(15):
            data = bytearray(whole)
            first = int(draw.integers(0, len(data) - 8))
            data[first : first + 8] = draw.bytes(8)
            try:
                values, scale = decode(bytes(data), rate=8000)
            except UnreadableSoundError as error:
                assert error.reason.isprintable() and "object at" not in error.reason
            else:
                assert len(values) and math.isfinite(scale)


def test_the_reader_says_what_waves_depend_on() -> None:
    reader = SoundReader(8000)
    assert reader.about != SoundReader(8001).about
    assert soundfile.__libsndfile_version__ in reader.about
    assert (reader.folder, reader.inner, reader.is_ragged) == ("waves", (), True)
    assert reader.dtype == np.int16


# --- What is chosen ------------------------------------------------------------------------------


def facts(*sounds_: tuple[float, int], channels: int = 1) -> SoundFacts:
    """Sounds of so many seconds at so many Hz."""
    return SoundFacts(
        np.array([seconds for seconds, _ in sounds_], np.float64),
        np.array([rate for _, rate in sounds_], np.int32),
        np.full(len(sounds_), channels, np.int16),
    )


def samples(*sounds_: tuple[float, int]) -> Samples:
    count = len(sounds_)
    return Samples(
        task="classify",
        paths=("",) * count,
        root="",
        labels=("a", "b"),
        targets=np.zeros(count, np.int64),
        digests=np.zeros(count, "V16"),
        facts=facts(*sounds_),
        given=np.zeros(count, np.int8),
    )


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([8000, 8000, 44100], 8000),
        ([16000, 44100, 44100], 32000),
        ([4000, 4000], 8000),
        ([16000, 22050], 22050),  # as many of each: nothing is lost
    ],
)
def test_the_rate_is_the_most_frequent_within_limits(rates: list[int], expected: int) -> None:
    assert choose_sound(samples(*((0.5, rate) for rate in rates)), DataConfig()).rate == expected


def test_short_sounds_have_close_steps_and_long_ones_wide() -> None:
    word = choose_sound(samples((0.4, 8000), (0.5, 8000), (1.2, 8000)), DataConfig())
    assert (word.bins, word.hop_ms, word.window_ms, word.longest_s) == (40, 10.0, 25.0, 1.2)
    assert (word.hop, word.window, word.longest_samples) == (80, 200, 9600)
    assert (word.low_hz, word.high_hz, word.level) == (20.0, 4000.0, "clip")
    scene = choose_sound(samples((5.0, 22050), (5.0, 22050), (60.0, 22050)), DataConfig())
    assert (scene.bins, scene.hop_ms, scene.window_ms, scene.longest_s) == (64, 20.0, 40.0, 10.0)
    assert (scene.hop, scene.window, scene.longest_samples) == (441, 882, 220500)


def test_a_rate_and_a_window_that_are_asked_for_are_taken() -> None:
    chosen = choose_sound(samples((0.4, 8000)), DataConfig(sample_rate=11025, window=0.2))
    assert (chosen.rate, chosen.longest_s, chosen.high_hz, chosen.bins) == (11025, 0.2, 5512.5, 64)


def test_a_window_shorter_than_a_step_is_refused() -> None:
    assert choose_sound(samples((0.001, 8000)), DataConfig()).longest_s == 0.025
    config = DataConfig(window=0.05)
    assert choose_sound(samples((9.0, 8000)), config).longest_s == 0.05
    object.__setattr__(config, "window", 0.03)
    with pytest.raises(ConfigError, match=r"window = 0\.03 s is shorter than one step's 40 ms"):
        choose_sound(samples((9.0, 8000)), config)


def plain(**changes: Any) -> SoundPreparation:
    whole = SoundPreparation(8000, 40, 25.0, 10.0, 20.0, 4000.0, "clip", 1.0)
    return replace(whole, **changes)


def test_the_sentence_for_the_user_says_what_is_changed() -> None:
    told = "40 log-mel bands of 20 to 4,000 Hz every 10 ms"
    assert plain().describe(facts((0.5, 8000))) == f"8,000 Hz; {told}, each clip at its own peak"
    assert plain(level="none").describe(facts((0.5, 8000))) == f"8,000 Hz; {told}"
    mixed = facts((0.5, 8000), (2.0, 16000), (3.0, 44100), channels=2)
    assert plain().describe(mixed) == (
        "8,000 Hz, 2 resampled, 3 mixed down to one channel by their mean; "
        f"{told}, each clip at its own peak; 2 longer than 1 s are read in windows"
    )


def test_numbers_that_do_not_hold_together_are_not_whole() -> None:
    whole = plain(mean=(0.0,) * 40, deviation=(1.0,) * 40)
    assert whole.is_whole and not plain().is_whole
    for change in (
        {"rate": 999},
        {"bins": 39},
        {"bins": 0, "mean": (), "deviation": ()},
        {"low_hz": -1.0},
        {"low_hz": 4000.0},
        {"high_hz": 4000.5},
        {"high_hz": math.nan},
        {"hop_ms": 0.0},
        {"hop_ms": 26.0},
        {"window_ms": math.inf},
        {"longest_s": 0.0},
        {"longest_s": 0.024},
        {"longest_s": math.nan},
        {"level": "peak"},
        {"mean": (0.0,) * 39},
    ):
        assert not replace(whole, **change).is_whole, change  # type: ignore[arg-type]


def test_steps_are_counted_as_they_come_out() -> None:
    prep = plain()
    counts = torch.tensor([0, 1, 79, 1234, 1280])
    _, steps = prep.features(torch.ones(5, 1280), counts)
    assert steps.tolist() == prep.steps_of(counts.numpy()).tolist() == [0, 16, 16, 16, 17]
    assert prep.layout.channels == 1 and prep.layout.grid == (40,) and prep.layout.steps is None


def test_a_short_sound_goes_on_in_silence_to_16_steps() -> None:
    prep = plain()
    wave = torch.randn(1, 400, generator=torch.Generator().manual_seed(0))
    features, steps = prep.features(wave, torch.tensor([400]))
    assert steps.tolist() == [16] and features.shape[1] == 16
    # The window of a step reaches 128 samples to either side.
    assert torch.equal(features[0, 7:], torch.full_like(features[0, 7:], math.log(1e-10)))
    own, _ = prep.logmel(wave, torch.tensor([400]))
    torch.testing.assert_close(features[:, :6], own)


# --- What is fitted ------------------------------------------------------------------------------


def decoded(*lengths: int) -> Decoded:
    draw = np.random.default_rng(5)
    return Decoded.of(
        [
            (draw.integers(-32767, 32768, length).astype(np.int16), float(0.1 ** (k % 3)) / 32767)
            for k, length in enumerate(lengths)
        ]
    )


@pytest.mark.parametrize("level", ["clip", "none"])
@pytest.mark.parametrize("at_once", [1, 5000, 1 << 18])
def test_mean_and_deviation_are_those_of_all_steps_of_the_training_rows(
    level: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sounds, "FITTED_SAMPLES", at_once)
    prep = plain(level=level, longest_s=0.2)
    items = decoded(900, 1600, 1601, 4000, 700, 1)
    rows = np.array([5, 0, 3, 2])
    found = fit_sounds(prep, items, rows)
    steps = []
    for row in rows:
        wave = items.values[items.starts[row] : items.starts[row + 1]] * items.scales[row]
        for first in range(0, len(wave), 1600):
            part = torch.from_numpy(wave[first : first + 1600])[None]
            steps.append(prep.logmel(part, torch.tensor([part.shape[1]]))[0][0].double().numpy())
    every = np.concatenate(steps)
    assert len(every) == 12 + 21 + 21 + 11 + 21 + 1 + 1
    np.testing.assert_allclose(found.mean, every.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.deviation, every.std(0), rtol=1e-4)
    assert fit_sounds(prep, items, rows[::-1]) == found
    assert replace(found, mean=(), deviation=()) == prep


def test_other_rows_have_no_part_in_the_statistics() -> None:
    items = decoded(900, 1600, 1601)
    found = fit_sounds(plain(), items, np.array([0, 2]))
    values = np.array(items.values)
    values[items.starts[1] : items.starts[2]] = 0
    assert fit_sounds(plain(), replace(items, values=values), np.array([0, 2])) == found


def test_silence_has_a_level_and_no_deviation() -> None:
    silent = Decoded.of([(np.zeros(4000, np.int16), 1.0)] * 3)
    found = fit_sounds(plain(), silent, np.arange(3))
    np.testing.assert_allclose(found.mean, math.log(1e-10), rtol=1e-6)
    assert found.deviation == (0.0,) * 40 and found.is_whole


# --- Real odd files ------------------------------------------------------------------------------

REFUSED = {
    "test-44100Hz-le-1ch-4bytes-early-eof-no-data.wav": "isn't a sound",
    "test-44100Hz-le-1ch-4bytes-incomplete-chunk.wav": "isn't a sound",
    "test-8000Hz-le-3ch-5S-64bit.wav": "isn't a sound",
    "text_renamed.wav": "isn't a sound",
    "zero_samples.wav": "holds no sample",
}
SECONDS = {
    "speech.mp3": 3457 / 8000,
    "speech.ogg": 3457 / 8000,
    "stereo_96k_24bit.flac": 41484 / 96000,
    "silence_1s.wav": 1.0,
    "test-44100Hz-le-1ch-4bytes-early-eof.wav": 236 / 44100,
    "test-44100Hz-2ch-32bit-float-be.wav": 0.01,
    "test-48000Hz-2ch-64bit-float-le-wavex.wav": 0.01,
    "test-8000Hz-le-2ch-1byteu.wav": 0.1,
    "test-8000Hz-le-1ch-1byte-ulaw.wav": 9 / 8000,
}


@pytest.fixture
def odd(data_folder: Path) -> Path:
    folder = data_folder / "odd" / "audio"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    return folder


def test_odd_files_are_read_or_refused_as_they_should_be(odd: Path) -> None:
    for path in sorted(odd.iterdir()):
        if path.name in REFUSED:
            assert reason_of(path).startswith(REFUSED[path.name]), path.name
            assert reason_of(path).isprintable(), path.name
            continue
        wave = amplitudes(path)
        assert np.isfinite(wave).all() and len(wave), path.name
        if path.name in SECONDS:
            assert abs(len(wave) - SECONDS[path.name] * 8000) <= 1, path.name
        found, _ = plain().features(torch.from_numpy(wave).float()[None], torch.tensor([len(wave)]))
        assert found.isfinite().all(), path.name


def test_odd_files_of_one_recording_agree(odd: Path) -> None:
    big, little = (amplitudes(odd / f"test-44100Hz-2ch-32bit-float-{e}.wav") for e in ("be", "le"))
    np.testing.assert_allclose(big, little, atol=1e-6)
    usual = amplitudes(odd / "test-44100Hz-le-1ch-4bytes.wav", rate=44100)
    large = amplitudes(odd / "test-44100Hz-le-1ch-4bytes-rf64.wav", rate=44100)
    np.testing.assert_array_equal(usual, large)
    cut = amplitudes(odd / "test-44100Hz-le-1ch-4bytes-early-eof.wav", rate=44100)
    np.testing.assert_allclose(cut, usual[:236], atol=1e-4)
    speech, ogg = (amplitudes(odd / name) for name in ("stereo_96k_24bit.flac", "speech.ogg"))
    assert np.corrcoef(speech[:3400], ogg[:3400])[0, 1] > 0.85  # lossy, at a low rate
    assert not amplitudes(odd / "silence_1s.wav").any()


def test_an_mp3_that_was_cut_is_refused(tmp_path: Path) -> None:
    time = np.arange(96000) / 48000
    path = tmp_path / "long.mp3"
    soundfile.write(path, 0.4 * np.sin(600 * time * (1 + time)), 48000)
    whole, _ = decode(path, rate=48000)
    assert len(whole) == 96000
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableSoundError, match=r"ends after .* s of the 2\.00 s"):
        decode(path, rate=48000)
