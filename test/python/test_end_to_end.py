"""The compiled Gemma 3 270M against ONNX Runtime, and against itself: chunks, threads, entry points.

scripts/test exports the model and sets ELUTQ_MODEL_DIR and ELUTQ_BUILD_DIR.
"""
import os
import pathlib
import subprocess

import numpy as np
import onnxruntime
import pytest
from dequantized_model import write_dequantized
from tokenizers import Tokenizer

MODEL = pathlib.Path(os.environ.get("ELUTQ_MODEL_DIR", ""))
COMPILE = pathlib.Path(os.environ.get("ELUTQ_BUILD_DIR", "")) / "bin" / "elutq-compile"
PROMPT = "The capital of France is"
CONTINUATION = (" the capital of the country of France. It is the largest city in France and the second largest city in "
                "Europe.")
BOS = 2
W4 = ("--quantize=hlq:bits=4,group=128,embedding=4,head=4", "--max-context=1024")

pytestmark = pytest.mark.skipif(not (MODEL / "model.onnx").exists() or not COMPILE.exists(),
                                reason="needs ELUTQ_MODEL_DIR and ELUTQ_BUILD_DIR, which scripts/test sets")


def run(*command: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)


def compile_model(target: pathlib.Path, *options: str) -> pathlib.Path:
    run(COMPILE, MODEL / "model.onnx", "-q", *options, "-o", target)
    return target


def tokenize(text: str) -> list[int]:
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    return [BOS] + tokenizer.encode(text, add_special_tokens=False).ids


def real_text(count: int) -> list[int]:
    """The first tokens of NumPy's documentation."""
    text = "\n".join(np.__dict__[name].__doc__ for name in ("einsum", "histogram", "percentile", "linalg"))
    return tokenize(text)[:count]


def reference_logits(model: pathlib.Path, tokens: list[int], unoptimized: bool = False) -> np.ndarray:
    """[positions, vocabulary] by ONNX Runtime, in one call without a past."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    if unoptimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = {value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
             for value in session.get_inputs() if value.name.startswith("past_key_values")}
    feeds["input_ids"] = np.array([tokens], np.int64)
    feeds["position_ids"] = np.arange(len(tokens), dtype=np.int64)[None]
    return session.run(["logits"], feeds)[0][0]


def logits(chat: pathlib.Path, tokens: list[int], tmp_path: pathlib.Path, *options: str) -> np.ndarray:
    """One row per position when fed by decode, the last row alone when fed by prefill."""
    file = tmp_path / "logits.bin"
    run(chat, "--tokens", ",".join(map(str, tokens)), "--raw", "-n", "1", "--logits", file, *options)
    values = np.fromfile(file, np.float32)
    file.unlink()
    return values.reshape(-1, 262144)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def float_chat(workspace: pathlib.Path) -> pathlib.Path:
    return compile_model(workspace / "chat-float", "--quantize=none", "--kv-cache=f32", "--max-context=1024")


@pytest.fixture(scope="session")
def w4_chat(workspace: pathlib.Path) -> pathlib.Path:
    return compile_model(workspace / "chat-w4", *W4)


def test_float_logits_match_onnx_runtime(float_chat, tmp_path):
    tokens = real_text(70)
    expected = reference_logits(MODEL / "model.onnx", tokens)
    actual = logits(float_chat, tokens, tmp_path)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 1e-3 * np.abs(expected).max()


def test_float_prefill_matches_onnx_runtime(float_chat, tmp_path):
    tokens = real_text(70)  # More than one chunk, the second one padded.
    expected = reference_logits(MODEL / "model.onnx", tokens)[-1]
    actual = logits(float_chat, tokens, tmp_path, "--feed", "prefill")[-1]
    assert np.abs(actual - expected).max() <= 1e-3 * np.abs(expected).max()


def test_float_greedy_text(float_chat):
    result = run(float_chat, "--prompt", PROMPT, "-n", "25")
    assert CONTINUATION.strip() in result.stdout


@pytest.fixture(scope="session")
def w4_model(workspace: pathlib.Path) -> pathlib.Path:
    return compile_model(workspace / "w4.onnx", *W4, "--emit=hlq-onnx")


@pytest.fixture(scope="session")
def w4_reference(workspace: pathlib.Path, w4_model: pathlib.Path) -> np.ndarray:
    """[512, vocabulary] by ONNX Runtime in float, with the weights that the planes of the quantized model stand for."""
    dequantized = workspace / "w4-dequantized.onnx"
    write_dequantized(w4_model, dequantized)
    expected = reference_logits(dequantized, real_text(512))
    for file in workspace.glob("w4-dequantized.onnx*"):
        file.unlink()
    return expected


def test_quantized_model_runs_in_onnx_runtime(w4_model, w4_reference):
    """Unmodified, by its function bodies; without optimizations, which would expand all weights at once."""
    actual = reference_logits(w4_model, real_text(512)[:8], unoptimized=True)
    assert np.abs(actual - w4_reference[:8]).max() <= 1e-4 * np.abs(w4_reference[:8]).max()


def test_w4_logits_match_onnx_runtime(w4_chat, w4_reference, tmp_path):
    """The error that tables of 16 bits and a cache in f16 add to the quantized weights, over 512 positions."""
    actual = logits(w4_chat, real_text(512), tmp_path)
    assert actual.shape == w4_reference.shape
    error = np.abs(actual - w4_reference).max(axis=1)
    span = w4_reference.max(axis=1) - w4_reference.min(axis=1)
    agreement = (actual.argmax(axis=1) == w4_reference.argmax(axis=1)).mean()
    print(f"error / range: max {np.max(error / span):.4f}, mean {np.mean(error / span):.4f}; top-1 {agreement:.4f}")
    assert np.max(error / span) <= 0.005
    assert agreement >= 0.99


def test_w4_prefill_matches_onnx_runtime(w4_chat, w4_reference, tmp_path):
    """The same for prefill, whose products round activations to 14 bits and weights to 12."""
    tokens, errors, spans = real_text(512), [], []
    for count in (64, 100, 257, 512):
        actual, expected = logits(w4_chat, tokens[:count], tmp_path, "--feed", "prefill")[-1], w4_reference[count - 1]
        errors.append(np.abs(actual - expected).max())
        spans.append(expected.max() - expected.min())
    print("error / range:", np.array(errors) / np.array(spans))
    assert (np.array(errors) <= 0.005 * np.array(spans)).all()


def test_threads_do_not_change_a_bit(w4_chat, tmp_path):
    tokens = real_text(80)
    for feed in ("decode", "prefill"):
        one = logits(w4_chat, tokens, tmp_path, "--threads", "1", "--feed", feed)
        two = logits(w4_chat, tokens, tmp_path, "--threads", "2", "--feed", feed)
        assert one.tobytes() == two.tobytes()


def test_consistent_prefill_equals_decode(workspace, tmp_path):
    chat = compile_model(workspace / "chat-consistent", "--quantize=hlq:bits=3,group=128,embedding=4,head=4", "--max-context=1024",
                         "--consistent")
    tokens = real_text(600)  # Beyond the window of 512, so that the ring caches wrap.
    decode = logits(chat, tokens, tmp_path)[-1]
    prefill = logits(chat, tokens, tmp_path, "--feed", "prefill")[-1]
    assert decode.tobytes() == prefill.tobytes()
