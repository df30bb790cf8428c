"""A prefill step of fewer tokens than its chunk computes these only, and nobody can tell what else is in memory."""

import json
import subprocess

import numpy as np
import pytest

import elutq
from elutq.export import export_model
from tiny_models import CONFIGS, random_weights, write_checkpoint

CHUNK, VOCABULARY = 32, 96
# Wide enough that norms, tables and the gate of the MLP are parallel loops, too.
CONFIG = {**CONFIGS["gemma3"], "hidden_size": 256, "intermediate_size": 2048, "head_dim": 32, "vocab_size": VOCABULARY}


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    write_checkpoint(folder / "hf", CONFIG, random_weights(CONFIG, seed=5))
    export_model(folder / "hf", folder / "onnx")
    return folder / "onnx" / "model.onnx"


@pytest.fixture(scope="module", params=["lut", "dot"])
def model(request, onnx, compiler, tmp_path_factory):
    output = tmp_path_factory.mktemp(request.param) / "short"
    elutq.compile(onnx, output, emit="lib", quantize="hlq:bits=3,group=32",
                  arguments=[f"--chunk={CHUNK}", f"--algorithm={request.param}"])
    with elutq.Model(output.with_name("libshort.so"), threads=2) as model:
        yield model


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(7).integers(1, VOCABULARY, 3 * CHUNK)


@pytest.mark.parametrize("count", [1, 3, 8, 9, 31, 32, 33, 40])
def test_memory_of_a_longer_step_makes_no_difference(model, tokens, count):
    expected = model.session(prefill_chunk=CHUNK).prefill(tokens[:count]).copy()
    assert np.isfinite(expected).all() and expected.std() > 0
    used = model.session(prefill_chunk=CHUNK)
    used.prefill(tokens[::-1])
    used.reset()
    np.testing.assert_array_equal(used.prefill(tokens[:count]), expected)
    # What follows reads the keys and values of these tokens and of no other row.
    fresh = model.session(prefill_chunk=CHUNK)
    fresh.prefill(tokens[:count])
    for token in tokens[count:count + 5]:
        np.testing.assert_array_equal(used.decode(int(token)), fresh.decode(int(token)))


@pytest.mark.parametrize("chunk", [1, 5, 8, 13])
def test_cut_makes_no_difference(model, tokens, chunk):
    whole = model.session(prefill_chunk=CHUNK).prefill(tokens[:40]).copy()
    np.testing.assert_array_equal(model.session(prefill_chunk=chunk).prefill(tokens[:40]), whole)


def test_fewer_items(onnx, compiler, tmp_path):
    """A parallel loop over rows ends behind those that there are."""
    chat, trace = tmp_path / "short", tmp_path / "trace.json"
    subprocess.run([compiler, onnx, "-q", "-o", chat, f"--chunk={CHUNK}", "--quantize=hlq:bits=3,group=32"], check=True)

    def count_items(tokens):
        command = [chat, "--bench", f"{tokens},1", "--repeat", "1", "--threads", "1", "--trace", trace]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        events = json.loads(trace.read_text())["traceEvents"]
        step = next(event for event in events if event.get("cat") == "step" and event["name"] == "prefill")
        assert step["args"]["tokens"] == tokens
        items = {"attention": 0, "quantize_rows": 0, "code_matmul": 0}
        for event in events:
            kind = event["name"].split(" ")[0]
            if event.get("cat") == "task" and kind in items and event["ts"] < step["ts"] + step["dur"]:
                items[kind] += event["args"]["items"]
        return items

    full, short = count_items(CHUNK), count_items(6)
    assert 0 < short["attention"] < full["attention"] and 0 < short["quantize_rows"] < full["quantize_rows"]
    # Products are cut by the rows of weights: as many items, each of fewer rows of activations.
    assert short["code_matmul"] == full["code_matmul"] > 0
