"""Seeded mutations of valid files: the tools end with 0 or with one line of error, never by a signal, and never hang."""

import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor

HOSTILE_BYTES = [0x00, 0x01, 0x08, 0x0A, 0x7F, 0x80, 0xFE, 0xFF]
HOSTILE_INTEGERS = [-(2**63), -(2**31), -1, 0, 1, 2, 3, 7, 64, 2**15, 2**31, 2**40, 2**63 - 1]


def mutate_bytes(data: bytes, structure: list[int], generator: random.Random) -> bytes:
    """A few flips, overwrites, insertions, deletions or copies at places in `structure`, or the file cut off."""
    result = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        place = min(generator.choice(structure), len(result) - 1)
        kind = generator.randrange(6)
        if kind == 0:
            result[place] ^= 1 << generator.randrange(8)
        elif kind == 1:  # Lengths and tags are bytes, too.
            result[place] = generator.choice(HOSTILE_BYTES)
        elif kind == 2:
            result[place:place] = bytes(generator.choices(HOSTILE_BYTES, k=generator.randint(1, 10)))
        elif kind == 3:
            del result[place : place + generator.randint(1, 20)]
        elif kind == 4:
            source = generator.choice(structure)
            result[place:place] = data[source : source + generator.randint(1, 60)]
        elif generator.random() < 0.3:
            del result[place:]
        if not result:
            break
    return bytes(result)


def fields(message, found):
    """All set fields of `message` and of what is in it, as (message, descriptor)."""
    for descriptor, value in message.ListFields():
        found.append((message, descriptor))
        if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for child in value if descriptor.is_repeated else [value]:
                fields(child, found)
    return found


def mutate_fields(model: onnx.ModelProto, generator: random.Random) -> bytes:
    """The same for the decoded message: numbers, names, and missing or doubled parts. Such files decode, so they come further."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for _ in range(generator.randint(1, 2)):
        message, descriptor = generator.choice(fields(result, []))
        value = getattr(message, descriptor.name)
        integer = descriptor.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_ENUM)
        low, high = (-(2**63), 2**63) if descriptor.cpp_type == FieldDescriptor.CPPTYPE_INT64 else (0, 2**31)
        number = generator.choice([n for n in HOSTILE_INTEGERS if low <= n < high])
        try:
            if descriptor.is_repeated:
                place, action = generator.randrange(len(value)), generator.randrange(3)
                if action == 0:
                    del value[place]
                elif action == 1:
                    value.append(value[place])
                elif integer:
                    value[place] = number
                elif descriptor.type == FieldDescriptor.TYPE_STRING:
                    value[place] = generator.choice(["", "x", *value])
            elif integer:
                setattr(message, descriptor.name, number)
            elif descriptor.type == FieldDescriptor.TYPE_STRING:
                others = [getattr(m, d.name) for m, d in fields(result, []) if d.type == FieldDescriptor.TYPE_STRING and not d.is_repeated]
                setattr(message, descriptor.name, generator.choice(["", "x", *others]))
            else:
                message.ClearField(descriptor.name)
        except ValueError:
            continue  # An enumeration refuses what it does not know.
    return result.SerializeToString()


def check(command, path, data, prefix):
    path.write_bytes(data)
    result = subprocess.run([*map(str, command)], capture_output=True, timeout=30, check=False)
    error = result.stderr.decode(errors="replace")
    if result.returncode == 0 or (result.returncode == 1 and error.startswith(prefix) and error.count("\n") == 1):
        path.unlink()
        return None
    return f"{path}: exit {result.returncode}: {error[-2000:]}"


def check_all(jobs):
    with ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        failures = [failure for failure in executor.map(lambda job: check(*job), jobs) if failure]
    assert not failures, f"{len(failures)} of {len(jobs)}:\n" + "\n".join(failures[:5])


@pytest.mark.parametrize("stage, mutate, count", [("onnx", "bytes", 100), ("vector", "fields", 90)])
def test_models(stage, mutate, count, compiler, tiny_model, tmp_path):
    model = onnx.load(tiny_model)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.raw_data = bytes(len(tensor.raw_data))
    data = model.SerializeToString()
    structure = [i for i in range(len(data)) if any(data[max(i - 16, 0) : i + 16])]  # All but the weights.
    generator = random.Random(11)
    jobs = []
    for i in range(count):
        mutant = mutate_bytes(data, structure, generator) if mutate == "bytes" else mutate_fields(model, generator)
        path = tmp_path / f"{i}.onnx"
        command = [compiler, path, "-q", f"--emit={stage}", "--threads=1", "--chunk=4", "-o", "-"]
        jobs.append((command, path, mutant, "elutq-compile: error: "))
    check_all(jobs)


def test_containers(compiler, tiny_model, tmp_path):
    """A container in a file of its own, given to the program of the same model."""
    program = tmp_path / "chat"
    subprocess.run([str(compiler), str(tiny_model), "-q", "-o", str(program)], check=True)
    data = program.read_bytes()
    start = int.from_bytes(data[-56:-48], "little")
    container = bytearray(data[start:])
    container[-56:-48] = bytes(8)  # The container is at the file's start now.
    structure = [i for i in range(len(container)) if i < 12288 or i >= len(container) - 64]
    payload = [i for i in range(4096, 12288) if any(container[max(i - 8, 0) : i + 8])]  # Meta data and tokenizer.
    generator = random.Random(12)
    jobs = []
    for i in range(300):
        mutant = mutate_bytes(bytes(container), structure, generator)
        if i % 2:  # Changes that leave everything in its place: without checksums, they reach the tokenizer.
            mutant = bytearray(container)
            for place in generator.choices(payload, k=generator.randint(1, 4)):
                mutant[place] = generator.choice([*HOSTILE_BYTES, generator.randrange(256)])
        path = tmp_path / f"{i}.weights"
        command = [program, "--weights", path, "--prompt", "hello, world", "-n", "3", "--ignore-eos", *(["--no-verify"] if i % 4 else [])]
        jobs.append((command, path, mutant, "error: "))
    check_all(jobs)
