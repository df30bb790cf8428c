"""Compiles a miniature decoder through the pipelines of stages 4 to 6, runs it and compares with NumPy."""

import ctypes
import os
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest

import decoder_model as decoder

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ELUTQ_BUILD", SOURCE / "build" / "release"))
OPT = BUILD / "bin" / "elutq-opt"
CONTEXT, CHUNK = 150, 16

LLVM = pathlib.Path(os.environ.get("ELUTQ_LLVM_BIN", "/usr/lib/llvm-22/bin"))
if not (LLVM / "mlir-translate").exists():
    LLVM = pathlib.Path(shutil.which("mlir-translate") or "mlir-translate").parent

pytestmark = pytest.mark.skipif(not OPT.exists(), reason="elutq-opt is not built")

# Runs the iterations in pieces of one or of all, from the last to the first: the results must not depend on it.
PARALLEL_FOR = """
#include <stdint.h>
int64_t elutq_test_piece = 1;
typedef void (*task_fn)(int64_t, int64_t, void *, const void *, void *, const int64_t *);
void elutq_parallel_for(task_fn task, int64_t n, void *arena, const void *weights, void *cache, const int64_t *args) {
  for (int64_t end = n; end > 0; end -= elutq_test_piece)
    task(end > elutq_test_piece ? end - elutq_test_piece : 0, end, arena, weights, cache, args);
}
"""


def opt(text, *flags):
    return subprocess.run([str(OPT), *flags], input=text, text=True, capture_output=True, check=True).stdout


class Model:
    """One compiled module and its memory."""

    def __init__(self, directory, weights, layers, middle):
        self.weights, self.layers = weights, layers
        text = decoder.module_text(weights, layers, CONTEXT, CHUNK)
        planned = opt(text, "-elutq-tile-and-bufferize")
        lowered = opt(planned, middle, "-elutq-lower-to-llvm")
        (directory / "model.mlir").write_text(lowered)
        (directory / "parallel.c").write_text(PARALLEL_FOR)
        subprocess.run([LLVM / "mlir-translate", "--mlir-to-llvmir", directory / "model.mlir", "-o", directory / "model.ll"],
                       check=True)
        subprocess.run([LLVM / "clang", "-O2", "-march=native", "-ffp-contract=off", "-Wno-override-module", "-shared", "-fPIC",
                        directory / "model.ll", directory / "parallel.c", "-lm", "-o", directory / "model.so"], check=True)
        self.library = ctypes.CDLL(str(directory / "model.so"))

        def number(name):
            return int(re.search(name + r" = (\d+) : i64", lowered).group(1))

        # Garbage wherever nothing was written yet, as a new session may find it.
        self.arena = self.buffer(number("arena_bytes"), 0xA5)
        self.cache = self.buffer(number("cache_bytes"), 0xFF)
        self.data = self.buffer(number("weights_bytes"), 0)
        table = re.search(r"elutq.weights = \[(.*?)\](?:,|\})", lowered).group(1)
        for offset, name in re.findall(r"offset = (\d+) : i64, value = dense_resource<(\w+)>", table):
            raw = np.ascontiguousarray(weights[name]).view(np.uint8).ravel()
            self.data[int(offset) : int(offset) + raw.size] = raw

    @staticmethod
    def buffer(size, value):
        raw = np.full(size + 64, value, np.uint8)
        start = -raw.ctypes.data % 64
        return raw[start : start + size]

    def call(self, name, tokens, count, position):
        tokens = np.ascontiguousarray(tokens, np.int64)
        logits = np.zeros(decoder.VOCAB, np.float32)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (self.arena, self.data, self.cache, logits)]
        getattr(self.library, name)(ctypes.c_void_p(tokens.ctypes.data), ctypes.c_int64(count), ctypes.c_int64(position),
                                    *pointers)
        return logits

    def decode(self, tokens):
        """Logits after every token, one at a time."""
        self.cache[:] = 0xFF
        return np.stack([self.call("elutq_entry_decode", [t], 1, i) for i, t in enumerate(tokens)])

    def prefill(self, tokens, step):
        """Logits after every `step` tokens, in chunks."""
        self.cache[:] = 0xFF
        results = []
        for start in range(0, len(tokens), step):
            part = tokens[start : start + step]
            padded = np.zeros(CHUNK, np.int64)
            padded[: len(part)] = part
            results.append(self.call("elutq_entry_prefill", padded, len(part), start))
        return np.stack(results)

    def set_piece(self, iterations):
        ctypes.c_int64.in_dll(self.library, "elutq_test_piece").value = iterations


@pytest.fixture(scope="module", params=["-elutq-vectorize", "-elutq-to-loops"])
def model(request, tmp_path_factory):
    return Model(tmp_path_factory.mktemp("decoder"), decoder.make_weights(2), 2, request.param)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(1).integers(0, decoder.VOCAB, CONTEXT)


def test_decode_agrees_with_numpy(model, tokens):
    expected = decoder.reference(model.weights, model.layers, tokens)
    # Keys and values that round to another f16 than in the reference are worth 1e-3.
    np.testing.assert_allclose(model.decode(tokens), expected, atol=4e-3 * np.abs(expected).max())


def test_chunks_give_the_bits_of_single_tokens(model, tokens):
    single = model.decode(tokens)
    for step in (1, 7, CHUNK):
        rows = [min(i + step, len(tokens)) - 1 for i in range(0, len(tokens), step)]
        np.testing.assert_array_equal(model.prefill(tokens, step).view(np.int32), single[rows].view(np.int32))


def test_pieces_of_parallel_loops_do_not_matter(model, tokens):
    one = model.decode(tokens)
    model.set_piece(1 << 40)
    np.testing.assert_array_equal(model.decode(tokens).view(np.int32), one.view(np.int32))
    model.set_piece(1)


def test_code_does_not_grow_with_depth():
    def functions(layers):
        text = decoder.module_text(decoder.make_weights(layers), layers, CONTEXT, CHUNK)
        return len(re.findall(r"func.func private @\w+_task_", opt(text, "-elutq-tile-and-bufferize")))

    assert functions(4) == functions(8)
