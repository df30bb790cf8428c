"""Outputs that cannot be written: every tool says so in one line, fails, and leaves nothing behind."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from tiny_models import CONFIGS, random_weights, write_checkpoint

KINDS = ["exe", "lib", "obj", "hlq-onnx", "vector"]
TEXT = ["onnx", "vector", "asm"]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    return path


def fails(command, prefix, parts=(), **options) -> str:
    """The one line on standard error of a command that fails with exit code 1."""
    result = subprocess.run([str(word) for word in command], stderr=subprocess.PIPE, text=True, timeout=60, check=False, **options)
    assert result.returncode == 1, f"exit {result.returncode}: {result.stderr}"
    assert result.stderr.startswith(prefix) and result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr, result.stderr
    return result.stderr


def compile_fails(command, parts=(), **options) -> str:
    return fails(command, "elutq-compile: error: ", parts, **options)


def limit_files(size):
    """Files may not grow beyond `size` bytes, and that is an error of writing."""

    def apply():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return apply


@pytest.mark.parametrize("kind, size", [("exe", 150_000), ("lib", 20_000), ("obj", 20_000), ("hlq-onnx", 4096)])
def test_file_size_limit(kind, size, compiler, tiny_model, folder):
    error = compile_fails([compiler, tiny_model, "-q", f"--emit={kind}", "-o", folder / "libx.so"], ["File too large", "libx"],
                          preexec_fn=limit_files(size))
    assert ".tmp" not in error
    assert list(folder.iterdir()) == []


def on_small_disk(size, folder, command) -> list[str]:
    """A command whose `folder` is a file system of `size` bytes of its own; its last line lists what is in there."""
    script = 'mount -t tmpfs -o size="$1" none "$2" || exit 99; folder=$2; shift 2; "$@"; status=$?; ls -A "$folder"; exit $status'
    flags = "-m" if os.geteuid() == 0 else "-rm"
    return ["unshare", flags, "sh", "-c", script, "sh", str(size), str(folder), *map(str, command)]


@pytest.fixture(scope="module")
def can_mount(tmp_path_factory):
    command = on_small_disk("64k", tmp_path_factory.mktemp("mount"), ["true"])
    if not shutil.which("unshare") or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems may not be mounted here")


@pytest.mark.parametrize("kind, size", [("exe", "600k"), ("lib", "600k"), ("obj", "8k"), ("hlq-onnx", "8k"), ("onnx", "4k")])
def test_full_disk(kind, size, compiler, tiny_model, folder, can_mount):
    command = [compiler, tiny_model, "-q", f"--emit={kind}", "-o", folder / "libx.so"]
    result = subprocess.run(on_small_disk(size, folder, command), capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and result.stdout == "", result
    assert result.stderr.startswith("elutq-compile: error: cannot ") and result.stderr.count("\n") == 1, result.stderr
    assert "No space left on device" in result.stderr, result.stderr


def test_export_on_a_full_disk(tmp_path, folder, can_mount):
    write_checkpoint(tmp_path / "hf", CONFIGS["llama"], random_weights(CONFIGS["llama"], seed=3))
    command = on_small_disk("64k", folder, [sys.executable, "-m", "elutq", "export", tmp_path / "hf", "-o", folder / "x", "-q"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and result.stdout == "", result
    assert result.stderr.startswith("elutq: error: ") and result.stderr.count("\n") == 1, result.stderr
    assert "No space left on device" in result.stderr


def without_override():
    """Makes file permissions hold for the superuser, too."""
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_folders(kind, compiler, tiny_model, folder):
    command = [compiler, tiny_model, "-q", f"--emit={kind}", "-o"]
    compile_fails([*command, folder / "no" / "x"], ["No such file or directory", "no/x"])
    (folder / "file").write_text("mine")
    compile_fails([*command, folder / "file" / "x"], ["Not a directory"])
    folder.chmod(0o555)
    compile_fails([*command, folder / "x"], ["Permission denied"], preexec_fn=without_override)
    assert os.listdir(folder) == ["file"] and (folder / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_itself(kind, compiler, tiny_model, folder):
    shutil.copy(tiny_model, folder / "model.onnx")
    (folder / "link").symlink_to("model.onnx")
    for name in ("model.onnx", "link"):
        if kind == "lib":
            (folder / "libx.so").symlink_to("model.onnx")
            name = "libx.so"
        compile_fails([compiler, folder / "model.onnx", "-q", f"--emit={kind}", "-o", folder / name], [f"{name}' is the model that is read"])
        (folder / "libx.so").unlink(missing_ok=True)
    compile_fails([compiler, folder / "model.onnx", "-q", "--emit=asm", "-o", folder / "x", f"--report={folder}/model.onnx"],
                  ["is the model that is read"])
    assert (folder / "model.onnx").read_bytes() == tiny_model.read_bytes() and len(os.listdir(folder)) == 2


@pytest.mark.parametrize("kind, data, output", [
    ("hlq-onnx", "out.onnx.data", "out.onnx"), ("hlq-onnx", "out.onnx", "out.onnx"), ("lib", "out.weights", "libout.so"), ("exe", "out", "out"),
    ("obj", "out", "link")])
def test_weights_of_the_model(kind, data, output, compiler, tiny_model, folder):
    """The files with the model's external data are as safe as the model."""
    import onnx

    onnx.save(onnx.load(tiny_model), folder / "model.onnx", save_as_external_data=True, location=data, size_threshold=0)
    (folder / "link").symlink_to(data)
    before = (folder / data).read_bytes()
    compile_fails([compiler, folder / "model.onnx", "-q", f"--emit={kind}", "-o", folder / output],
                  ["holds weights of the model that is read"])
    assert (folder / data).read_bytes() == before and len(os.listdir(folder)) == 3


def test_pipes_and_devices(compiler, tiny_model, folder):
    """Text goes into what is there; a whole file cannot."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([str(compiler), str(tiny_model), "-q", "--emit=asm", "-o", str(pipe)]) as process:
        assert "elutq_entry_decode:" in pipe.read_text()
    assert process.returncode == 0 and pipe.is_fifo()
    for kind in ("exe", "lib", "hlq-onnx"):
        compile_fails([compiler, tiny_model, "-q", f"--emit={kind}", "-o", pipe], ["pipe': it is no regular file"])
    assert os.listdir(folder) == ["pipe"]


@pytest.mark.parametrize("kind", TEXT)
def test_standard_output(kind, compiler, tiny_model):
    command = [compiler, tiny_model, "-q", f"--emit={kind}", "-o", "-"]
    with open("/dev/full", "wb") as full:
        compile_fails(command, ["cannot write to standard output: No space left on device"], stdout=full)
    compile_fails(command, ["cannot write to standard output: Bad file descriptor"], preexec_fn=lambda: os.close(1))


@pytest.mark.parametrize("kind, number", [("exe", signal.SIGINT), ("lib", signal.SIGTERM), ("hlq-onnx", signal.SIGINT)])
def test_signals(kind, number, compiler, tiny_model, folder):
    """Once at an early moment, once when the first file appears. A signal that comes behind the last step ends a program that is done."""
    command = [str(compiler), str(tiny_model), "-q", f"--emit={kind}", "-o", str(folder / "libx.so")]
    subprocess.run(command, check=True)
    whole = sorted(os.listdir(folder))
    for wait_for_file in (False, True):
        for name in os.listdir(folder):
            (folder / name).unlink()
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            if wait_for_file:
                while process.poll() is None and not os.listdir(folder):
                    pass
            else:
                time.sleep(0.02)
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
        left = sorted(os.listdir(folder))
        assert left == whole or (left == [] and process.returncode != 0), (left, told)
        assert process.returncode in (0, -number), told


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_of_export(number, code, tmp_path):
    config = {**CONFIGS["llama"], "vocab_size": 20000}
    write_checkpoint(tmp_path / "hf", config, random_weights(config, seed=8))
    out = tmp_path / "a" / "out"
    command = [sys.executable, "-m", "elutq", "export", str(tmp_path / "hf"), "-o", str(out), "-q"]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "python")}, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not out.exists():
            pass
        process.send_signal(number)
        assert process.communicate(timeout=60)[1] == b""
    assert process.returncode in (0, code)
    # Once the files are moved, the output is whole, also if the signal still ends the program before its own end does.
    assert process.returncode != 0 or out.exists()
    assert not (tmp_path / "a").exists() or sorted(os.listdir(out)) == ["config.json", "model.onnx", "model.onnx.data"]


def test_signal_of_compile(compiler, tiny_model, folder):
    """`elutq compile` ends its compiler before it goes."""
    command = [sys.executable, "-m", "elutq", "compile", str(tiny_model), "-q", "-o", str(folder / "chat")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "ELUTQ_COMPILE": str(compiler)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not os.listdir(folder):
            pass
        process.terminate()
        process.communicate(timeout=60)
    assert (process.returncode, os.listdir(folder)) in ((143, []), (0, ["chat"]))


@pytest.mark.parametrize("arguments", [
    ["--prompt", "hello", "-n", "3", "--ignore-eos"], ["--prompt", "hello", "-n", "3", "--print-tokens"], ["--info"],
    ["--info", "--json"], ["--help"], ["--bench", "4,2", "--repeat", "1"], ["--prompt", "hello", "--perplexity"], []])
def test_chat(arguments, tiny_chat, tmp_path):
    def chat_fails(**options):
        with open(tmp_path / "lines", "w+", encoding="utf-8") as lines:
            lines.write("hello\n")
            lines.seek(0)
            fails([tiny_chat, *arguments], "error: ", ["cannot write to the standard output"], stdin=lines, **options)

    with open("/dev/full", "wb") as full:
        chat_fails(stdout=full)
    chat_fails(preexec_fn=lambda: os.close(1))


def test_logits_of_chat(tiny_chat, tmp_path):
    with open(tmp_path / "text", "wb") as text:
        fails([tiny_chat, "--prompt", "a", "-n", "1", "--logits", "/dev/full"], "error: cannot write to '/dev/full'", stdout=text)
    # The file is not mistaken for a closed standard output.
    fails([tiny_chat, "--prompt", "a", "-n", "1", "--logits", tmp_path / "logits"], "error: cannot write to the standard output",
          preexec_fn=lambda: os.close(1))
    assert (tmp_path / "logits").stat().st_size == 4 * 96
