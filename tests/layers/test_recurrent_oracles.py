"""Recurrent layers against numbers that others made: ONNX's node tests, and models in wheels.

The models are read out of packages that are installed without their dependencies; where a
package is missing its test is skipped and says so.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gridcell.layers import LSTM, RNN, Activation, Chain, Conv, Dense, Last, LSTMState, RNNState

TO_OURS = {"LSTM": [0, 2, 3, 1], "RNN": [0]}
"""ONNX orders an LSTM's gates i, o, f, c; here they are i, f, g, o."""
NODES = {
    "LSTM": ["defaults", "initial_bias", "peepholes", "batchwise", "reverse", "bidirectional"],
    "RNN": ["defaults", "initial_bias", "seq_length", "batchwise", "reverse", "bidirectional"],
}


def exported(kind, monkeypatch):
    """Every node test of one operator: (node, inputs by name, outputs by name)."""
    pytest.importorskip("onnx")
    module = import_module(f"onnx.backend.test.case.node.{kind.lower()}")
    seen = {}

    def expect(node, inputs, outputs, name):
        given = [name for name in node.input if name]
        wanted = [name for name in node.output if name]
        short = name.partition(f"{kind.lower()}_")[2].removeprefix("with_")
        seen[short] = (
            node,
            dict(zip(given, inputs, strict=True)),
            dict(zip(wanted, outputs, strict=True)),
        )

    monkeypatch.setattr(module, "expect", expect)
    operator = getattr(module, kind)
    for name in dir(operator):
        if name.startswith("export_"):
            getattr(operator, name)()
    return seen


def rows(values, kind):
    """Gate rows in our order."""
    parts = np.split(values, len(TO_OURS[kind]))
    return torch.tensor(np.concatenate([parts[part] for part in TO_OURS[kind]]))


def loaded(kind, given, width):
    """Our layer with a node's weights, which are [directions, rows, ...]."""
    directions, _, channels = given["W"].shape
    options = {"peephole": "P" in given} if kind == "LSTM" else {}
    layer = {"LSTM": LSTM, "RNN": RNN}[kind](channels, width, both=directions == 2, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for direction in range(directions):
            weights = layer.weights(0, direction)
            weights.weight_ih.copy_(rows(given["W"][direction], kind))
            weights.weight_hh.copy_(rows(given["R"][direction], kind))
            if "B" in given:
                for bias, values in zip(
                    (weights.bias_ih, weights.bias_hh),
                    np.split(given["B"][direction], 2),
                    strict=True,
                ):
                    bias.copy_(rows(values, kind))
            if "P" in given:
                i, o, f = np.split(given["P"][direction], 3)
                weights.weight_ch.copy_(torch.tensor(np.concatenate([i, f, o])))
    return layer


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in NODES.items() for name in names]
)
def test_the_node_tests_of_onnx(kind, name, monkeypatch):
    tests = exported(kind, monkeypatch)
    assert sorted(tests) == sorted(NODES[kind])
    node, inputs, wanted = tests[name]
    attributes = {a.name: a.s.decode() if a.s else a.i for a in node.attribute}
    layer = loaded(kind, inputs, attributes["hidden_size"])
    is_batch_first, is_reversed = attributes.get("layout"), attributes.get("direction") == "reverse"

    def turned(values):
        """Examples first: ONNX has time, or the direction, in front."""
        return values if is_batch_first else np.swapaxes(values, 0, 1)

    x = torch.tensor(np.ascontiguousarray(turned(inputs["X"])))
    lengths = inputs.get("sequence_lens")
    lengths = None if lengths is None else torch.tensor(lengths)
    state = None
    if "initial_h" in inputs:
        first = [inputs[n] for n in ("initial_h", "initial_c") if n in inputs]
        state = (LSTMState, RNNState)[kind == "RNN"](*(torch.tensor(each)[None] for each in first))
    y, last = layer.run(x.flip(1) if is_reversed else x, lengths, state)
    y = y.flip(1) if is_reversed else y
    ours = {"Y": y.unflatten(2, (layer.directions, layer.width)), "Y_h": last.h[0].transpose(0, 1)}
    if kind == "LSTM":
        ours["Y_c"] = last.c[0].transpose(0, 1)
    if not is_batch_first:
        ours["Y"] = ours["Y"].permute(1, 2, 0, 3)
        ours |= {n: ours[n].transpose(0, 1) for n in ("Y_h", "Y_c") if n in ours}
    for output, values in wanted.items():
        np.testing.assert_allclose(ours[output].detach().numpy(), values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_onnx_s_own_walk_on_random_weights(kind, direction):
    # The node tests have one number in all weights, which hides an order that is wrong.
    pytest.importorskip("onnx")
    module = import_module(f"onnx.backend.test.case.node.{kind.lower()}")
    random, directions = np.random.default_rng(0), 1 + (direction != "forward")

    def normal(*shape):
        return random.normal(size=shape).astype(np.float32)

    gates = len(TO_OURS[kind])
    given = {
        "X": normal(6, 2, 3),
        "W": normal(directions, gates * 5, 3),
        "R": normal(directions, gates * 5, 5),
        "B": normal(directions, 2 * gates * 5),
        "initial_h": normal(directions, 2, 5),
    }
    if kind == "LSTM":
        given |= {"P": normal(directions, 15), "initial_c": normal(directions, 2, 5)}
    wanted_y, *wanted = getattr(module, f"{kind}Helper")(**given, direction=direction).step()
    first = [torch.tensor(given[n])[None] for n in ("initial_h", "initial_c") if n in given]
    state = (LSTMState, RNNState)[kind == "RNN"](*first)
    y, last = loaded(kind, given, 5).run(torch.tensor(given["X"]).transpose(0, 1), None, state)
    y = y.unflatten(2, (directions, 5)).permute(1, 2, 0, 3)
    np.testing.assert_allclose(y.detach(), wanted_y, rtol=0, atol=1e-5)
    for ours, theirs in zip(last, wanted, strict=True):
        np.testing.assert_allclose(ours[0].detach(), theirs, rtol=0, atol=1e-5)


def file_in(package, *path):
    """A file inside an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    file = Path(spec.origin).parent.joinpath(*path)
    if not file.exists():
        pytest.skip(f"this {package} has no {'/'.join(path)}")
    return file


def test_a_voice_detector_of_convolutions_and_an_lstm_gives_its_probabilities():  # S35
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    file = file_in("silero_vad", "data", "silero_vad_16k_op15.onnx")
    values = {
        each.name: torch.tensor(onnx.numpy_helper.to_array(each))
        for each in onnx.load(str(file)).graph.initializer
    }
    sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
    encoder = []
    for number, (channels, filters, stride) in enumerate(sizes):
        conv = Conv(channels, filters, time=3, grid_axes=0, padding=1, stride=stride)
        name = f"model.encoder.{number}.reparam_conv"
        conv.load_state_dict({n: values[f"{name}.{n}"] for n in ("weight", "bias")})
        encoder += [conv, Activation("relu")]
    lstm, head = LSTM(128, 128), Dense(128, 1)
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    lstm.load_state_dict({f"{n}_l0": values[f"model.decoder.rnn.{n}"] for n in names})
    decoder = "model.decoder.decoder.2"
    head.load_state_dict(
        {"weight": values[f"{decoder}.weight"][..., 0], "bias": values[f"{decoder}.bias"]}
    )
    transform, body = values["model.stft.forward_basis_buffer"], Chain(encoder)

    # A hum that comes and goes in noise, in pieces of 512 samples behind 64 of the piece before.
    random = np.random.default_rng(0)
    time = np.arange(64 + 40 * 512) / 16_000
    sound = 0.02 * random.normal(size=time.size) + sum(
        np.sin(2 * np.pi * 140 * n * time) / n for n in range(1, 20)
    ) * 0.1 * (np.sin(2 * np.pi * 1.5 * time) > 0)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    theirs, state = np.zeros((2, 1, 128), np.float32), None
    probabilities = []
    for start in range(0, 40 * 512, 512):
        piece = sound[None, start : start + 576].astype(np.float32)
        feeds = {"input": piece, "state": theirs, "sr": np.array(16_000, np.int64)}
        wanted, theirs = session.run(None, feeds)
        padded = F.pad(torch.tensor(piece)[:, None], (0, 64), mode="reflect")
        real, imaginary = F.conv1d(padded, transform, stride=128).chunk(2, 1)
        spectrum = (real**2 + imaginary**2).sqrt().transpose(1, 2)
        features = body(spectrum)
        y, state = lstm.step(features[:, 0], state)
        probability = torch.sigmoid(head(torch.relu(y)))
        np.testing.assert_allclose(probability.detach(), wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(torch.cat([state.h[0], state.c[0]]).detach(), theirs, atol=1e-5)
        probabilities.append(wanted.item())
    assert max(probabilities) - min(probabilities) > 0.1


def test_a_voice_encoder_of_three_lstm_layers_gives_its_embeddings():
    file = file_in("resemblyzer", "pretrained.pt")
    values = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
    lstm_values = {n.removeprefix("lstm."): v for n, v in values.items() if n.startswith("lstm.")}
    theirs = nn.LSTM(40, 256, 3, batch_first=True)
    theirs.load_state_dict(lstm_values)
    ours, head = LSTM(40, 256, layers=3), Dense(256, 256)
    ours.load_state_dict(lstm_values)
    head.load_state_dict({"weight": values["linear.weight"], "bias": values["linear.bias"]})
    mel = torch.randn(3, 160, 40, generator=torch.Generator().manual_seed(0)).exp() / 100
    lengths = torch.tensor([160, 97, 1])

    embedding = F.normalize(torch.relu(head(Last()(ours(mel, lengths), lengths))))
    for row, length in enumerate(lengths.tolist()):
        _, (hidden, _) = theirs(mel[row : row + 1, :length])
        wanted = F.normalize(torch.relu(F.linear(hidden[-1], head.weight, head.bias)))
        torch.testing.assert_close(embedding[row : row + 1], wanted, rtol=0, atol=1e-5)
