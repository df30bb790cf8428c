"""What PyTorch exports of models that are no decoders compiles unmodified, and computes what ONNX Runtime computes.

Runs on the files that export_encoder.py left in the folder ELUTQ_EXPORTS (scripts/test exporters makes them). Adds the results to results.json there,
of which model_table.py makes docs/Models.md.
"""

import numpy as np
import onnxruntime
import pytest

import elutq
from encoders import ENCODER_EXPORTERS, ENCODERS, graphs_of
from sentence_table import cosines, embeddings, load_tokenizer, quantize, read_sentences, write_calibration
from test_exporters import BOUND, exports, record  # noqa: F401: a fixture

PAIRS = [(exporter, architecture) for exporter in ENCODER_EXPORTERS for architecture in ENCODERS]
BATCH, LENGTH, SOURCE = 3, 9, 7
LENGTHS = [9, 4, 7]


def shape_of(architecture: str, graph: str) -> str:
    """Larger than what is fed, so that padding is tested, too."""
    sizes = {"batch": BATCH + 1}
    if architecture in ("bert", "minilm", "t5") or graph == "decoder":
        sizes["sequence"] = LENGTH + 3
    if (architecture, graph) == ("t5", "decoder"):
        sizes["source"] = LENGTH + 3
    if graph == "decoder":
        sizes["sequence"] = SOURCE  # Without a mask of its own, a text is not padded.
    return ",".join(f"{name}={size}" for name, size in sizes.items())


def mask_of(left: bool) -> np.ndarray:
    mask = np.zeros((BATCH, LENGTH), np.int64)
    for row, length in zip(mask, LENGTHS):
        row[slice(LENGTH - length, LENGTH) if left else slice(length)] = 1
    return mask


def feeds_of(names: list[str], architecture: str, left: bool, states: np.ndarray | None) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    size = ENCODERS[architecture][1] or {}
    feeds = {"input_ids": random.integers(3, 60, (BATCH, LENGTH)), "attention_mask": mask_of(left), "encoder_attention_mask": mask_of(left),
             "token_type_ids": random.integers(0, 2, (BATCH, LENGTH)), "decoder_input_ids": random.integers(3, 60, (BATCH, SOURCE)),
             "encoder_hidden_states": states}
    if "image_size" in size:
        feeds["pixel_values"] = random.normal(size=(BATCH, 3, size["image_size"], size["image_size"])).astype(np.float32)
    if "num_mel_bins" in size:
        feeds["input_features"] = random.normal(size=(BATCH, size["num_mel_bins"], 2 * size["max_source_positions"])).astype(np.float32)
    return {name: feeds[name] for name in names}


def run_both(folder, libraries, architecture: str, left: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each graph its result and ONNX Runtime's; a decoder takes the states of the encoder that ran before it."""
    results, states = [], (None, None)
    for graph in graphs_of(architecture):
        session = onnxruntime.InferenceSession(str(folder / f"{graph}.onnx"), providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        expected = session.run(None, feeds_of(names, architecture, left, states[0]))[0]
        result = elutq.Graph(libraries / f"{graph}.so").run(feeds_of(names, architecture, left, states[1]))[0]
        states = expected, result
        rows = mask_of(left) == 1
        results.append((result[rows], expected[rows]) if result.shape[:2] == rows.shape else (result, expected))
    return results


@pytest.mark.parametrize("exporter, architecture", PAIRS, ids=map("/".join, PAIRS))
def test_encoder(exporter, architecture, exports, tmp_path):  # noqa: F811
    pair = f"{exporter}/{architecture}"
    folder = exports / pair
    error = folder / "error.txt"
    assert not error.exists(), error.read_text()
    for graph in graphs_of(architecture):
        elutq.compile(folder / f"{graph}.onnx", tmp_path / f"{graph}.so", emit="graph", arguments=[f"--shape={shape_of(architecture, graph)}"])
    worst = 0.0
    for left in (False, True):
        for result, expected in run_both(folder, tmp_path, architecture, left):
            assert result.shape == expected.shape
            worst = max(worst, float(np.abs(result - expected).max() / np.abs(expected).max()))
    record(exports, pair, exported=True, error=worst)
    assert worst <= BOUND


@pytest.mark.parametrize("architecture", [name for name in ENCODERS if name != "minilm"])
def test_quantized_encoder(architecture, exports, tmp_path):  # noqa: F811
    """With 4 bits the compiled graphs compute what ONNX Runtime does with the same planes, dequantized."""
    folder = exports / ENCODER_EXPORTERS[0] / architecture
    for graph in graphs_of(architecture):
        elutq.compile(folder / f"{graph}.onnx", tmp_path / f"{graph}.onnx", emit="hlq-onnx", quantize="hlq:bits=4,group=32")
        elutq.compile(tmp_path / f"{graph}.onnx", tmp_path / f"{graph}.so", emit="graph", arguments=[f"--shape={shape_of(architecture, graph)}"])
    for left in (False, True):
        for result, expected in run_both(tmp_path, tmp_path, architecture, left):
            assert 0 < np.abs(result - expected).max() <= 5e-3 * np.abs(expected).max()


def test_sentence_embeddings_at_4_bits(exports, tmp_path):  # noqa: F811
    """The real model: the embeddings of sentences that are not those of the calibration."""
    model = exports / ENCODER_EXPORTERS[-1] / "minilm/model.onnx"
    tokenizer, texts = load_tokenizer(model), read_sentences()
    windows = write_calibration(tmp_path / "sentences.npz", tokenizer, texts[64:])
    assert windows >= 128
    quantize(model, tmp_path / "q.onnx", 4, tmp_path / "sentences.npz", 128)
    elutq.compile(tmp_path / "q.onnx", tmp_path / "q.so", emit="graph", arguments=["--shape=batch=8,sequence=64"])
    similar = cosines(embeddings(elutq.Graph(tmp_path / "q.so"), tokenizer, texts[:64]), embeddings(model, tokenizer, texts[:64]))
    assert similar.mean() >= 0.99
