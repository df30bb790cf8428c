"""GGUF files: container, dequantization, translation to Hugging Face's names and layouts."""

import json
import shutil
import struct
from collections import Counter

import dequantized_model
import gguf
import numpy as np
import onnx
import pytest

import elutq
from elutq.cli import main
from elutq.errors import ExportError
from elutq.export import export_model, open_checkpoint
from elutq.export.gguf_codes import read_codes
from elutq.export.gguf_file import GGUFError, GGUFTensor, read_gguf
from onnx_session import OnnxSession
from tiny_gguf import write_gguf
from tiny_models import CONFIGS, Reference, random_weights

TOKENS = [3, 60, 0, 17, 17, 5, 44, 9, 30]
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0"]
# Of uniform types: bits, group, type of parameters as HLQ, and where a block has numbers in half precision.
UNIFORM = {"Q4_0": (4, 32, "f2", [0]), "Q4_1": (4, 32, "f2", [0, 2]), "Q5_0": (8, 32, "f2", [0]), "Q5_1": (8, 32, "f2", [0, 2]),
           "Q8_0": (8, 32, "f2", [0]), "Q2_K": (2, 16, "f4", [80, 82]), "Q3_K": (3, 16, "f4", [108]), "Q4_K": (4, 32, "f4", [0, 2]),
           "Q5_K": (8, 32, "f4", [0, 2]), "Q6_K": (8, 16, "f4", [208]), "TQ1_0": (2, 256, "f2", [52]), "TQ2_0": (2, 256, "f2", [64])}


@pytest.mark.parametrize("name", ["llama", "llama-linear", "qwen2-global", "qwen3", "gemma3"])
def test_logits_match_the_reference(name, tmp_path):
    config = dict(CONFIGS[name])
    if name == "gemma3":  # what GGUF cannot say is fixed for this architecture
        config |= {"query_pre_attn_scalar": config["head_dim"], "sliding_window_pattern": 6, "rope_local_base_freq": 10000.0,
                   "num_hidden_layers": 7}
        config.pop("rope_scaling")
    weights = random_weights(config, seed=11)
    write_gguf(tmp_path / "model.gguf", config, weights)
    export_model(tmp_path / "model.gguf", tmp_path / "onnx")
    logits = OnnxSession(tmp_path / "onnx").feed(TOKENS)
    np.testing.assert_allclose(logits, Reference(config, weights).logits(TOKENS), rtol=3e-4, atol=3e-5)
    written = json.loads((tmp_path / "onnx" / "config.json").read_text())
    assert {key: written[key] for key in ("model_type", "hidden_size", "vocab_size", "tie_word_embeddings")} == {
        key: config[key] for key in ("model_type", "hidden_size", "vocab_size", "tie_word_embeddings")}


def test_rope_factors_of_llama_3_files(tmp_path):
    config = CONFIGS["llama3"]
    plain = {**config, "rope_scaling": None}
    scaled, unscaled = Reference(config, {}), Reference(plain, {})
    pairs = range(config["head_dim"] // 2)
    factors = np.array([unscaled.frequency(0, pair) / scaled.frequency(0, pair) for pair in pairs])
    assert factors.max() > 2 and factors.min() == 1
    weights = random_weights(config, seed=12)
    write_gguf(tmp_path / "model.gguf", plain | {"rope_scaling": {}}, weights, rope_factors=factors)
    export_model(tmp_path / "model.gguf", tmp_path / "onnx")
    logits = OnnxSession(tmp_path / "onnx").feed(TOKENS)
    np.testing.assert_allclose(logits, Reference(config, weights).logits(TOKENS), rtol=3e-4, atol=3e-5)


@pytest.mark.parametrize("name", TYPES)
def test_dequantization_equals_the_gguf_package(name, tmp_path):
    kind = gguf.GGMLQuantizationType[name]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(7)
    rows, columns = 37, 3 * max(block, 64)
    raw = rng.integers(0, 256, (rows, columns // block * block_bytes), np.uint8)
    if name in ("F32", "F16", "BF16"):
        raw.reshape(rows, columns, -1)[:, :, -1] &= 0xBF  # no infinities
    writer = gguf.GGUFWriter(tmp_path / "t.gguf", "test")
    writer.add_tensor("other", np.arange(5, dtype=np.float32))
    writer.add_tensor("t", raw, raw_shape=raw.shape, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = read_gguf(tmp_path / "t.gguf")[1]["t"]
    reference = next(t for t in gguf.GGUFReader(tmp_path / "t.gguf").tensors if t.name == "t")
    with np.errstate(all="ignore"):
        expected = gguf.dequantize(reference.data, reference.tensor_type)
        assert tensor.shape == (rows, columns) == expected.shape
        np.testing.assert_array_equal(tensor.dequantize(0, rows), expected)
        np.testing.assert_array_equal(tensor.dequantize(5, 9), expected[5:9])


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "F16"])
def test_quantized_files_export_their_dequantized_values(kind, tmp_path):
    config = {**CONFIGS["llama"], "hidden_size": 32, "intermediate_size": 64, "head_dim": 8}
    weights = random_weights(config, seed=13)
    quantization = gguf.GGMLQuantizationType[kind]
    write_gguf(tmp_path / "model.gguf", config, weights, quantization=quantization)
    export_model(tmp_path / "model.gguf", tmp_path / "onnx")
    rounded = {name: gguf.dequantize(gguf.quantize(value, quantization), quantization) if value.ndim == 2 else value
               for name, value in weights.items()}
    logits = OnnxSession(tmp_path / "onnx").feed(TOKENS)
    np.testing.assert_allclose(logits, Reference(config, rounded).logits(TOKENS), rtol=3e-4, atol=3e-5)


def random_blocks(kind, rows, columns, rng, size=0.1):
    """Blocks of any bytes, whose numbers in half precision are finite."""
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (rows, columns // block, block_bytes), np.uint8)
    for offset in UNIFORM[kind.name][3]:
        raw[:, :, offset:offset + 2] = (rng.standard_normal((rows, columns // block, 1)) * size).astype("<f2").view(np.uint8)
    return raw.reshape(rows, -1)


@pytest.mark.parametrize("name", UNIFORM)
def test_codes_stand_for_the_same_values(name):
    """As codes and as planes, bit for bit."""
    kind = gguf.GGMLQuantizationType[name]
    bits, group, dtype, _ = UNIFORM[name]
    raw = random_blocks(kind, 37, 512, np.random.default_rng(9))
    expected = gguf.dequantize(raw, kind)
    matrix = read_codes(GGUFTensor("t", kind, (37, 512), raw))
    assert (matrix.bits, matrix.group_size) == (bits, group)
    np.testing.assert_array_equal(matrix.dequantize(), expected)
    planes = matrix.hlq("t")
    assert planes.scales.dtype == planes.zeros.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(dequantized_model.dequantize(planes.planes, planes.scales, planes.zeros, 512, group), expected)


@pytest.mark.parametrize("name", ["IQ4_NL", "MXFP4", "BF16"])
def test_types_that_have_no_codes(name):
    kind = gguf.GGMLQuantizationType[name]
    assert read_codes(GGUFTensor("t", kind, (2, 256), np.zeros((2, 1), np.uint8))) is None


@pytest.mark.parametrize("name", UNIFORM)
def test_quantized_files_keep_their_bits(name, tmp_path):
    kind, rng = gguf.GGMLQuantizationType[name], np.random.default_rng(14)
    config = {**CONFIGS["llama"], "hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "head_dim": 64, "num_hidden_layers": 1}
    weights = random_weights(config, seed=13)
    made = []
    # So large that weights deviate by about 1 / 16.
    size = 0.06 / np.std(gguf.dequantize(random_blocks(kind, 64, 256, rng, size=1), kind))

    def blocks(value, _):
        raw = random_blocks(kind, *value.shape, rng, size)
        made.append(raw)
        return raw

    write_gguf(tmp_path / "model.gguf", config, weights, quantization=kind, quantize=blocks)
    assert main(["export", str(tmp_path / "model.gguf"), "-o", str(tmp_path / "onnx"), "-q", "--quantized", "keep"]) == 0
    assert main(["export", str(tmp_path / "model.gguf"), "-o", str(tmp_path / "float"), "-q"]) == 0
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "onnx" / "model.onnx", load_external_data=False).graph.node)
    assert (operators["HLQMatMul"], operators["HLQGather"], operators["MatMul"]) == (8, 1, 0) and len(made) == 9
    expected = OnnxSession(tmp_path / "float").feed(TOKENS)
    np.testing.assert_allclose(OnnxSession(tmp_path / "onnx").feed(TOKENS), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    if name not in ("Q4_0", "Q2_K", "Q3_K", "Q6_K", "TQ2_0"):
        return  # The others have the bits, groups and parameters of one of these.
    elutq.compile(tmp_path / "onnx" / "model.onnx", tmp_path / "tiny", emit="lib", arguments=["--kv-cache=f32", "--chunk=4"])
    session = elutq.Model(tmp_path / "libtiny.so").session()
    error = np.abs(np.stack([session.decode(token) for token in TOKENS]) - expected).max()
    assert error <= 0.03 * np.ptp(expected)
    session.reset()
    assert np.abs(session.prefill(TOKENS) - expected[-1]).max() <= 0.03 * np.ptp(expected)


def test_metadata_equals_the_gguf_package(tmp_path):
    tokenizer = {"a.bool": True, "a.list": [1, -2, 3], "a.floats": [0.5, -1.25], "a.texts": ["", "é▁", "\n"], "a.text": "x"}
    write_gguf(tmp_path / "m.gguf", CONFIGS["qwen3"], random_weights(CONFIGS["qwen3"], 1), tokenizer=tokenizer)
    metadata, tensors = read_gguf(tmp_path / "m.gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    expected = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert metadata == expected
    assert list(tensors) == [tensor.name for tensor in reader.tensors]


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    config = {**CONFIGS["llama"], "num_hidden_layers": 1}
    write_gguf(path, config, random_weights(config, seed=14))
    return path


def test_every_truncation_is_refused(small_file, tmp_path):
    data = small_file.read_bytes()
    for size in [*range(0, 2000, 7), len(data) // 2, len(data) - 1]:
        (tmp_path / "cut.gguf").write_bytes(data[:size])
        with pytest.raises(GGUFError):
            read_gguf(tmp_path / "cut.gguf")


def test_damaged_headers_never_crash(small_file, tmp_path):
    data = small_file.read_bytes()
    header = 3000
    rng = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(data)
        for position in rng.integers(0, header, 3):
            damaged[position] = rng.integers(0, 256)
        (tmp_path / "bad.gguf").write_bytes(damaged)
        try:
            export_model(tmp_path / "bad.gguf", tmp_path / "out")
        except ExportError:
            assert not (tmp_path / "out").exists()
        else:
            shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("offset, value, message", [
    (0, b"GGML", "does not begin with 'GGUF'"),
    (4, struct.pack("<I", 1), "version 1 of the format"),
    (8, struct.pack("<Q", 2**63), "ends at byte|dimensions"),
    (16, struct.pack("<Q", 2**63), "ends at byte|unknown type"),
    (24, struct.pack("<Q", 2**64 - 1), "ends at byte"),
])
def test_false_numbers(offset, value, message, small_file, tmp_path, capsys):
    data = bytearray(small_file.read_bytes())
    data[offset:offset + len(value)] = value
    (tmp_path / "bad.gguf").write_bytes(data)
    assert main(["export", str(tmp_path / "bad.gguf"), "-o", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("elutq: error: ")
    with pytest.raises(ExportError, match=message):
        open_checkpoint(tmp_path / "bad.gguf")
    assert not (tmp_path / "out").exists()


def test_unknown_architecture(tmp_path):
    write_gguf(tmp_path / "m.gguf", {**CONFIGS["llama"], "model_type": "rwkv7"}, {})
    with pytest.raises(ExportError, match="architecture 'rwkv7' is not supported; supported are gemma3, llama"):
        open_checkpoint(tmp_path / "m.gguf")


def test_missing_tensor_leaves_nothing_behind(tmp_path):
    config = CONFIGS["qwen2-global"]
    weights = random_weights(config, seed=15)
    del weights["model.layers.1.self_attn.k_proj.bias"]
    write_gguf(tmp_path / "m.gguf", config, weights)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(ExportError, match="lacks the tensor 'model.layers.1.self_attn.k_proj.bias'"):
        export_model(tmp_path / "m.gguf", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
