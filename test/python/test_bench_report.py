"""The report of benchmarks: tables and pictures from rows as the drivers write them."""

import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

REPORT = pathlib.Path(__file__).parents[2] / "benchmarks" / "report.py"


def row(work, m, us, **values):
    n, k, bits = 4096, 8192, values.pop("bits", 2)
    bytes_ = n * k * bits // 8
    return {"work": work, "bits": bits, "group": 128, "M": m, "N": n, "K": k, "threads": 2, "memory": "file", "tables": 8,
            "isa": "avx512vbmi", "kernel": '#hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 8, n_tile = 2>', "us": us,
            "gops": 2 * m * n * k / us / 1e3, "gb_s": bytes_ / us / 1e3, "bandwidth_gb_s": 40.0, "of_bandwidth": 0.5, "huge_pages": 0.25,
            "ceiling_gops": 1000.0, "bytes": bytes_, "peer": None, "peer_us": None, "ratio": None, "peers": {}, "goal": None,
            "verdict": "no goal", "machine": "a machine", "date": "2025-01-01", "command": "scripts/bench kernels", **values}


def run(folder, docs):
    docs.mkdir(exist_ok=True)
    return subprocess.run([sys.executable, str(REPORT), str(folder), "--docs", str(docs)], capture_output=True, text=True)


def test_sections_tables_and_pictures(tmp_path):
    peer = {"peer": "ort W2", "peer_us": 600.0, "ratio": 2.0, "peers": {"ort W2": 600.0, "ggml q2_K": 900.0}}
    rows = [row("decode", 1, 300.0, goal=">= 0.9 of bandwidth", verdict="FALLS SHORT", **peer),
            row("prefill <8 bits>", 512, 42949.67, bits=4, verdict="PASS", goal=">= 700 GOPS"),
            row("in cache", 1, 50.0, memory="cache"),
            row("4096x8192 M1 W2 g128 t2", 1, 310.0, **peer), row("4096x8192 M512 W2 g128 t2", 512, 50000.0)]
    (tmp_path / "kernels.json").write_text(json.dumps(rows))
    grid = [row(f"4096x8192 M{m} W2 g{group} t{threads}", m, 100.0 * m, group=group, threads=threads, **{**peer, "ratio": ratio})
            for m, group, threads, ratio in ((1, 128, 2, 2.0), (1, 128, 1, 0.5), (8, 128, 2, 3.0), (1, 32, 2, 0.9), (1, 32, 1, 4.0))]
    grid[-1]["command"] = "scripts/bench kernels --only 32"
    (tmp_path / "kernels-grid.json").write_text(json.dumps(grid))
    (tmp_path / "kernels-avx2.json").write_text(json.dumps([{**rows[0], "isa": "avx2", "machine": "another machine"}]))
    (tmp_path / "model.json").write_text(json.dumps([{"name": "ELUTQ W4", "decode_tok_s": 120.5, "ratio": None}]))
    done = run(tmp_path, tmp_path / "docs")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "docs" / "Performance.md").read_text()
    # GOPS by the lesser of 1000 and 8 operations per byte times 40 GB/s.
    assert "| decode | lut, 8 × 2 | 300 | 224 | 28.0 | 0.50 | 0.25 | 0.70 | ort W2 600 | 2.0 | >= 0.9 of bandwidth | FALLS SHORT |" in text
    assert "| prefill <8 bits> | lut, 8 × 2 | 42950 | 800 | 0.4 | 0.50 | 0.25 | 0.80 | no peer |  | >= 700 GOPS | PASS |" in text
    assert "| decode | 300 | 900 | 600 |" in text
    assert "| 4096 × 8192 | 2 | 310 (2.00×) | 50000 |" in text
    every = text[text.index("## All shapes on avx512vbmi"):text.index("## Whole models")]
    assert "| 32 | 1.90× (1 of 2) |  |" in every and "| 128 | 1.00× (1 of 2) | 3.00× (0 of 1) |" in every
    assert "a machine, 2025-01-01: `scripts/bench kernels`\n\na machine, 2025-01-01: `scripts/bench kernels --only 32`\n\n" in every
    assert every.index("Groups of 128, 2 threads:\n\n| N × K | bits | M = 1 | M = 8 |") < every.index("Groups of 32, 2 threads:") < every.index("Groups of 128, 1 thread:")
    assert "| 4096 × 8192 | 2 | 100 (2.00×) | 800 (3.00×) |" in every and "Groups of 32, 1 thread" not in every
    assert not (tmp_path / "docs" / "roofline-grid.svg").exists()
    assert "a machine, 2025-01-01: `scripts/bench kernels`" in text and "another machine" in text
    assert "| ELUTQ W4 | 120.5 |  |" in text
    assert text.index("## Products on avx2") < text.index("## Products on avx512vbmi") < text.index("## Whole models")

    picture = xml.etree.ElementTree.parse(tmp_path / "docs" / "roofline.svg").getroot()
    svg = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in picture.iter(svg + "title")]
    assert titles == ["decode: ort W2, 112 GOPS", "decode: 224 GOPS", "prefill <8 bits>: 800 GOPS",
                      "4096x8192 M1 W2 g128 t2: ort W2, 112 GOPS", "4096x8192 M1 W2 g128 t2: 216 GOPS",
                      "4096x8192 M512 W2 g128 t2: 687 GOPS"]
    width, height = float(picture.get("width")), float(picture.get("height"))
    assert all(0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height for circle in picture.iter(svg + "circle"))
    labels = {text.text for text in picture.iter(svg + "text")}
    assert {"memory, 40 GB/s", "look-ups, 2 bits, 1000", "look-ups, 4 bits, 1000", "fastest peer", "M=512"} <= labels
    # Faster is higher.
    heights = dict(zip(titles, [float(circle.get("cy")) for circle in picture.iter(svg + "circle") if len(circle)]))
    assert heights["prefill <8 bits>: 800 GOPS"] < heights["decode: 224 GOPS"] < heights["decode: ort W2, 112 GOPS"]


def test_errors_are_one_line(tmp_path):
    done = run(tmp_path, tmp_path / "docs")
    assert done.returncode == 1 and "has no kernels*.json, no model*.json and no accuracy*.json" in done.stderr and done.stderr.count("\n") == 1
    (tmp_path / "kernels.json").write_text("[]")
    done = run(tmp_path, tmp_path / "docs")
    assert done.returncode == 1 and "is no list of rows" in done.stderr and done.stderr.count("\n") == 1
    (tmp_path / "kernels.json").write_text("{")
    done = run(tmp_path, tmp_path / "docs")
    assert done.returncode == 1 and "cannot read" in done.stderr and done.stderr.count("\n") == 1


def test_accuracy(tmp_path):
    common = {"text": "test.txt", "calibration": "valid.txt", "windows": 16, "window": 1024, "calibration_windows": 64, "machine": "a machine",
              "date": "2025-01-01", "command": "scripts/bench accuracy", "own_ppl": None, "head_bytes": None, "half_ppl": 16.25}
    empty = dict.fromkeys(("group", "bpw", "seconds", "cpu_seconds", "peak_rss_mb"))
    rows = [{**common, **empty, "method": "float", "label": "float", "bits": None, "ppl": 18.8444, "delta": 0.0, "delta_error": 0.0, "kl": 0.0, "top1": 1.0},
            {**common, "method": "hlq", "label": "hlq", "bits": 2, "group": 128, "bpw": 2.375, "ppl": 61.5, "delta": 1.18764, "delta_error": 0.031,
             "kl": 1.05, "top1": 0.4567, "seconds": 240.4, "cpu_seconds": 470.2, "peak_rss_mb": 3100},
            {**common, **empty, "method": "llama.cpp", "label": "llama.cpp Q3_K_M", "bits": "Q3_K_M", "bpw": 4.4, "ppl": None, "delta": None,
             "delta_error": None, "kl": 0.2, "top1": 0.8, "own_ppl": 20.1},
            {**common, **empty, "method": "head", "label": "embedding and head", "bits": 8, "ppl": 18.85, "delta": 0.0012, "delta_error": None, "kl": 0.01,
             "top1": 0.99, "head_bytes": 172_000_000}]
    results, docs = tmp_path / "results", tmp_path / "docs"
    results.mkdir(), docs.mkdir()
    (results / "accuracy.json").write_text(json.dumps(rows))
    begin, end = "<!-- accuracy: written by scripts/bench report -->\n", "<!-- end of accuracy -->\n"
    (docs / "Accuracy.md").write_text(f"# Accuracy\n\n{begin}old\n{end}\nlast words\n")
    for _ in range(2):  # The second time, what the first one wrote is replaced.
        done = run(results, docs)
        assert done.returncode == 0, done.stderr
        text = (docs / "Accuracy.md").read_text()
        assert text.startswith(f"# Accuracy\n\n{begin}") and text.endswith(f"{end}\nlast words\n") and "old" not in text
        assert text.count("## ") == 0 and not (docs / "Performance.md").exists()
        assert "16 windows of 1024 tokens; calibration: 64 windows of valid.txt" in text and "`scripts/bench accuracy`, 2025-01-01, a machine" in text
        assert "| hlq | 2 | 128 | 2.375 | 61.5 | 1.1876 ± 0.031 | 1.0500 | 45.67 | 240 (470) | 3100 | 16.25 |" in text
        assert "| float |  |  |  | 18.844 | 0.0000 | 0.0000 | 100.00 |  |  | 16.25 |" in text
        assert "| llama.cpp Q3_K_M | Q3_K_M |  | 4.400 |  |  | 0.2000 | 80.00 |  |  | 16.25 (its own program: 20.1) |" in text
        assert "- embedding and head, 8 bits: 172.0 MB per token" in text
    (docs / "Accuracy.md").write_text("# Accuracy\n")
    done = run(results, docs)
    assert done.returncode == 1 and "has no place for the table" in done.stderr and done.stderr.count("\n") == 1
