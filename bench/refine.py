#!/usr/bin/env python3
"""Coarse to fine against deep from the start: training loss and time.

    python3 bench/refine.py DEEPLIMIT digits            the built-in digits
    python3 bench/refine.py DEEPLIMIT fashion DIR       examples/fashion-mnist.toml on the data in DIR

DEEPLIMIT is the built command. Each case is trained with three seeds, the cases of a seed one after the
other, so that a slow minute of the machine meets all of them. Runs go to --out (target/refine): one that is
there is read, one that was stopped is gone on with. The table has medians over the seeds of the training
loss of the last epoch, the test accuracy, the seconds of training; and of loss and seconds as shares of
those of the first case, seed by seed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

# Name, and settings of a case; those of all cases of a data set.
CASES = {
    "digits": [
        ("64 from the start", []),
        (
            "8, 16, 64 from epochs 0, 10, 24",
            ["train.refine=[[0,8],[10,16],[24,64]]", "train.refine_by=constant"],
        ),
        ("8 all along", ["network.stage.0.depth=8"]),
    ],
    "fashion": [
        ("64 from the start", []),
        (
            "8, 16, 64 from epochs 0, 3, 4",
            ["train.refine=[[0,8],[3,16],[4,64]]", "train.refine_by=constant"],
        ),
        ("8 all along", ["network.stage.0.depth=8"]),
    ],
}
COMMON = {"digits": [], "fashion": ["train.epochs=5"]}


def train(deeplimit, settings, out, arguments):
    """Training loss and seconds of a run's last epoch, and its test accuracy."""
    if not (out / "summary.json").is_file():
        command = [deeplimit, "train", "--json"]
        if (out / "weights" / "last.safetensors").is_file():
            command += ["--resume", str(out)]
        else:
            command += [*arguments, "--out", str(out)]
            command += [part for setting in settings for part in ("--set", setting)]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            sys.exit(f"{' '.join(command)}: {run.stderr.strip()}")
        (out / "summary.json").write_text(run.stdout.splitlines()[-1])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "epoch"][-1]
    accuracy = json.loads((out / "summary.json").read_text())["test_accuracy"]
    return last["train_loss"], last["seconds"], accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deeplimit")
    parser.add_argument("data", choices=CASES)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], help="a setting of all cases")
    parser.add_argument("--case", action="append", type=json.loads, help="more settings, as a JSON array")
    parser.add_argument("--out", type=Path, default=Path("target/refine"))
    options = parser.parse_args()
    arguments = []
    if options.data == "fashion":
        if options.folder is None:
            sys.exit("fashion needs the folder of the data")
        arguments = ["examples/fashion-mnist.toml", "--data", options.folder]
    cases = CASES[options.data]
    if options.case:
        cases = cases[:1] + [(" ".join(case), case) for case in options.case]
    rows = {name: [] for name, _ in cases}
    (options.out / options.data).mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name, settings in cases:
            label = "".join(c if c.isalnum() else "-" for c in " ".join(settings) or "deep")
            out = options.out / options.data / f"{label}-seed{seed}"
            common = [f"seed={seed}", "network.stage.0.depth=64", *COMMON[options.data], *options.set]
            rows[name].append(train(options.deeplimit, common + settings, out, arguments))
            print(f"seed {seed}, {name}: {rows[name][-1]}", file=sys.stderr)
    first = rows[cases[0][0]]
    print("| depth | training loss | test accuracy | seconds | share of the loss | of the time |")
    print("|---|---|---|---|---|---|")
    for name, _ in cases:
        loss, seconds, accuracy = (statistics.median(column) for column in zip(*rows[name]))
        share = [
            statistics.median(row[i] / base[i] for row, base in zip(rows[name], first)) for i in (0, 1)
        ]
        print(
            f"| {name} | {loss:.4f} | {100 * accuracy:.2f} % | {seconds:.1f} | "
            f"{100 * share[0]:.0f} % | {100 * share[1]:.0f} % |"
        )


if __name__ == "__main__":
    main()
