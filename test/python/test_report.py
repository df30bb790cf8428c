"""`elutq-compile --report`: the operators of a model, and what it has written out that other models have as one operator."""

import re
import subprocess
from collections import Counter

import pytest
from torch_graphs import write_model

# One of each, under names that say what they are; and what only looks like one.
GRAPH = """<ir_version: 10, opset_import: ["" : 18]>
main (float[1,4,8] x, float[1,2,4,4] q, float[1,2,4,4] mask) => (float[1,4,8] y, float[1,2,4,4] z, float[1,4,8] other)
<float two = {2.0}, float eps = {1e-5}, float one = {1.0}, float half = {0.5}, float root = {1.4142135}, float three = {3.0},
 float k0 = {0.044715}, float k1 = {0.7978846}, int64[1] last = {-1}, int64[1] begin = {0}, int64[1] middle = {4}, int64[1] end = {8},
 int64[1] short = {2}, int64[1] long = {4}>
{
  squares = Pow(x, two)
  ["/rms"] mean = ReduceMean(squares, last)
  shifted = Add(mean, eps)
  deviation = Sqrt(shifted)
  rms = Div(x, deviation)
  ["/mean"] centre = ReduceMean(rms, last)
  centred = Sub(rms, centre)
  squares2 = Mul(centred, centred)
  ["/layer"] mean2 = ReduceMean(squares2, last)
  shifted2 = Add(mean2, eps)
  deviation2 = Sqrt(shifted2)
  layer = Div(centred, deviation2)
  scaled = Div(layer, root)
  ["/erf"] erf = Erf(scaled)
  erf1 = Add(erf, one)
  halves = Mul(layer, half)
  gelu = Mul(halves, erf1)
  shiftedGelu = Sub(gelu, eps)
  cube = Pow(shiftedGelu, three)
  small = Mul(cube, k0)
  sum = Add(shiftedGelu, small)
  inner = Mul(sum, k1)
  ["/tanh"] tanh = Tanh(inner)
  tanh1 = Add(tanh, one)
  product = Mul(shiftedGelu, tanh1)
  gelu2 = Mul(product, half)
  geglu = Mul(gelu2, x)
  ["/sigmoid"] sigmoid = Sigmoid(geglu)
  silu = Mul(geglu, sigmoid)
  y = Mul(silu, x)
  ["/plain/sigmoid"] gate = Sigmoid(x)
  ["/plain/tanh"] bounded = Tanh(gate)
  other = Add(bounded, centre)
  first = Slice(q, begin, short, last)
  second = Slice(q, short, long, last)
  negated = Neg(second)
  ["/rotate"] rotated = Concat<axis = -1>(negated, first)
  ["/no/rotation"] swapped = Concat<axis = -1>(second, first)
  turned = Mul(rotated, mask)
  keys = Transpose<perm = [0, 1, 3, 2]>(turned)
  scores = MatMul(q, keys)
  masked = Add(scores, mask)
  ["/attention"] weights = Softmax(masked)
  z = MatMul(weights, swapped)
}"""


def report_of(compiler, model, tmp_path, *options):
    subprocess.run([compiler, model, "-q", f"--report={tmp_path}/report", *options, "-o", tmp_path / "out"], check=True)
    return (tmp_path / "report").read_text()


def patterns(report, title):
    """What is listed below a line of the report."""
    match = re.search(rf"^{title}(: none)?\n|^{title}:\n((?:  .*\n)+)", report, re.MULTILINE)
    assert match, report
    return [tuple(re.split(r"\s{2,}", line.strip())) for line in (match.group(2) or "").splitlines()]


def test_written_out(compiler, tmp_path):
    (tmp_path / "graph.onnxtxt").write_text(GRAPH)
    report = report_of(compiler, tmp_path / "graph.onnxtxt", tmp_path, "--emit=graph")
    assert "operators of the model: Add 7, Concat 2, Div 3, Erf 1, MatMul 2, Mul 11, Neg 1, Pow 2, ReduceMean 3, Sigmoid 2" in report
    assert patterns(report, "written out and recognized as one operation") == []
    assert patterns(report, "written out and computed so") == [
        ("RMSNorm", "/rms"), ("LayerNorm", "/layer"), ("GELU", "/erf"), ("GeGLU", "/tanh"), ("SwiGLU", "/sigmoid"), ("rotary embedding", "/rotate"),
        ("attention", "/attention")]


# What the graphs of torch.onnx.export have of each; Gemma 2's other Tanhs are caps of scores and logits.
EXPECTED = {"dynamo-18-llama3": {"attention": 2, "RMSNorm": 5, "rotary embedding": 4, "SwiGLU": 2}, "dynamo-18-gpt2": {"attention": 2, "GELU": 2},
            "dynamo-18-gemma2": {"attention": 2, "RMSNorm": 9, "rotary embedding": 4, "GeGLU": 2}, "dynamo-23-smollm3": {"SwiGLU": 2}}


@pytest.mark.parametrize("name", EXPECTED)
def test_language_model(name, compiler, tmp_path):
    """Attention is recognized by recognize-onnx; all else is told of, too, recognized or not."""
    write_model(name, tmp_path / "model.onnx")
    report = report_of(compiler, tmp_path / "model.onnx", tmp_path, "--emit=obj", "--quantize=hlq:bits=3,group=32", "--max-context=128", "--chunk=32")
    assert re.search(r"^decode +\S+ .* 3 +32 ", report, re.MULTILINE) and re.search(r"operators of the model: Add \d+, .*MatMul \d+", report)
    recognized = patterns(report, "written out and recognized as one operation")
    rest = patterns(report, "written out and computed so")
    assert "attention" not in dict(rest) and len({*recognized, *rest}) == len(recognized) + len(rest)
    counts = Counter(pattern for pattern, _ in recognized + rest)
    assert counts == EXPECTED[name]
