"""benchmarks/model.py with programs that only say what they are told to: rows, ratios, goals, verdicts, errors."""

import json
import subprocess
import sys

import pytest

from conftest import ROOT

WEIGHTS = 1_900_000_000
# Keys and values of 32 layers and 32 heads of 128 in f16, for 128 tokens and half of the 32 that are timed.
CACHE = (128 + 16) * 32 * 2 * 32 * 128 * 2


def write_program(path, answers: dict[str, object]):
    """A program that answers with the JSON of the first key that is among its arguments."""
    lines = [f"case \" $* \" in *' {key} '*) echo '{json.dumps(value)}'; exit;; esac" for key, value in answers.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, "echo refused >&2; exit 3", ""]))
    path.chmod(0o755)


@pytest.fixture
def bench(tmp_path):
    """Runs the driver on a 7B shape with the given speeds; returns the process and its rows."""

    def run(ours: dict[str, float], theirs: dict[str, float] | None = None, isa: str = "avx512vbmi", arguments=()):
        write_program(tmp_path / "bin" / "elutq-compile", {})
        write_program(tmp_path / "bin" / "elutq-bench-bandwidth", {"2": {"threads": 2, "bandwidth_gb_s": 30.0}})
        speeds = {"prefill_tok_s": ours["prefill"], "decode_tok_s": ours["decode"], "decode_weight_bytes": WEIGHTS,
                  "weights_bytes": 4 * WEIGHTS, "huge_page_bytes": 3 * WEIGHTS}
        write_program(tmp_path / "work" / "llama-7b-w2-t8-native", {"--info": {"isa": isa}, "--bench": speeds})
        peers = []
        if theirs:
            write_program(tmp_path / "llama" / "build" / "bin" / "llama-bench",
                          {"-n 0": [{"avg_ts": theirs["prefill"]}], "-p 0": [{"avg_ts": theirs["decode"]}]})
            for kind in ("Q2_K", "Q4_0"):
                (tmp_path / "work" / f"llama-7b-{kind}.gguf").write_bytes(b"GGUF")
            peers = ["--peers", "llama.cpp", "--llama", tmp_path / "llama"]
        command = [sys.executable, ROOT / "benchmarks" / "model.py", "--bin", tmp_path / "bin", "--work", tmp_path / "work", "--shape", "llama-7b",
                   "--tables", "8", "--json", tmp_path / "rows.json", *peers, *arguments]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        return done, json.loads((tmp_path / "rows.json").read_text()) if done.returncode == 0 else []

    return run


def test_goals_met(bench, tmp_path):
    done, rows = bench({"prefill": 40.0, "decode": 14.0}, {"prefill": 12.0, "decode": 9.0})
    decode, q2, q4, prefill, *_ = rows
    assert decode["bytes_per_token"] == WEIGHTS + CACHE
    assert decode["of_bandwidth"] == round(14.0 * (WEIGHTS + CACHE) / 30e9, 3)
    assert (decode["peer"], decode["peer_tok_s"], decode["ratio"]) == ("llama.cpp Q2_K", 9.0, 1.56)
    assert decode["huge_pages"] == 0.75
    assert decode["goal_tok_s"] == max(round(0.9 * 30e9 / (WEIGHTS + CACHE), 1), 13.5) and decode["verdict"] == "PASS"
    assert (prefill["goal_tok_s"], prefill["ratio"], prefill["verdict"], prefill["bytes_per_token"]) == (36.0, 3.33, "PASS", None)
    assert [(row["name"], row["tok_s"], row["verdict"]) for row in (q2, q4)] == [(f"llama.cpp {kind}", 9.0, "peer") for kind in ("Q2_K", "Q4_0")]
    assert "LLaMA 2 7B shape decode ELUTQ W2 g128, tables of 8 bits" in done.stdout and "PASS" in done.stdout
    # Large files of the peers do not stay; --keep keeps them.
    assert not list((tmp_path / "work").glob("*.gguf"))
    bench({"prefill": 40.0, "decode": 14.0}, {"prefill": 12.0, "decode": 9.0}, arguments=["--keep"])
    assert len(list((tmp_path / "work").glob("*.gguf"))) == 2


def test_goals_missed(bench):
    rows = bench({"prefill": 35.0, "decode": 14.0}, {"prefill": 12.0, "decode": 9.5})[1]
    assert [row["verdict"] for row in rows] == ["FALLS SHORT", "peer", "peer", "FALLS SHORT", "peer", "peer"]


def test_missing_peer(bench):
    """One part of a goal that needs both can be missed, but not met."""
    decode, prefill = bench({"prefill": 40.0, "decode": 14.0})[1]
    assert (decode["verdict"], decode["peer"], prefill["verdict"], prefill["goal_tok_s"]) == ("not judged", None, "not judged", None)
    assert bench({"prefill": 40.0, "decode": 13.0})[1][0]["verdict"] == "FALLS SHORT"


def test_a_peer_that_fails(bench, tmp_path):
    """What the machine cannot run is left out, and said; the rest is measured."""
    slow = {"prefill": 12.0, "decode": 9.0}
    bench({"prefill": 40.0, "decode": 14.0}, slow)
    write_program(tmp_path / "llama" / "build" / "bin" / "llama-bench", {"nothing": {}})
    for kind in ("Q2_K", "Q4_0"):
        (tmp_path / "work" / f"llama-7b-{kind}.gguf").write_bytes(b"GGUF")
    done, rows = bench({"prefill": 40.0, "decode": 14.0}, arguments=["--peers", "llama.cpp", "--llama", tmp_path / "llama"])
    assert done.returncode == 0 and "Q2_K is left out: " in done.stderr and "Q4_0 is left out: " in done.stderr
    assert [(row["verdict"], row["peer"]) for row in rows] == [("not judged", None)] * 2


def test_errors(bench, tmp_path):
    assert "expected llama-7b" in bench({"prefill": 1.0, "decode": 1.0}, arguments=["--shape", "other"])[0].stderr.replace("gemma, ", "")
    assert "--gguf is missing" in bench({"prefill": 1.0, "decode": 1.0}, arguments=["--shape", "gemma"])[0].stderr
    done, _ = bench({"prefill": 1.0, "decode": 1.0}, {"prefill": 1.0, "decode": 1.0}, arguments=["--threads", "3"])
    assert done.returncode == 1 and done.stderr.endswith("elutq-bench-bandwidth' ended with 3\n") and "Traceback" not in done.stderr
