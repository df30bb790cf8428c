"""Add up the JUnit files of a test run and print `N passed, N failed, N skipped`; exit 1 on any failure.

    summarize_tests.py RESULTS_DIR SUITE...

A suite that left no result, and a test binary that died before writing its result, count as failures.
"""
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def main() -> int:
    results = pathlib.Path(sys.argv[1])
    passed = failed = skipped = 0
    for suite in sys.argv[2:]:
        files = sorted(results.glob(f"{suite}*.xml"))
        if not files:
            print(f"{suite}: no result", file=sys.stderr)
            failed += 1
        for file in files:
            if file.stat().st_size == 0:
                continue
            for case in ElementTree.parse(file).iter("testcase"):
                if case.find("failure") is not None or case.find("error") is not None:
                    failed += 1
                    print(f"FAILED {suite}: {case.get('classname')}.{case.get('name')}", file=sys.stderr)
                elif case.find("skipped") is not None or case.get("status") == "notrun":
                    skipped += 1
                else:
                    passed += 1
    for crashed in results.glob("*.crashed"):
        print(f"CRASHED {crashed.stem}", file=sys.stderr)
        failed += 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
