"""Fails where the generated page of a pass lacks a part: check_passes.py FILE.md..."""
import re
import sys

PARTS = {"Requires:": "what it requires", "Ensures:": "what it ensures", "Next:": "what runs next", "```": "an example",
         "#### Statistics": "a statistic"}

failures = passes = 0
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        for section in re.split(r"^### ", file.read(), flags=re.MULTILINE)[1:]:
            passes += 1
            name = section.split("\n", 1)[0].strip("` ")
            for part, meaning in PARTS.items():
                if part not in section:
                    failures += 1
                    print(f"{path}: {name} does not say {meaning} ({part})")
print(f"{passes} passes, {failures} omissions")
sys.exit(failures > 0 or passes == 0)
