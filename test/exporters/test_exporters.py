"""What exporters write of each architecture compiles unmodified, and computes what ONNX Runtime computes; so does what is quantized of it.

Runs on the files that export_model.py left in the folder ELUTQ_EXPORTS (scripts/test exporters makes them). Adds the results to results.json there,
of which model_table.py makes docs/Models.md.
"""

import json
import os
import shutil
from pathlib import Path

import onnx
import pytest

import elutq
from architectures import ARCHITECTURES, BITS, EXPORTERS, FLOAT_EXPORTERS, NOT_COMPILED, NOT_EXPORTED, NOT_VALID
from exported_model import decode_speed, error_of, reference_logits

BOUND = 1e-3
# Activations are rounded to 16 bits.
QUANTIZED_BOUND = 5e-3
PAIRS = [(exporter, architecture) for exporter in EXPORTERS for architecture in ARCHITECTURES]
QUANTIZED = [pair for pair in PAIRS if pair[0] in FLOAT_EXPORTERS and pair not in {**NOT_EXPORTED, **NOT_VALID, **NOT_COMPILED}]


@pytest.fixture(scope="session")
def exports() -> Path:
    """The folder of the exports; that it is missing is an error, so that no run leaves this out by mistake."""
    folder = Path(os.environ.get("ELUTQ_EXPORTS", ""))
    assert folder.is_absolute() and folder.is_dir(), "ELUTQ_EXPORTS must name the folder that export_model.py wrote; run scripts/test exporters"
    return folder


def head_size_of(architecture: str) -> int:
    return ARCHITECTURES[architecture][1].get("head_dim", 16)


def record(exports: Path, pair: str, **result) -> None:
    path = exports / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**results, pair: result}, indent=1))


@pytest.mark.parametrize("exporter, architecture", PAIRS, ids=map("/".join, PAIRS))
def test_exported(exporter, architecture, exports, tmp_path):
    pair = f"{exporter}/{architecture}"
    folder = exports / pair
    error = folder / "error.txt"
    if reason := NOT_EXPORTED.get((exporter, architecture)):
        assert error.exists(), f"the exporter does it now: remove {pair} from NOT_EXPORTED"
        record(exports, pair, exported=False, reason=reason)
        return
    assert not error.exists(), error.read_text()
    head_size = head_size_of(architecture)
    if reason := NOT_VALID.get((exporter, architecture)):
        with pytest.raises(Exception, match=reason):
            reference_logits(folder / "model.onnx", head_size)
        record(exports, pair, exported=False, reason=f"refused by ONNX Runtime, '{reason}'")
        return
    if reason := NOT_COMPILED.get((exporter, architecture)):
        with pytest.raises(elutq.CompileError, match=reason) as refusal:
            error_of(folder / "model.onnx", tmp_path / "model", head_size)
        record(exports, pair, exported=True, refusal=str(refusal.value))
        return
    error_size = error_of(folder / "model.onnx", tmp_path / "model", head_size)
    record(exports, pair, exported=True, error=error_size, tokens_s=decode_speed(tmp_path / "model"))
    assert error_size <= BOUND


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("exporter, architecture", QUANTIZED, ids=map("/".join, QUANTIZED))
def test_quantized(exporter, architecture, bits, exports, tmp_path):
    # ONNX Runtime multiplies by the weights that the planes say; what differs is the rounding of activations to 16 bits.
    head_size, quantized = head_size_of(architecture), tmp_path / "hlq.onnx"
    source = exports / exporter / architecture / "model.onnx"
    elutq.compile(source, quantized, emit="hlq-onnx", quantize=f"hlq:bits={bits},group=32")
    if (config := source.with_name("genai_config.json")).exists():
        shutil.copy(config, tmp_path)
    assert any(node.op_type == "HLQMatMul" for node in onnx.load(quantized, load_external_data=False).graph.node)
    error_size = error_of(quantized, tmp_path / "model", head_size)
    record(exports, f"{exporter}/{architecture}/{bits}", exported=True, error=error_size, tokens_s=decode_speed(tmp_path / "model"))
    assert error_size <= QUANTIZED_BOUND
