"""The benchmark of single products on tiny shapes: its program against products of floats, its driver against ONNX Runtime."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("ELUTQ_BUILD_DIR", ROOT / "build" / "release"))
PROGRAM = BUILD / "bin" / "elutq-bench-kernels"
DRIVER = ROOT / "benchmarks" / "kernels" / "run.py"
sys.path.append(str(DRIVER.parent))

import run as driver  # noqa: E402


def run_program(*arguments):
    command = [str(PROGRAM), "-cache", "-seconds", "0.01", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def run_driver(shapes, path, *arguments):
    path.write_text(json.dumps(shapes))
    command = [sys.executable, str(DRIVER), "--program", str(PROGRAM), "--shapes", str(path), "--seconds", "0.01", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("params, param_type", [("hlq", "f16"), ("uniform", "f16"), ("symmetric", "f32")])
@pytest.mark.parametrize("bits, group, m, n, k", [(2, 128, 1, 203, 1000), (3, 64, 3, 192, 1024), (4, 32, 9, 70, 200)])
def test_results_are_those_of_floats(params, param_type, bits, group, m, n, k):
    errors = {}
    for tables in (8, 16):
        done = run_program("-check", "-bits", bits, "-group", group, "-m", m, "-n", n, "-k", k, "-params", params,
                           "-param-type", param_type, "-tables", tables)
        assert done.returncode == 0, done.stderr
        row = json.loads(done.stdout)
        errors[tables] = row["error"]
        assert (row["bits"], row["M"], row["N"], row["K"], row["threads"]) == (bits, m, n, k, 2)
        assert row["us"] > 0 and row["us_best"] <= row["us"] and row["bandwidth_gb_s"] > 0 and row["of_bandwidth"] > 0
        assert 0 <= row["huge_pages"] <= 1
        # Planes and parameters, and no more than the padding of the last rows beside them.
        scales = bits if params == "hlq" else 1
        groups = -(-k // group)
        least = n * groups * (group * bits // 8 + (scales + (params != "symmetric")) * (2 if param_type == "f16" else 4))
        assert least <= row["bytes"] <= least * (n + 64) / n + 64 * 64
        assert f"table_bits = {tables}" in row["kernel"] or tables == 8
    assert 0 < errors[16] < errors[8] / 8 and errors[8] < 0.1


@pytest.mark.parametrize("tables", [8, 16])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_products_of_bytes(bits, tables):
    done = run_program("-check", "-algorithm", "dot", "-bits", bits, "-m", 33, "-n", 96, "-k", 512, "-tables", tables)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert 'algorithm = "dot"' in row["kernel"] and row["error"] < {8: 0.1, 16: 0.02}[tables]


def test_assembly_and_another_processor(tmp_path):
    path = tmp_path / "product.s"
    done = run_program("-mcpu", "x86-64-v3", "-n", 64, "-k", 256, "-emit-asm", path)
    if "cannot run code" in done.stderr:
        pytest.skip("this machine has no AVX2")
    assert json.loads(done.stdout)["isa"] == "avx2"
    text = path.read_text()
    assert "vpshufb" in text and "zmm" not in text and "elutq_entry_product" in text


@pytest.mark.parametrize("arguments, message", [
    (["-bits", "5"], "expected -bits to be 1 to 4, but got 5"),
    (["-group", "100"], "expected -group to be 16, 32, 64, 128 or 256, but got 100"),
    (["-m", "0"], "expected -m to be 1 to"),
    (["-params", "ternary"], "expected -params to be hlq, uniform, symmetric or compact, but got 'ternary'"),
    (["-algorithm", "gemm"], "expected -algorithm to be auto, lut or dot, but got 'gemm'"),
    (["-mcpu", "pentium-9"], "unknown processor 'pentium-9'"),
    (["-kernel", "#hlq.kernel<>"], "hlq.kernel"),
    (["-threads", "none"], "'none' value invalid"),
    (["-emit-asm", "/nonexistent/x.s"], "cannot write '/nonexistent/x.s'"),
])
def test_bad_arguments_are_one_error(arguments, message):
    done = run_program(*arguments)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("elutq-bench-kernels: ") and message in done.stderr
    assert done.stderr.count("\n") == 1


SHAPES = {
    "error_bounds": {"8": 0.1, "16": 0.02},
    "goals": [
        {"work": "one", "bits": 4, "group": 32, "M": 1, "N": 64, "K": 256, "threads": 1, "memory": "cache"},
        {"work": "two", "bits": 4, "group": 32, "M": 2, "N": 64, "K": 256, "threads": 2,
         "goals": {isa: {"one": 1e9, "gops": 1e-6} for isa in ("avx512vbmi", "avx512bw", "avx2", "generic", "neon", "neon_dotprod")}},
    ],
    "grid": {"shapes": [[64, 256]], "M": [1], "bits": [2], "group": [64], "threads": [1]},
}


def test_rows_of_the_driver(tmp_path):
    path = tmp_path / "rows.json"
    done = run_driver(SHAPES, tmp_path / "shapes.json", "--rounds", "1", "--json", str(path),
                      "--peers", "ort", "--peers-python", sys.executable)
    assert done.returncode == 0, done.stderr
    one, two, grid = json.loads(path.read_text())
    issue = {"work", "bits", "group", "M", "N", "K", "threads", "isa", "kernel", "us", "gops", "gb_s", "bandwidth_gb_s", "peer",
             "peer_us", "ratio", "goal", "verdict"}
    assert all(issue <= row.keys() for row in (one, two, grid))
    assert one["memory"] == "cache" and one["peer"] is None and one["verdict"] == "no goal"
    assert two["verdict"] == "PASS" and two["goal"] == "<= 1000000000.0x one, >= 1e-06 GOPS"
    assert two["peer"].startswith("ort") and two["ratio"] == pytest.approx(two["peer_us"] / two["us"], abs=0.01)
    assert set(two["peers"]) == {"ort W4", "ort-lut W4"} and set(grid["peers"]) <= {"ort W2", "ort-lut W2"}
    assert grid["work"] == "64x256 M1 W2 g64 t1" and grid["threads"] == 1
    assert "PASS" in done.stdout and done.stdout.count("\n") == 5


def test_quick_and_only(tmp_path):
    done = run_driver(SHAPES, tmp_path / "shapes.json", "--quick", "--only", "^two$", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "<= 1000000000.0x one (not run)" in done.stdout and "not judged" in done.stdout and "64x256" not in done.stdout


@pytest.mark.parametrize("arguments, message", [
    (["--only", "nothing"], "no product has a name that --only 'nothing' matches"),
    (["--only", "("], "is no regular expression"),
    (["--peers", "blas"], "expected ort, openvino or ggml, but got 'blas'"),
    (["--peers", "ggml"], "--peers ggml needs --ggml"),
    (["--rounds", "0"], "expected --rounds and --seconds to be positive"),
    (["--mcpu", "pentium-9"], "one: unknown processor 'pentium-9'"),
])
def test_bad_arguments_of_the_driver(tmp_path, arguments, message):
    done = run_driver(SHAPES, tmp_path / "shapes.json", *arguments)
    assert done.returncode != 0 and message in done.stderr.splitlines()[-1]


def test_wrong_results_are_an_error(tmp_path):
    done = run_driver({**SHAPES, "error_bounds": {"8": 1e-6}}, tmp_path / "shapes.json", "--only", "one")
    assert done.returncode == 1 and "is wrong" in done.stderr and done.stderr.count("\n") == 1


def measured(**values):
    return {"work": "w", "isa": "avx512vbmi", "N": 1000, "K": 1000, "us": 100.0, "gops": 20.0, "gb_s": 9.0, "bandwidth_gb_s": 10.0,
            "of_bandwidth": 0.9, "peers": {}, **values}


@pytest.mark.parametrize("values, verdict, goal", [
    ({"goals": {"avx512vbmi": {"bandwidth": 0.9}}}, "PASS", ">= 0.9 of bandwidth"),
    ({"goals": {"avx512vbmi": {"bandwidth": 0.91}}}, "FALLS SHORT", ">= 0.91 of bandwidth"),
    ({"goals": {"avx512vbmi": {"gweights": 10, "gops": 21}}}, "FALLS SHORT", ">= 10 Gweights/s, >= 21 GOPS"),
    ({"goals": {"avx512vbmi": {"bandwidth": 0.8, "ort": 1.3}}}, "not judged", ">= 0.8 of bandwidth, >= 1.3x ort (no peer)"),
    ({"goals": {"avx512vbmi": {"ort": 1.3}}, "peers": {"ort W2": 140.0, "ort-lut W2": 129.0}}, "FALLS SHORT", ">= 1.3x ort"),
    ({"goals": {"avx512vbmi": {"ort": 1.3}}, "peers": {"ort W2": 140.0, "ggml q2_K": 90.0}}, "PASS", ">= 1.3x ort"),
    ({"goals": {"avx512vbmi": {"base": 1.15}}}, "PASS", "<= 1.15x base"),
    ({"goals": {"avx512vbmi": {"base": 1.1}}}, "FALLS SHORT", "<= 1.1x base"),
    ({"isa": "avx2", "goals": {"avx2": {"ort": 9.0, "gops": 19}}, "peers": {"ort W2": 1.0}}, "PASS", ">= 19 GOPS"),
    ({"isa": "neon", "goals": {"avx2": {"gops": 19}}}, "no goal", None),
])
def test_verdicts(values, verdict, goal):
    row = measured(**values)
    driver.judge(row, {"base": {"us": 90.0}}, wide_host=True)
    assert (row["verdict"], row["goal"]) == (verdict, goal)
    assert row["gweights_s"] == 10
    fastest = min(values.get("peers", {}).items(), key=lambda item: item[1], default=(None, None))
    assert (row["peer"], row["peer_us"]) == fastest


def test_peers_refuse_by_having_no_time():
    peer = driver.Peer("ort", [sys.executable, driver.PEERS / "kernels.py", "ort", "--threads", 1])
    row = {"group": 32, "M": 1, "N": 64, "K": 256}
    assert peer.time(row, 3, 0.01) is None
    assert peer.time(row, 4, 0.01) > 0
    peer.close()
    broken = driver.Peer("ort", ["false"])
    assert broken.time(row, 4, 0.01) is None
    broken.close()


def test_candidates():
    """All kernels near the model's, its own first; the driver says what that one loses."""
    command = [str(PROGRAM), "-candidates", "-bits", "4", "-m", "9", "-n", "203", "-k", "200", "-group", "32", "-threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    kernels = {(kernel["algorithm"], kernel["m_tile"], kernel["n_tile"]) for kernel in row["kernels"]}
    assert len(kernels) == len(row["kernels"]) > 2 and all(kernel["us"] > 0 for kernel in row["kernels"])
    model = json.loads(run_program("-bits", "4", "-m", "9", "-n", "203", "-k", "200", "-group", "32", "-threads", "1").stdout)
    first = row["kernels"][0]
    assert f'algorithm = "{first["algorithm"]}", m_tile = {first["m_tile"]}, n_tile = {first["n_tile"]}' in model["kernel"]
    refused = subprocess.run([*command, "-check"], capture_output=True, text=True)
    assert refused.returncode == 1 and "-candidates times kernels of its own" in refused.stderr


def test_tune_table(tmp_path):
    shapes, path = tmp_path / "shapes.json", tmp_path / "rows.json"
    shapes.write_text(json.dumps({"grid": {"shapes": [[64, 256]], "M": [1], "bits": [2, 3]}, "tune": {"bits": [3]}}))
    command = [sys.executable, str(DRIVER.parent / "tune.py"), "--program", str(PROGRAM), "--shapes", str(shapes)]
    done = subprocess.run([*command, "--json", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(path.read_text())
    assert row["group"] == 128 and row["best"]["us"] <= row["model"]["us"]
    assert row["loss_percent"] == round((row["model"]["us"] / row["best"]["us"] - 1) * 100, 1) >= 0
    assert done.stdout.splitlines()[1].startswith("64x256 M1 W3 ") and "of 1 more than 10 %" in done.stdout.splitlines()[-1]
    done = subprocess.run([*command, "--group", "32", "--json", str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(path.read_text())[0]["group"] == 32, done.stderr
    done = subprocess.run([*command, "--only", "M7"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == "tune.py: error: no product has a name that --only 'M7' matches\n"
