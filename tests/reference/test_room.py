"""What holds for the whole room: it stands alone, its examples run, and it keeps the dtype."""

import ast
import doctest
import importlib
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gridcell import reference as ref

FOLDER = Path(ref.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
NAMES = [path.stem for path in FILES]
ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "elu", "gelu", "silu"]
ACTIVATIONS += ["softmax", "log_softmax"]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_run(name):
    whole = "gridcell.reference" if name == "__init__" else f"gridcell.reference.{name}"
    importlib.import_module(whole)
    assert doctest.testmod(sys.modules[whole]).failed == 0


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_nothing_but_numpy_and_the_standard_library_is_imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1  # a neighbour in this folder
        for name in names:
            assert name.split(".")[0] in {"numpy", *sys.stdlib_module_names}


def test_a_copy_of_the_folder_runs_on_its_own(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "textbook", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import textbook;"
        "assert not {'torch', 'gridcell'} & set(sys.modules);"
        "print(textbook.conv([[[1, 2, 3]]], [[[1, 10]]]).tolist())"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[[[21.0, 32.0, 3.0]]]"


@pytest.mark.parametrize("name", ref.__all__)
def test_every_function_has_a_first_sentence_and_an_example(name):
    text = inspect.getdoc(getattr(ref, name))
    assert text.split("\n")[0].rstrip(".:")[0].isupper()
    assert ">>>" in text


def test_every_layer_has_its_gradient():
    layers = {name for name in ref.__all__ if not name.endswith("_backward")}
    without = {"erf", "lstm_trace", "padding_cells", "running_statistics", "whitening_filters"}
    assert {f"{name}_backward" for name in layers - without} == set(ref.__all__) - layers


def outputs(dtype):
    """The outputs of every function, for inputs of one dtype."""

    def ones(*shape):
        return np.ones(shape, dtype)

    def ramp(*shape):
        return np.arange(np.prod(shape)).reshape(shape).astype(dtype)

    x, weight, bias = ramp(2, 4, 6), ones(2, 2, 3), ones(2)
    rows = ramp(2, 3)
    fixed = {"mean": ones(4), "variance": ones(4)}
    yield "conv", ref.conv(x, weight, bias, groups=2)
    yield "conv_backward", *ref.conv_backward(ones(2, 2, 6), x, weight, groups=2)
    yield "delta", ref.delta(x)
    yield "delta_backward", ref.delta_backward(x)
    yield "dense", ref.dense(rows, ones(4, 3), ones(4))
    yield "dense_backward", *ref.dense_backward(ones(2, 4), rows, ones(4, 3))
    yield "max_pool", ref.max_pool(x, 2)
    yield "max_pool_backward", ref.max_pool_backward(ones(2, 4, 3), x, 2)
    yield "average_pool", ref.average_pool(x, 2)
    yield "average_pool_backward", ref.average_pool_backward(ones(2, 4, 3), x, 2)
    yield "global_average_pool", ref.global_average_pool(x)
    yield "global_average_pool_backward", ref.global_average_pool_backward(ones(2, 4), x)
    yield "batchnorm", ref.batchnorm(x, ones(4), ones(4))
    yield "batchnorm_backward", *ref.batchnorm_backward(ones(2, 4, 6), x, ones(4))
    yield "batchnorm_evaluation", ref.batchnorm_evaluation(x, ones(4), ones(4), **fixed)
    yield (
        "batchnorm_evaluation_backward",
        *ref.batchnorm_evaluation_backward(ones(2, 4, 6), x, ones(4), **fixed),
    )
    yield "running_statistics", *ref.running_statistics(x, ones(4), ones(4))
    yield "layernorm", ref.layernorm(rows, ones(3), ones(3))
    yield "layernorm_backward", *ref.layernorm_backward(ones(2, 3), rows, ones(3))
    same = {"body": lambda h: h, "by": "mean"}
    yield "reversible", ref.reversible(rows, **same)
    yield (
        "reversible_backward",
        ref.reversible_backward(ones(2, 3), rows, body_backward=lambda grad, _: grad, **same),
    )
    yield "cross_entropy_backward", ref.cross_entropy_backward(1.0, rows, [0, 2], smoothing=0.1)
    yield (
        "binary_cross_entropy_backward",
        ref.binary_cross_entropy_backward(1.0, rows, ones(2, 3)),
    )
    yield "huber_backward", ref.huber_backward(1.0, rows, ones(2, 3))
    for name in ACTIVATIONS:
        yield name, getattr(ref, name)(rows)
        yield f"{name}_backward", getattr(ref, f"{name}_backward")(ones(2, 3), rows)
    yield "whitening_filters", ref.whitening_filters(x, (2,))
    yield "erf", ref.erf(rows)
    weights = [[{"input": ones(8, 6), "recurrent": ones(8, 2), "bias": ones(8)}]]
    yield "lstm", *ref.lstm(x, weights, zoneout_c=0.1)
    grad_x, grads, *grad_state = ref.lstm_backward(ones(2, 4, 2), x, weights, zoneout_c=0.1)
    yield "lstm_backward", grad_x, *grads[0][0].values(), *grad_state
    yield "lstm_trace", *ref.lstm_trace(x, weights).values()
    weights = [[{"input": ones(2, 6), "recurrent": ones(2, 2), "bias": ones(2)}]]
    yield "rnn", *ref.rnn(x, weights)
    grad_x, grads, grad_h = ref.rnn_backward(ones(2, 4, 2), x, weights)
    yield "rnn_backward", grad_x, *grads[0][0].values(), grad_h


@pytest.mark.parametrize(
    ("given", "wanted"), [(np.float64, np.float64), (np.float32, np.float32), (int, np.float64)]
)
def test_floats_keep_their_precision_and_integers_become_float64(given, wanted):
    seen = set()
    for name, *arrays in outputs(given):
        seen.add(name)
        for array in arrays:
            assert array.dtype == wanted, name
    numbers = {"padding_cells", "cross_entropy", "binary_cross_entropy", "huber"}
    assert seen == set(ref.__all__) - numbers


def test_inputs_are_left_as_they_were():
    for dtype in (np.float64, np.float32):
        x, weight, grad_y = (
            np.ones((1, 2, 4), dtype),
            np.ones((2, 2, 3), dtype),
            np.ones((1, 2, 4), dtype),
        )
        for array in (x, weight, grad_y):
            array.flags.writeable = False
        ref.conv_backward(grad_y, x, weight)
        ref.max_pool_backward(grad_y, x, 1)
        ref.average_pool_backward(grad_y, x, 1)
        ref.batchnorm_backward(grad_y, x, np.ones(2), valid=[[1, 1, 0, 0]])
        ref.relu_backward(grad_y, x)
        ref.cross_entropy_backward(1.0, x, [[0, 1]], valid=[[True, False]])
