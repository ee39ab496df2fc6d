#!/usr/bin/env python3
"""Kills small runs at random moments, resumes them, and compares every byte with runs that nobody killed.

    bench/kills.py [--kills 30] [--deeplimit target/release/deeplimit]

Equal must be: the files of weights and optimisers, their names and bytes; the configuration; the metrics but
for seconds and peak_mb, which the clock and the allocator decide. Of a killed run's metrics, the lines up to
its last checkpoint must be there afterwards as they were, times included. Every third run is killed a second
time while it is resumed. Exit code 1 where anything differs. Needs python3 alone.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMON = ["train.epochs=10", "train.checkpoint_every=2", "network.stage.0.depth=6",
          "data.limit_train=800", "data.limit_test=200"]
KINDS = {
    "adamw": [],
    "sgd": ["train.optimiser=sgd", "train.rate=0.05", "augment.noise=0.1"],
    "refined": ["train.refine=[[0,2],[3,4],[6,6]]", "objective.depth.h1=1e-3"],
    "normalised": ["network.stage.0.field=conv-bn", "train.optimiser=adam", "train.epochs=4",
                   'network.stage.0.transition={kind="conv",channels=4,stride=2}'],
}


def train(program, place, out, kind):
    settings = [word for setting in COMMON + KINDS[kind] for word in ("--set", setting)]
    return [program, "train", "--out", out, *settings], place


def whole(program, place, kind):
    """A run that nobody kills, and the seconds that it takes."""
    began = time.monotonic()
    command, cwd = train(program, place, f"{kind}-whole", kind)
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)
    return time.monotonic() - began


def killed(command, cwd, seconds):
    """Whether a command was still running when it was killed after so many seconds."""
    child = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return True


def timeless(metrics):
    return re.sub(rb'"(seconds|peak_mb)":[^,}]*', rb'"\1":', metrics)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kept(program, place, run):
    """The metrics of a killed run up to its last checkpoint; None where it has none yet."""
    if not (run / "weights/last.safetensors").is_file():
        return None
    info = subprocess.run([program, "info", str(run), "--json"], cwd=place, check=True, capture_output=True)
    step, lines = json.loads(info.stdout)["position"]["step"], []
    for line in (run / "metrics.jsonl").read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n") or json.loads(line)["step"] > step:
            break
        lines.append(line)
    return b"".join(lines)


def differences(run, other, history):
    """What of a run differs from another one, or from its own history."""
    metrics, expected = [(path / "metrics.jsonl").read_bytes() for path in (run, other)]
    if not metrics.startswith(history):
        yield "the kept lines of metrics.jsonl were changed"
    for number, (a, b) in enumerate(zip(timeless(metrics).splitlines(), timeless(expected).splitlines())):
        if a != b:
            yield f"metrics.jsonl, line {number + 1}: {a.decode()} instead of {b.decode()}"
            break
    if metrics.count(b"\n") != expected.count(b"\n"):
        yield f"metrics.jsonl has {metrics.count(bytes([10]))} lines, expected {expected.count(bytes([10]))}"
    if (run / "config.toml").read_bytes() != (other / "config.toml").read_bytes():
        yield "config.toml"
    weights, expected = files(run / "weights"), files(other / "weights")
    if weights.keys() != expected.keys():
        yield f"the weights are {sorted(weights)}, expected {sorted(expected)}"
    for name in sorted(weights.keys() & expected.keys()):
        if weights[name] != expected[name]:
            yield f"weights/{name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="runs that are killed [30]")
    parser.add_argument("--deeplimit", default="target/release/deeplimit", help="the program")
    parser.add_argument("--seed", type=int, default=None, help="of the moments [the clock]")
    arguments = parser.parse_args()
    program = shutil.which(arguments.deeplimit)
    if program is None:
        parser.error(f"{arguments.deeplimit}: no such program; build it, or name it with --deeplimit")
    program = os.path.abspath(program)
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % 10**9
    draw = random.Random(seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        took = {}
        number = 0
        while number < arguments.kills:
            kind = list(KINDS)[number % len(KINDS)]
            if kind not in took:
                took[kind] = whole(program, place, kind)
            run = place / f"killed-{number}"
            shutil.rmtree(run, ignore_errors=True)
            moments = [draw.uniform(0, took[kind])]
            command, cwd = train(program, place, str(run), kind)
            history = kept(program, place, run) if killed(command, cwd, moments[0]) else None
            if history is None:
                # It had ended, or had not yet begun.
                continue
            resume = [program, "train", "--resume", str(run)]
            if number % 3 == 2:
                moments.append(draw.uniform(0, took[kind]))
                if killed(resume, place, moments[1]):
                    history = kept(program, place, run)
            subprocess.run(resume, cwd=place, check=True, capture_output=True)
            found = list(differences(run, place / f"{kind}-whole", history))
            wrong += bool(found)
            told = " and ".join(f"{moment:.2f} s" for moment in moments)
            steps = history.count(b'"kind":"step"')
            print(f"{number + 1}/{arguments.kills} {kind}: killed after {told}, {steps} steps kept: "
                  f"{'; '.join(found) or 'the same bytes'}", flush=True)
            number += 1
    print(f"{arguments.kills - wrong} of {arguments.kills} runs are the same to the byte (--seed {seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
