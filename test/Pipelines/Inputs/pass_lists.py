"""Prints the pass lists of docs/Pipelines.md, or those of pipelines: pass_lists.py FILE.md | pass_lists.py ELUTQ_OPT NAME...

Both print a line `# NAME` and the passes, those on functions indented.
"""
import re
import subprocess
import sys


def documented(text: str) -> str:
    sections = re.findall(r"^## (elutq-\S+)$.*?^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return "".join(f"# {name}\n{passes}" for name, passes in sections)


def real(program: str, name: str) -> str:
    # The pipeline is printed before it runs; it may well fail on an empty module.
    dump = subprocess.run([program, f"-{name}", "--dump-pass-pipeline"], input="module {}",
                          capture_output=True, text=True, check=False).stderr
    body = dump.split("builtin.module(\n", 1)[1].split("\n)\n", 1)[0]
    lines = []
    for line in body.splitlines():
        words = line.strip().rstrip(",").split("{")[0]
        if words not in ("func.func(", ")"):
            lines.append((len(line) - len(line.lstrip()) - 2) // 2 * "  " + words + "\n")
    return f"# {name}\n" + "".join(lines)


if sys.argv[1].endswith(".md"):
    with open(sys.argv[1], encoding="utf-8") as file:
        print(documented(file.read()), end="")
else:
    for pipeline in sys.argv[2:]:
        print(real(sys.argv[1], pipeline), end="")
