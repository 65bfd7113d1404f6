"""What `gridcell bench` measures and says. No test depends on how fast the machine is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from gridcell import bench, networks
from gridcell.axes import Layout
from gridcell.bench import Machine, Peak, Subject
from gridcell.cli import main
from gridcell.networks.answers import Answers
from gridcell.training import Objective, precision

CPU = torch.device("cpu")
MACHINE = Machine(
    device="a machine",
    threads=2,
    torch="2",
    peaks=(Peak("float32", 100.0, 80.0), Peak("bfloat16", 150.0, 200.0)),
    copy_gb_per_s=10.0,
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Measure next to nothing, on one thread."""
    for name, value in (
        ("SIDES", (16, 32)),
        ("IMAGES", (1,)),
        ("COPIED_BYTES", 1 << 12),
        ("ENOUGH_S", 0.0),
        ("LEAST_REPEATS", 1),
        ("WARM_UP", 1),
        ("MOST_TIMED", 1),
    ):
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(precision, "MOST_TRIED", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def has_bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor says that it has instructions for bfloat16."""
    for module in (bench, precision):
        monkeypatch.setattr(module, "has_bfloat16", lambda device: request.param)
    return bool(request.param)


def speed_of(
    notation: str,
    layout: Layout,
    answers: Answers = Answers("classify"),
    *,
    each: bool = False,
    steps: str | None = None,
) -> bench.NetworkSpeed:
    network = networks.build(notation, layout, outputs=5, each=each)
    subject = Subject(network, Objective(answers), steps)
    return bench.measure_network(subject, MACHINE, batch_size=4, device=CPU)


def is_speed(number: Any) -> bool:
    return isinstance(number, float) and math.isfinite(number) and number > 0


# --- The machine ---------------------------------------------------------------------------------


def test_peaks_and_bandwidth_are_positive_and_finite(has_bfloat16: bool) -> None:
    machine = bench.measure_machine(CPU)
    assert is_speed(machine.copy_gb_per_s) and machine.device and machine.threads == 1
    assert [peak.precision for peak in machine.peaks] == ["float32", "bfloat16"]
    float32, bfloat16 = machine.peaks
    for peak in (float32, bfloat16) if has_bfloat16 else (float32,):
        assert is_speed(peak.matrix_gflop_per_s) and is_speed(peak.convolution_gflop_per_s)
        assert peak.highest == max(peak.matrix_gflop_per_s, peak.convolution_gflop_per_s)  # type: ignore[type-var]
        assert machine.peak(peak.precision) == peak.highest and not peak.reason
    if not has_bfloat16:
        assert bfloat16 == Peak(
            "bfloat16", None, None, "this processor has no bfloat16 instructions"
        )
        assert machine.peak("bfloat16") is None


def test_a_size_that_is_over_too_soon_gives_way_to_the_next() -> None:
    asked: list[int] = []

    def make(size: int) -> tuple[Any, int]:
        asked.append(size)
        return lambda: None, size

    speed = bench._gflop_per_s(make, (1, 2, 3), CPU)
    assert asked == [1, 2, 3] and is_speed(speed)


def test_the_shortest_repeat_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 15.0, 20.0, 22.0, 30.0, 39.0, 40.0])
    monkeypatch.setattr(bench, "LEAST_REPEATS", 3)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    assert bench._shortest_s(lambda: None, CPU, enough_s=0.0) == 2.0


# --- The work ------------------------------------------------------------------------------------


def test_the_multiply_adds_of_known_networks() -> None:
    image = networks.build("conv(12, 3) relu maxpool(2)", Layout(3, (32, 32), 1), outputs=10)
    each = 32 * 32 * 12 * (3 * 3 * 3) + 16 * 16 * 12 * 10
    assert bench.multiply_adds_of(image, 1, None) == each
    assert bench.multiply_adds_of(image, 128, None) == 128 * each
    series = networks.build("lstm(64) last", Layout(9), outputs=10)
    step, head = 4 * 64 * (9 + 64), 64 * 10
    assert bench.multiply_adds_of(series, 2, (100, 100)) == 2 * (100 * step + head)


def test_steps_in_the_padding_are_not_counted() -> None:
    series = networks.build("lstm(64) last", Layout(9), outputs=10)
    step, head = 4 * 64 * (9 + 64), 64 * 10
    found = bench.multiply_adds_of(series, 3, (50, 100, 50))
    assert found == 200 * step + 3 * head


def test_layers_that_thin_time_count_the_steps_that_they_leave() -> None:
    series = networks.build("conv(8, time=3, stride=2) lstm(4) last", Layout(2), outputs=3)
    of_conv = 8 * 3 * 2
    of_lstm = 4 * 4 * (8 + 4)
    assert bench.multiply_adds_of(series, 1, (7,)) == 4 * of_conv + 4 * of_lstm + 4 * 3


def test_lengths_are_spread_from_the_fewest_to_the_most() -> None:
    assert bench.lengths_of("7", 3) == (7, 7, 7)
    found = bench.lengths_of("50-100", 51)
    assert found == tuple(range(50, 101))
    assert bench.lengths_of("50-100", 1) == (50,)


# --- A step --------------------------------------------------------------------------------------


def test_the_share_is_what_is_reached_of_the_peak() -> None:
    found = bench.step_speed("float32", 0.5, MACHINE, items=128, multiply_adds=10**9)
    assert found.items_per_s == 256
    assert found.gflop_per_s == pytest.approx(3 * 2 * 1.0 / 0.5)  # three products, two operations
    assert found.share == found.gflop_per_s / 100.0  # the matrix product is the higher
    found = bench.step_speed("bfloat16", 0.5, MACHINE, items=128, multiply_adds=10**9)
    assert found.share == found.gflop_per_s / 200.0  # the convolution is the higher


def test_without_a_peak_there_is_no_share() -> None:
    machine = Machine("m", 1, "2", (Peak("bfloat16", None, None, "none"),), 1.0)
    assert bench.step_speed("bfloat16", 1.0, machine, items=1, multiply_adds=1).share is None


def test_a_step_is_timed_in_what_auto_takes_and_in_the_other(has_bfloat16: bool) -> None:
    found = speed_of("conv(4, 3) batchnorm relu dropout(0.5)", Layout(1, (6, 6), steps=1))
    both = ["float32", "bfloat16"] if has_bfloat16 else ["float32"]
    assert sorted(each.precision for each in found.speeds) == sorted(both)
    assert found.speeds[0].precision == found.auto and found.auto in found.reason
    for each in found.speeds:
        assert is_speed(each.seconds) and is_speed(each.gflop_per_s)
        assert each.items_per_s == 4 / each.seconds
        assert each.gflop_per_s == 3 * 2 * found.multiply_adds / each.seconds / 1e9
        peak = MACHINE.peak(each.precision)
        assert peak is not None and each.share == each.gflop_per_s / peak
    assert found.steps is None and found.batch_size == 4


def test_what_stays_in_float32_is_said() -> None:
    told = "what recurrent layers add up stays in float32"
    found = speed_of("lstm(4) last", Layout(2), steps="3-6")
    assert any(told in note for note in found.notes) == (len(found.speeds) == 2)
    assert found.steps == "3-6"
    assert not any(told in note for note in speed_of("mean dense(5)", Layout(2), steps="3").notes)


def test_a_peak_that_is_too_low_is_doubted() -> None:
    slow = Machine("m", 1, "2", (Peak("float32", 1e-9, 1e-9), Peak("bfloat16", 1e-9, 1e-9)), 1.0)
    for machine, is_doubted in ((slow, True), (MACHINE, False)):
        subject = bench.subject_of("flatten dense(3)", "4x4x1")
        found = bench.measure_network(subject, machine, batch_size=2, device=CPU)
        assert any("measure again" in note for note in found.notes) == is_doubted


@pytest.mark.parametrize(
    ("answers", "each"),
    [
        (Answers("classify"), False),
        (Answers("classify"), True),
        (Answers("labels"), False),
        (Answers("labels"), True),
        (Answers("regress", (0.0,) * 5, (1.0,) * 5), False),
        (Answers("forecast"), False),
    ],
)
def test_every_task_has_a_step(answers: Answers, each: bool) -> None:
    found = speed_of("lstm(4)", Layout(2), answers, each=each, steps="2-4")
    assert all(is_speed(one.gflop_per_s) for one in found.speeds)


@pytest.mark.parametrize(
    ("notation", "layout", "steps"),
    [
        ("embed(4) lstm(4) last", Layout(1, vocabulary=9), "5"),
        ("spell(4) lstm(4) last", Layout(1 + 6, vocabulary=9, alphabet=7), "5"),
        ("conv(4, 3, time=3) relu flatten lstm(4)", Layout(1, (8,)), "3-5"),
        ("conv(4, 3) relu globalpool mean", Layout(3, (8, 8), steps=4), None),
    ],
    ids=["texts", "tokens", "sounds", "clips"],
)
def test_every_kind_of_input_has_a_step(notation: str, layout: Layout, steps: str | None) -> None:
    found = speed_of(notation, layout, steps=steps)
    assert all(is_speed(one.gflop_per_s) for one in found.speeds)


def test_the_network_that_was_given_keeps_its_weights() -> None:
    subject = bench.subject_of("conv(2, 3) relu flatten dense(3)", "6x6x1")
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    bench.measure_network(subject, MACHINE, batch_size=2, device=CPU)
    after = subject.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("notation", "width"),
    [
        ("lstm(4) last", 10),
        ("lstm(4) last dense(3)", 3),
        ("dense(3) softmax", 3),
        ("dense(8) relu", 10),
        ("tiny", 10),
    ],
)
def test_a_network_without_a_last_layer_gets_one_for_ten_classes(notation: str, width: int) -> None:
    network = bench.subject_of(notation, "9x9x1" if notation == "tiny" else "Tx9").network
    assert network.steps[-1].after.channels == width
    assert str(network.notation).count("dense") == 1 + (notation == "dense(8) relu")


# --- The command ---------------------------------------------------------------------------------


def test_the_command_prints_peaks_steps_and_what_they_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "--batch-size", "2"]) == 0
    out = capsys.readouterr().out
    for words in (
        "This machine: ",
        "1 thread, PyTorch ",
        "matrix product",
        "A large copy moves ",
        "28x28x1 -> conv(32, 3) relu",
        "T x 9 -> lstm(64) last dense(10)",
        "2 items of 100 steps; ",
        "which auto takes",
        "of the peak",
        "bound by arithmetic",
    ):
        assert words in out, words
    assert "nan" not in out.lower()
    assert out.rstrip().splitlines()[-1].startswith("A step near the peak")


def test_a_missing_peak_is_said(has_bfloat16: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "flatten dense(3)", "--input", "4x4x1", "--batch-size", "2"]) == 0
    said = "bfloat16 is left out: this processor has no bfloat16 instructions."
    assert (said in capsys.readouterr().out) != has_bfloat16


def test_json_is_all_that_stands_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "lstm(4) last", "--input", "Tx3", "--steps", "4-8", "--batch-size", "2"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"machine", "networks"}
    assert [peak["precision"] for peak in found["machine"]["peaks"]] == ["float32", "bfloat16"]
    [network] = found["networks"]
    assert network["notation"] == "lstm(4) last dense(10)" and network["steps"] == "4-8"
    assert network["multiply_adds"] == 12 * 4 * 4 * (3 + 4) + 2 * 40
    assert 1 <= network["threads"] <= found["machine"]["threads"]
    for speed in network["speeds"]:
        assert is_speed(speed["seconds"]) and is_speed(speed["gflop_per_s"])


def test_a_model_file_brings_its_own_size(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from gridcell.model import Model
    from gridcell.model_file import Description
    from gridcell.preparation import ImagePreparation

    prep = ImagePreparation(6, 6, 1, "stretch", mean=(0.0,), deviation=(1.0,))
    network = networks.build("flatten", prep.layout, outputs=2, mean=(0.0,), deviation=(1.0,))
    answers = Answers("classify")
    described = Description(
        "images", "classify", ("a", "b"), network.notation, prep, answers, ((1.0, 1.0),), {}
    )
    file = tmp_path / "model.gridcell"
    Model(network, described).save(file)
    assert main(["bench", str(file), "--batch-size", "2"]) == 0
    assert "6x6x1 -> flatten dense(2)" in capsys.readouterr().out
    assert main(["bench", str(file), "--input", "6x6x1"]) == 2
    assert "input has no effect on a model file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["conv(32, 3) rleu", "--input", "8x8x1"], "Did you mean relu?"),
        (["conv(32, 3", "--input", "8x8x1"], "conv(32, 3"),
        (["lsmt", "--input", "Tx9"], "lsmt is neither a preset"),
        (["conv(32, 3)", "--input", "8"], "input '8' is not a size."),
        (["conv(32, 3)"], "bench needs the size of the input."),
        (["maxpool(16)", "--input", "8x8x1"], "maxpool(16) does not fit"),
        (["--input", "8x8x1"], "input has no effect without a network."),
        (["--steps", "8"], "steps has no effect without a network."),
        (["relu", "--input", "8x8x1", "--steps", "8"], "steps has no effect on 8x8x1"),
        (["mean", "--input", "Tx9", "--steps", "0"], "steps '0' is no number of steps."),
        (["mean", "--input", "Tx9", "--steps", "9-5"], "steps '9-5' is no number of steps."),
        (["mean", "--input", "Tx9", "--steps", "many"], "write 100, or 50-100"),
        (
            ["conv(4, time=9, padding=valid) mean", "--input", "Tx9", "--steps", "5"],
            "the smallest input that works is 9 steps",
        ),
        (["--batch-size", "0"], "batch_size = 0 is out of range"),
        (["missing.gridcell"], "missing.gridcell does not exist."),
    ],
)
def test_bad_input_is_refused_with_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gridcell: ") and said in err and "Traceback" not in err


def test_what_cannot_be_built_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def must_not_run(device: torch.device) -> Machine:
        raise AssertionError("nothing was to be measured")

    monkeypatch.setattr(bench, "measure_machine", must_not_run)
    assert main(["bench", "conv(32, 3) rleu", "--input", "8x8x1"]) == 2
    assert main(["bench", "relu", "--input", "8x8x1", "--steps", "8"]) == 2
    assert capsys.readouterr().out == ""


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    assert "Example: gridcell bench" in " ".join(capsys.readouterr().out.split())
    assert main(["--help"]) == 0
    assert " bench " in capsys.readouterr().out
