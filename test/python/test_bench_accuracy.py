"""benchmarks/accuracy.py on a tiny model: rows, going on after an interruption, errors. The reference for measures is `elutq evaluate`."""

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys

import gguf
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import elutq
from conftest import ROOT
from elutq.export import export_model
from elutq.evaluation import compare
from elutq.evaluation.scorers import open_scorer
from elutq.hlq_onnx import HLQModel
from elutq.text import open_tokenizer, read_windows
from tiny_gguf import write_gguf
from tiny_models import CONFIGS, random_weights, write_checkpoint

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,\n-'"


def make_text(seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(LETTERS), 900))


@pytest.fixture(scope="module")
def model(compiler, tmp_path_factory):
    """A decoder with tied embedding, a tokenizer of letters beside it, and two texts."""
    from tokenizers import Tokenizer, models

    folder = tmp_path_factory.mktemp("accuracy")
    config = {**CONFIGS["gemma3"], "hidden_size": 48, "intermediate_size": 80}
    write_checkpoint(folder / "hf", config, random_weights(config, seed=8))
    export_model(folder / "hf", folder / "onnx")
    Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(LETTERS)}, merges=[])).save(str(folder / "onnx" / "tokenizer.json"))
    (folder / "text.txt").write_text(make_text(1))
    (folder / "calibration.txt").write_text(make_text(2))
    return folder / "onnx" / "model.onnx"


@pytest.fixture
def bench(model, tmp_path):
    def run(*arguments, expect: int = 0):
        texts = {"--text": model.parents[1] / "text.txt", "--calibration": model.parents[1] / "calibration.txt", "--work": tmp_path / "work",
                 "--model": model, "--json": tmp_path / "rows.json", "--window": 40, "--windows": 3, "--calibration-windows": 12, "--group": 16}
        given = [word for pair in texts.items() if pair[0] not in arguments for word in pair]
        command = [str(word) for word in (sys.executable, ROOT / "benchmarks" / "accuracy.py", *given, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
        assert done.returncode == expect, done.stderr
        return done, json.loads((tmp_path / "rows.json").read_text()) if expect == 0 else []

    return run


def test_rows(bench, model, tmp_path):
    done, rows = bench("--methods", "float,data-free,rtn,gptq,published,hlq,mixed,head", "--bits", "2", "--target-bpw", "5", "--keep")
    assert [(row["method"], row["bits"]) for row in rows] == [
        ("float", None), *((name, 2) for name in ("data-free", "rtn", "gptq", "published", "hlq")), ("mixed", 5.0), ("head", 4), ("head", 4), ("head", 8), ("head", 4)]
    by_label = {(row["label"], row["bits"]): row for row in rows}
    float_, hlq, free = (by_label[key] for key in (("float", None), ("hlq", 2), ("data-free", 2)))
    assert abs(float_["delta"]) < 1e-6 and float_["top1"] == 1 and float_["kl"] < 1e-6 and float_["bpw"] is None and float_["seconds"] is None
    # Two planes, and two scales and a zero of 16 bits for each group; uniform parameters are one scale and a zero.
    # Rows of 40 elements are three groups of 16.
    weights = padded = 0
    for slot in HLQModel(next(path for path in (tmp_path / "work").glob("W2-??????????/model/model.onnx"))).slots.values():
        weights, padded = weights + slot.n * slot.k, padded + slot.n * -(-slot.k // 16) * 16
    assert hlq["bpw"] == pytest.approx((2 + 3) * padded / weights, abs=1e-4)
    assert by_label["gptq", 2]["bpw"] == by_label["rtn", 2]["bpw"] == pytest.approx((2 + 2) * padded / weights, abs=1e-4)
    assert hlq["kl"] < 0.8 * free["kl"] and hlq["kl"] < by_label["gptq", 2]["kl"] < by_label["rtn", 2]["kl"]
    assert 4.5 < by_label["hlq, mixed bits", 5.0]["bpw"] <= 5
    # The embedding and head alone: 61 rows of 48.
    assert float_["group"] is float_["head_bytes"] is hlq["head_bytes"] is None and hlq["group"] == 16
    assert by_label["hlq, embedding and head, too", 4]["head_bytes"] == by_label["embedding and head", 4]["head_bytes"] == 61 * (24 + 3 * 5 * 2) and by_label["embedding and head", 8]["kl"] < 0.01
    assert all(row["seconds"] > 0 and row["cpu_seconds"] > 0 and row["peak_rss_mb"] > 10 for row in rows[1:])
    assert {row["windows"] for row in rows} == {3} and {row["text"] for row in rows} == {"text.txt"}
    assert "hlq, mixed bits" in done.stdout and done.stdout.splitlines()[0].split() == [
        "method", "bits", "group", "bpw", "ppl", "delta", "±", "KL", "top-1", "%", "s", "cpu", "s", "MB"]
    # What elutq evaluate says of one of the models.
    (made,) = (tmp_path / "work").glob("W2-??????????/model/model.onnx")
    measured = elutq.evaluate(made, reference=model, text=model.parents[1] / "text.txt", windows=3, window=40, tokenizer=model.parent)
    assert hlq["ppl"] == pytest.approx(measured.perplexity.value, rel=1e-5) and hlq["kl"] == pytest.approx(measured.kl.value, abs=2e-6)
    # The float model's logits are kept in f16: 2e-3 per token at random.
    assert hlq["delta"] == pytest.approx(measured.delta.value, abs=1e-3) and hlq["top1"] == pytest.approx(measured.top1.value, abs=0.02)
    assert float_["ppl"] == pytest.approx(math.exp(measured.reference_nll.value), rel=1e-3)


def test_going_on(bench, tmp_path):
    _, rows = bench("--methods", "hlq", "--bits", "3", "--windows", 2)
    (folder,) = (tmp_path / "work").glob("W3-*")
    assert not (folder / "model").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*") if path.is_file()}
    assert len(list(folder.glob("window-*.npz"))) == 2
    # Nothing is made or measured twice.
    done, again = bench("--methods", "hlq", "--bits", "3", "--windows", 2)
    assert again == rows and "making" not in done.stderr and "window" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    # One window is lost, as if the run had been stopped before it: it alone is measured, the others as they are.
    lost = sorted(folder.glob("window-*.npz"))[0]
    lost.unlink()
    done, again = bench("--methods", "hlq", "--bits", "3", "--windows", 2)
    assert done.stderr.count(": window ") == 1 and done.stderr.count("making hlq") == 1
    assert [row["ppl"] for row in again] == [row["ppl"] for row in rows]
    # More windows go on from these; other options are other rows.
    assert bench("--methods", "hlq", "--bits", "3", "--windows", 3)[0].stderr.count(": window ") == 1
    assert bench("--methods", "hlq", "--bits", "3", "--calibration-windows", 5)[1][0]["ppl"] != rows[0]["ppl"]


def test_ablation(bench):
    _, rows = bench("--ablation")
    assert [row["label"] for row in rows] == ["published", "+ codes in the column loop", "+ weighted fit", "+ four starts", "+ refinement", "+ correction",
                                              "calibrated with NumPy's descriptions", "calibrated with random tokens"]
    assert len({row["ppl"] for row in rows}) == 8 and {row["bits"] for row in rows} == {2}
    assert rows[0]["kl"] > rows[5]["kl"]


def test_finetuned(bench):
    done, rows = bench("--methods", "float,hlq,finetuned", "--bits", "2")
    if importlib.util.find_spec("torch") is None:
        assert [row["method"] for row in rows] == ["float", "hlq"] and "torch is not there: no finetuned rows" in done.stderr
    else:
        assert [row["label"] for row in rows] == ["float", "hlq", "hlq, finetuned"]
        # The model that it was made from is not made again.
        assert done.stderr.count("making hlq W2") == 1 and rows[2]["kl"] < rows[1]["kl"]


def test_quick(bench):
    rows = bench("--quick")[1]
    assert [(row["method"], row["bits"]) for row in rows] == [("float", None), ("data-free", 2), ("hlq", 2), ("data-free", 4), ("hlq", 4)]


def write_llama(folder, requantized, answer):
    """Programs in the place of llama.cpp's, and of ninja: the first writes the file `requantized`, the second gives an answer."""
    programs = {folder / "llama/build/bin/llama-bench": "exit 9", folder / "llama/build/bin/llama-perplexity": f"echo 'perplexity: {answer}' >&2",
                folder / "llama/build/bin/llama-quantize": f'echo "$*" >> {folder}/calls; cp {requantized} "$7"', folder / "bin/ninja": "true"}
    for path, body in programs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)


def test_llama_cpp(bench, model, tmp_path, monkeypatch):
    config = {**CONFIGS["gemma3"], "hidden_size": 64, "intermediate_size": 96}
    weights = random_weights(config, seed=8)
    write_gguf(tmp_path / "float.gguf", config, weights)
    write_gguf(tmp_path / "q4_0.gguf", config, weights, quantization=gguf.GGMLQuantizationType.Q4_0)
    export_model(tmp_path / "float.gguf", tmp_path / "onnx")
    (tmp_path / "onnx" / "tokenizer.json").write_bytes((model.parent / "tokenizer.json").read_bytes())
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    arguments = ["--model", tmp_path / "onnx" / "model.onnx", "--methods", "float", "--peers", "llama.cpp", "--llama", tmp_path / "llama",
                 "--gguf", tmp_path / "float.gguf"]
    write_llama(tmp_path, tmp_path / "q4_0.gguf", "Final estimate: PPL = 12.3456 +/- 0.5")
    _, (float_, q3, q4) = bench(*arguments)
    assert [(row["method"], row["bits"], row["group"], row["own_ppl"]) for row in (q3, q4)] == [("llama.cpp", "Q3_K_M", None, 12.3456),
                                                                                              ("llama.cpp", "Q4_K_M", None, 12.3456)]
    # Blocks of 32 codes of 4 bits and an f16; rows of 40 are no whole blocks and stay f32. The table is no layer.
    matrices = [value for name, value in weights.items() if value.ndim == 2 and "embed" not in name]
    bits = sum(value.size * (32 if value.shape[1] % 32 else 4.5) for value in matrices) / sum(value.size for value in matrices)
    assert q3["bpw"] == pytest.approx(bits, abs=1e-4) and 1e-3 < q3["kl"] < 1
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[7] for call in calls] == ["Q3_K_M", "Q4_K_M"]
    assert all("--allow-requantize --token-embedding-type f32 --output-tensor-type f32" in call for call in calls)
    # The second halves of the windows, which llama.cpp counts, on the weights as it has them.
    export_model(tmp_path / "q4_0.gguf", tmp_path / "q4_0")
    options = {"text": model.parents[1] / "text.txt", "windows": 3, "window": 40, "tokenizer": model.parent}
    assert q3["ppl"] == pytest.approx(elutq.evaluate(tmp_path / "q4_0" / "model.onnx", **options).perplexity.value, rel=1e-5)
    windows = read_windows(model.parents[1] / "text.txt", open_tokenizer(model), 40, 3)
    scorer = open_scorer(tmp_path / "q4_0" / "model.onnx")
    # The tokens after positions 20 to 38.
    nll = np.concatenate([compare(scorer, None, window).nll[20:] for window in windows])
    assert nll.size == 57 and q3["half_ppl"] == pytest.approx(math.exp(nll.mean()), rel=1e-5)
    shutil.rmtree(tmp_path / "work")
    write_llama(tmp_path, tmp_path / "q4_0.gguf", "no figure")
    assert "llama-perplexity gives no estimate" in bench(*arguments, expect=1)[0].stderr


def test_memory_is_that_of_the_command_alone():
    """Whatever the process takes that starts it."""
    allocate = "import accuracy; large = b'x' * (500 << 20); print(accuracy.run_measured([accuracy.sys.executable, '-c', '{}']))"
    for code, least, most in (("pass", 5, 100), ("x = b'x' * (300 << 20)", 300, 400)):
        done = subprocess.run([sys.executable, "-c", allocate.format(code.replace("'", chr(92) + "'"))], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONPATH": f"{ROOT / 'python'}:{ROOT / 'benchmarks'}"})
        assert least <= int(re.search(r"peak_rss_mb=(\d+)", done.stdout).group(1)) < most
        assert float(re.search(r"cpu_seconds=([\d.]+)", done.stdout).group(1)) > 0


def test_errors(bench, model, tmp_path):
    def message(*arguments, expect=1):
        error = bench(*arguments, expect=expect)[0].stderr
        assert "Traceback" not in error
        return [line for line in error.splitlines() if "error: " in line][0]

    assert "--methods: unknown 'best', expected float, data-free" in message("--methods", "best", expect=2)
    assert "--bits: unknown '5'" in message("--bits", "5", expect=2)
    assert "--windows must be at least 1" in message("--windows", "0", expect=2)
    assert "--peers: unknown 'ort'" in message("--peers", "ort", expect=2)
    assert "needs --llama and --gguf" in message("--peers", "llama.cpp", expect=2)
    assert f"there is no file '{tmp_path / 'none.txt'}'" in message("--text", tmp_path / "none.txt")
    assert "there is no file" in message("--model", tmp_path / "none.onnx")
    assert "there is no folder for" in message("--json", tmp_path / "no" / "rows.json")
    (tmp_path / "short.txt").write_text("abc")
    assert "has 3 tokens, but a window needs 40" in message("--text", tmp_path / "short.txt")
    # What the command that makes a model says is passed on.
    assert "has 3 tokens, but a window needs 40" in message("--calibration", tmp_path / "short.txt", "--methods", "hlq")
    broken = tmp_path / "broken" / "model.onnx"
    broken.parent.mkdir()
    (broken.parent / "tokenizer.json").write_bytes((model.parent / "tokenizer.json").read_bytes())
    graph = onnx.load(model)
    for tensor in graph.graph.initializer:
        if tensor.name == "model.layers.0.mlp.down_proj.weight":
            values = numpy_helper.to_array(tensor).copy()
            values[2, 3] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(graph, broken)
    assert "not a finite number" in message("--model", broken, "--methods", "hlq")
