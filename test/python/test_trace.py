"""`--bench P,N --trace FILE`: what each thread does when, as Chrome trace events."""

import json
import subprocess

import pytest

PROMPT, DECODED, THREADS = 70, 2, 2


def chat(*arguments):
    command = [str(argument) for argument in arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def events(tiny_chat, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    result = chat(tiny_chat, "--bench", f"{PROMPT},{DECODED}", "--threads", THREADS, "--repeat", 1, "--trace", path)
    assert result.returncode == 0 and result.stderr == "", result
    assert "prefill  70 tokens" in result.stdout and "decode   2 tokens" in result.stdout
    return json.loads(path.read_text())["traceEvents"]


def complete(events, category):
    return [event for event in events if event["ph"] == "X" and event["cat"] == category]


def test_steps(events):
    """The prompt in its chunks, then the decode steps: one behind the other."""
    steps = complete(events, "step")
    prefill = [step for step in steps if step["name"] == "prefill"]
    assert sum(step["args"]["tokens"] for step in steps[:-DECODED]) == PROMPT and prefill
    assert [step["name"] for step in steps[-DECODED:]] == ["decode"] * DECODED
    assert [step["args"]["position"] for step in steps[-DECODED:]] == [PROMPT, PROMPT + 1]
    for before, after in zip(steps, steps[1:]):
        assert before["ts"] + before["dur"] <= after["ts"] + 0.01


def test_threads(events):
    """Every thread has tasks or waits throughout a step, and never two things at once."""
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {0: "steps", 1: "thread 0", 2: "thread 1"}
    parts = sorted(complete(events, "task") + complete(events, "barrier"), key=lambda event: event["ts"])
    for thread in range(1, THREADS + 1):
        own = [part for part in parts if part["tid"] == thread]
        for before, after in zip(own, own[1:]):
            assert before["ts"] + before["dur"] <= after["ts"] + 0.01, (before, after)
        for step in complete(events, "step"):
            end = step["ts"] + step["dur"]
            inside = [part for part in own if step["ts"] - 0.01 <= part["ts"] and part["ts"] + part["dur"] <= end + 0.01]
            assert sum(part["dur"] for part in inside) >= 0.9 * step["dur"]
    assert any(part["name"] == "wait" for part in parts if part["tid"] == THREADS)


def test_names(events):
    """Tasks are called by what they compute and for which node, and a step calls them in order."""
    listed = []
    for step in complete(events, "step")[-DECODED:]:
        tasks = [task for task in complete(events, "task") if step["ts"] <= task["ts"] < step["ts"] + step["dur"]]
        names = {task["args"]["call"]: task["name"] for task in tasks}
        assert sorted(names) == list(range(len(names)))
        # Each item once, whoever took it.
        items = dict.fromkeys(names, 0)
        for task in tasks:
            items[task["args"]["call"]] += task["args"]["items"]
        listed.append([(names[call], items[call]) for call in sorted(names)])
    assert listed[0] == listed[1]
    first, attention, last = (listed[0][i][0] for i in (0, 1, -1))
    assert first.startswith("packed_gather build_lut lut_matmul ") and "/model/q_proj/MatMul" in first
    assert attention == "attention_parts /model/attention"
    assert "lut_matmul" in last and last.endswith("/lm_head/MatMul")


def test_same_logits(tiny_chat, tmp_path):
    """One thread or several, which take the work from each other: the same bits."""
    rows = []
    for threads in (1, 2, 3, 7):
        path = tmp_path / f"logits{threads}"
        result = chat(tiny_chat, "--prompt", "threads share their work", "-n", 4, "--ignore-eos", "--threads", threads, "--logits", path)
        assert result.returncode == 0, result.stderr
        rows.append(path.read_bytes())
    assert len(set(rows)) == 1 and rows[0]


@pytest.mark.parametrize("path, error", [("no/such/folder", "cannot create 'no/such/folder': No such file or directory"),
                                         ("/dev/full", "cannot write to '/dev/full': No space left on device")])
def test_bad_paths(path, error, tiny_chat):
    result = chat(tiny_chat, "--bench", "4,1", "--repeat", 1, "--trace", path)
    assert result.returncode == 1 and result.stdout == "" and result.stderr == f"error: {error}\n"


def test_usage(tiny_chat):
    result = chat(tiny_chat, "--prompt", "x", "--trace", "file")
    assert result.returncode == 2 and result.stderr == "error: --trace needs --bench\n"
    assert "--trace FILE" in chat(tiny_chat, "--help").stdout
