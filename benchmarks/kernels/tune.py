"""What the cost model's choices of kernels lose against the fastest ones, on this machine.

    tune.py --program build/release/bin/elutq-bench-kernels [--all] [--only REGEX] [--group 128] [--tables 8] [--mcpu CPU] [--threads N]
            [--json FILE]

The products are those of the grid in shapes.json, in groups of one size: a part that takes about two minutes, or with --all all of
them. The program times the kernels among which elutq-compile --tune chooses. Prints a table and writes a list of rows.
"""
import argparse
import itertools
import json
import pathlib
import sys
from typing import Iterator

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import common  # noqa: E402

# What the model may lose; more is marked.
LIMIT = 10
COLUMNS = (("work", 22, "<"), ("the model's", 15, "<"), ("us", 10, ">"), ("best", 15, "<"), ("us", 10, ">"), ("loss", 7, ">"), ("", 0, "<"))


def products(shapes: dict, everything: bool, group: int) -> Iterator[dict]:
    grid = shapes["grid"]
    some = grid if everything else {**grid, **shapes["tune"]}
    for (n, k), bits, m in itertools.product(some["shapes"], some["bits"], some["M"]):
        yield {"work": f"{n}x{k} M{m} W{bits}", "bits": bits, "group": group, "M": m, "N": n, "K": k}


def measure(product: dict, args: argparse.Namespace) -> dict:
    command = [args.program, "-candidates", "-mcpu", args.mcpu, "-threads", args.threads, "-tables", args.tables,
               "-bits", product["bits"], "-group", product["group"], "-m", product["M"], "-n", product["N"], "-k", product["K"]]
    row = {**product, **common.run_program(product["work"], command)}
    row["model"], row["best"] = row["kernels"][0], min(row["kernels"], key=lambda kernel: kernel["us"])
    row["loss_percent"] = round((row["model"]["us"] / row["best"]["us"] - 1) * 100, 1)
    return row


def short(kernel: dict) -> str:
    return f"{kernel['algorithm']} m{kernel['m_tile']}n{kernel['n_tile']}t{kernel['table_bits']}"


def line(values: list) -> str:
    return common.table_line(values, COLUMNS)


def table_line(row: dict) -> str:
    model, best, loss = row["model"], row["best"], row["loss_percent"]
    return line([row["work"], short(model), f"{model['us']:.1f}", short(best), f"{best['us']:.1f}", f"{loss:.1f} %",
                 f"more than {LIMIT} %" if loss > LIMIT else ""])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--shapes", type=pathlib.Path, default=FOLDER / "shapes.json")
    parser.add_argument("--all", action="store_true", help="all products of the grid")
    parser.add_argument("--only", default="", metavar="REGEX", help="only the products whose name this matches")
    parser.add_argument("--group", type=int, default=128, choices=(32, 64, 128), help="columns per group")
    parser.add_argument("--tables", type=int, default=8, choices=(8, 16), help="bits of an entry")
    parser.add_argument("--mcpu", default="native", help="processor to compile for")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    args.only = common.parse_only(parser, args.only)
    return args


def main() -> None:
    args = parse_arguments()
    rows = common.named(products(json.loads(args.shapes.read_text()), args.all, args.group), args.only)
    print(line([name for name, _, _ in COLUMNS]), flush=True)
    done = []
    for product in rows:
        done.append(measure(product, args))
        print(table_line(done[-1]), flush=True)
        if args.json:
            args.json.write_text(json.dumps(done, indent=1) + "\n")
    losses = sorted(row["loss_percent"] for row in done)
    print(f"the model's kernels lose {losses[len(losses) // 2]:.1f} % in the median, {losses[-1]:.1f} % at most; "
          f"{sum(loss > LIMIT for loss in losses)} of {len(losses)} more than {LIMIT} %")


if __name__ == "__main__":
    try:
        main()
    except common.BenchError as error:
        sys.exit(f"tune.py: error: {error}")
