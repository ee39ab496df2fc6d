#!/usr/bin/env python3
"""Times the library's gradients and its peers' in turn, and tabulates both.

Called by versus.sh. Needs the standard library alone; peers.py runs in the same interpreter and
brings its own packages. A cell is one process that times one method on one workload. Cells of the
two sides alternate, so that what disturbs the machine disturbs both. There are several passes: the
first one runs every peer, the later ones run our methods again and those peers that decide a ratio.
A time is the median over the passes of each cell's median.
"""
import argparse
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from itertools import zip_longest
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "bench" / "golden"

EXACT, FREE = "backprop", "adjoint-predicted"
OTHERS = ["checkpoint", "adjoint-published", "adjoint-corrected", "adjoint-learned", "adjoint-adaptive"]
PLAIN = ["torch-backprop", "torch-compile", "torch-compile-block", "jax-scan-backprop"]
PEER_FREE = "torch-adjoint"
PEERS = PLAIN + [PEER_FREE, "torch-checkpoint-sqrt", "memcnn", "jax-scan-remat", "diffrax"]
ALWAYS = ["torch-backprop", PEER_FREE]  # what the tables compare with, however slow

SGEMM = [("gflops", "_best"), ("gflops", "_median"), ("foreign_cpus", "")]  # fields of a row

SLOW = 3.0  # a peer so many times slower than the fastest one, in the reference run, is left out
CLOSE = 1.5  # a plain peer so close to the fastest one is repeated in later passes
NOISY = 0.1  # CPUs taken by other processes that count as a disturbance
LONG_CELL_S = 30  # --quick leaves out peers whose process took longer in the reference run
MIB = 2**20 / 1e6  # peers.py counts memory in MiB, deeplimit-bench in MB
LIMIT_S = 300  # a process that takes longer is stopped

# Least ratio of the fastest peer's plain backprop to ours (exact, memory-free), largest share of
# PyTorch's memory in the memory-free gradient, and least share of the sgemm peak.
SPEED = {"W1": (3, 2.5), "W2": (2.5, 2), "W3": (3, 2.5), "W4": (1.2, 1), "W5": (2, 1.5),
         "W6": (1.2, 1), "W7": (2, 1.5), "W8": (1, None), "W9": (3, 2.5)}
MEMORY = {name: 0.05 for name in ("W1", "W2", "W5", "W9")}
PEAK = {"W1": 0.65, "W4": 0.65, "W5": 0.5, "W6": 0.5, "W7": 0.5}


# Workloads


def definition(workload):
    """Sizes of a workload: kind, N, batch and d, h or c, hw."""
    return json.loads((GOLDEN / f"{workload.lower()}.json").read_text())["definition"]


def parameter_mb(workload):
    """10⁶ bytes of all parameters in single precision."""
    size = definition(workload)
    if size["kind"] == "mlp":
        layer = 2 * size["d"] * size["h"] + size["d"] + size["h"]
    else:  # two 3×3 convolutions with a bias each, or with scale and shift of a normalisation each
        layer = 2 * 9 * size["c"] ** 2 + (2 if size["kind"] == "conv" else 4) * size["c"]
    return 4e-6 * layer * size["N"]


def tolerance(workload, method, peers):
    """Largest gradient error at which a row of ours counts; None where nothing is promised.

    Exact methods: 10⁻⁴, or three times the error of PyTorch's own float32 backprop where that is
    more. Reconstructing methods, on these weights, which are independent from layer to layer: of
    order 1 in h (published, and predicted by extrapolation) or 2 (corrected, learned), or four
    times the tolerance 10⁻³ of the adaptive one. The constants are above those measured on random
    networks: 0.1 and 1.2 for order 1, 0.4 for order 2. With batch normalisation h times the
    Lipschitz constant is not small, and no rate is promised.
    """
    size = definition(workload)
    step = 1 / size["N"]
    if method in (EXACT, "checkpoint"):
        golden = peers / f"golden_{workload.lower()}.json"
        float32 = json.loads(golden.read_text())["float32_torch_backprop"] if golden.exists() else {}
        return max(1e-4, 3 * float32.get("rel_err_params_vs_float64", 0))
    if size["kind"] == "convbn":
        return None
    order_1, order_2 = 2 * step + 1e-4, 4 * step**2 + 1e-4
    return {"adjoint-published": order_1, FREE: order_1, "adjoint-adaptive": 4e-3}.get(method, order_2)


# Processes


def cpu_seconds():
    """Seconds that all CPUs were busy for this machine, or None where the system does not tell."""
    try:
        ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    except OSError:
        return None
    user, nice, system, _idle, _wait, interrupts, soft = map(int, ticks)
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_until_quiet(limit):
    """Waits, at most so many seconds, for one second in which no other process computes."""
    ends, quiet = time.time() + limit, 0
    while quiet < 2 and time.time() < ends:
        before = cpu_seconds()
        if before is None:
            return
        time.sleep(0.5)
        quiet = quiet + 1 if cpu_seconds() - before < 0.1 else 0


def run(command):
    """The last JSON object that a process prints; `error` where there is none."""
    began, busy, own = time.time(), cpu_seconds(), children_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as stop:
        os.killpg(process.pid, 9)  # the process and what it started
        process.communicate()
        if isinstance(stop, KeyboardInterrupt):
            raise
        return {"error": f"stopped after {LIMIT_S} s"}
    wall = time.time() - began
    rows = [line for line in out.splitlines() if line.startswith("{")]
    row = json.loads(rows[-1]) if rows else {}
    if process.returncode != 0 or not row:
        lines = err.strip().splitlines() or ["no output"]
        told = next((line for line in lines if line.startswith("Error")), lines[-1])
        return {"error": f"exit status {process.returncode}: {told[:200]}"}
    if row.get("skipped"):
        return {"error": row["skipped"]}
    if busy is not None:  # peers.py counts those of its timed steps alone, which is more precise
        others = (cpu_seconds() - busy) - (children_seconds() - own)
        row.setdefault("foreign_cpus", round(max(0.0, others) / wall, 2))
    return row


def is_disturbed(row):
    """Whether other processes computed meanwhile."""
    return row.get("foreign_cpus", 0) > NOISY


# Which peers run


def planned_peers(workload, reference, quick):
    """[(method, layout)] to run, and {method: why not} for the others.

    The reference run of the peers decides: it knows the layouts, and which cells take too long.
    """
    known = {row["method"]: row for row in reference if row["workload"] == workload}
    times = [known[m]["ms_median"] for m in PLAIN if known.get(m, {}).get("ms_median")]
    cells, left_out = [], {}
    for method in PEERS:
        row = known.get(method)
        if row is None:
            cells.append((method, "auto"))
        elif row.get("ms_median") is None:
            left_out[method] = row.get("skipped") or "no time in the reference run"
        elif method not in ALWAYS and row["ms_median"] > SLOW * min(times):
            left_out[method] = f"{row['ms_median']:.0f} ms in the reference run"
        elif quick and (row.get("cell_s") or 0) > LONG_CELL_S:
            left_out[method] = f"takes {row['cell_s']:.0f} s to run; left out of a quick run"
        else:
            cells.append((method, row["layout"]))
            other = row.get("other_layout", {})
            if method == "torch-backprop" and other.get("ms_median"):
                cells.append((method, other["layout"]))
    return cells, left_out


def deciding_peers(cells):
    """The cells of a first pass that decide a ratio: the fast or disturbed plain ones, the adjoint."""
    timed = [cell for cell in cells if "ms_median" in cell["row"]]
    plain = [cell["row"]["ms_median"] for cell in timed if cell["method"] in PLAIN]

    def decides(method, row):
        may_be_fastest = row["ms_median"] <= CLOSE * min(plain) or is_disturbed(row)
        return method == PEER_FREE or (method in PLAIN and may_be_fastest)

    return [(c["method"], c["layout"]) for c in timed if decides(c["method"], c["row"])]


# Measuring


class Measurement:
    """The cells of a run, kept in a file from which a stopped run goes on."""

    def __init__(self, options):
        self.options = options
        scratch = options.scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self.file = scratch / "cells.json"
        self.peers = scratch / "peers.py"  # a copy, since peers.py writes files beside itself
        if not options.report:
            shutil.copyfile(options.peers / "peers.py", self.peers)
        if options.resume or options.report:
            self.data = json.loads(self.file.read_text())
        else:
            asked = {"workloads": options.workloads, "passes": options.passes,
                     "seconds": options.seconds, "quick": options.quick}
            self.data = {"asked": asked, "machine": machine(), "sgemm": {}, "cells": [],
                         "left_out": {}}

    def save(self):
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.data, indent=1))
        part.replace(self.file)

    def cells(self, **wanted):
        return [c for c in self.data["cells"] if all(c[key] == value for key, value in wanted.items())]

    def sgemm(self, when):
        """Speed of 2048×2048 matrix products in PyTorch, with 1 and 2 threads."""
        if when not in self.data["sgemm"]:
            wait_until_quiet(self.options.wait)
            row = run([sys.executable, str(self.peers), "--sgemm"])
            self.data["sgemm"][when] = row
            self.save()
            say(f"sgemm: {row.get('error') or row['gflops_2t_best']}")

    def cell(self, number, workload, side, method, layout):
        key = {"pass": number, "workload": workload, "side": side, "method": method, "layout": layout}
        if self.cells(**key):
            return
        if side == "ours":
            command = [str(self.options.bench), "--workload", workload, "--method", method, "--json",
                       "--seconds", str(self.data["asked"]["seconds"])]
        else:
            command = [sys.executable, str(self.peers), "--workload", workload, "--method", method,
                       "--layout", layout, "--json"]
        wait_until_quiet(self.options.wait)
        row = run(command)
        self.data["cells"].append({**key, "row": row})
        self.save()
        text = row.get("error") or f"{row['ms_median']:.1f} ms, others {row.get('foreign_cpus')} CPUs"
        say(f"pass {number} {workload} {method} {'' if layout == 'none' else layout}: {text}")

    def measure(self):
        self.sgemm("start")
        asked = self.data["asked"]
        results = self.options.peers / "results-reference.json"
        reference = json.loads(results.read_text())["rows"] if results.exists() else []
        for number in range(1, asked["passes"] + 1):
            for workload in asked["workloads"]:
                peers, left_out = planned_peers(workload, reference, asked["quick"])
                self.data["left_out"][workload] = left_out
                if number > 1:
                    peers = deciding_peers(self.cells(workload=workload, side="peer", **{"pass": 1}))
                for ours, peer in zip_longest([EXACT, FREE] + OTHERS, peers):
                    if ours:
                        self.cell(number, workload, "ours", ours, "none")
                    if peer:
                        self.cell(number, workload, "peer", *peer)
            self.sgemm(f"after pass {number}")


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def machine():
    """What the results depend on."""
    def first_line(*command):
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        except OSError:
            return "unknown"
        return (done.stdout.splitlines() or ["unknown"])[0]

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"processor": models[0] if models else platform.processor() or platform.machine(),
            "cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d"),
            "revision": first_line("git", "describe", "--always", "--dirty"),
            "rustc": first_line("rustc", "--version"),
            "kernels": os.environ.get("DEEPLIMIT_SIMD", "the widest of the machine")}


# Tables


def summary(cells):
    """Medians over the passes of one method; undisturbed passes alone where there are any."""
    rows = [cell["row"] for cell in cells if "ms_median" in cell["row"]]
    if not rows:
        return {"error": cells[0]["row"]["error"]} if cells else {"error": "not run"}
    quiet = [row for row in rows if not is_disturbed(row)]
    used = quiet or rows
    result = {"ms": median(row["ms_median"] for row in used), "disturbed": not quiet,
              "passes": len(used), "method": cells[0]["method"], "layout": cells[0]["layout"],
              "least": min(row["ms_median"] for row in used),
              "most": max(row["ms_median"] for row in used)}
    for key in ("peak_mb", "gflops_useful", "gflops_executed"):
        values = [row[key] for row in used if row.get(key) is not None]
        result[key] = median(values) if values else None
    errors = [math.nan if row.get("grad_rel_err") is None else row["grad_rel_err"] for row in rows]
    result["error_of_gradient"] = math.nan if any(map(math.isnan, errors)) else max(errors)
    return result


KINDS = {"ratio": ("{:.2f}", "≥"), "share": ("{:.0%}", "≥"), "memory": ("{:.1%}", "≤")}


class Report:
    """The tables of a measurement."""

    def __init__(self, data, peers):
        self.data, self.peers = data, peers
        self.workloads = data["asked"]["workloads"]
        self.failures, self.verdicts = [], []
        sgemm = [row for row in data["sgemm"].values() if "error" not in row]
        self.peak = max((row["gflops_2t_best"] for row in sgemm), default=None)
        self.peak_settled = any(row["foreign_cpus_2t"] <= NOISY for row in sgemm)
        self.ours = {(w, m): self.judged(w, m) for w in self.workloads for m in [EXACT, FREE] + OTHERS}

    def of(self, workload, side, method, layout=None):
        return summary([c for c in self.data["cells"] if c["workload"] == workload and c["side"] == side
                        and c["method"] == method and layout in (None, c["layout"])])

    def judged(self, workload, method):
        """A row of ours, with whether its gradient is right."""
        row = self.of(workload, "ours", method)
        row["allowed"] = allowed = tolerance(workload, method, self.peers)
        if "error" in row:
            self.failures.append(f"{workload} {method}: {row['error']}")
        elif not row["error_of_gradient"] <= (math.inf if allowed is None else allowed):  # NaN too
            row["wrong"] = True
            self.failures.append(f"{workload} {method}: wrong gradient, error "
                                 f"{row['error_of_gradient']:.1e}, allowed {allowed or math.inf:.1e}")
        return row

    def peer_rows(self, workload):
        found = dict.fromkeys((c["method"], c["layout"]) for c in self.data["cells"]
                              if c["workload"] == workload and c["side"] == "peer")
        return {key: self.of(workload, "peer", *key) for key in found}

    def fastest(self, workload, methods):
        """The fastest of these peers whose gradient is right; None where none ran."""
        rows = [row for (method, _), row in self.peer_rows(workload).items()
                if method in methods and row.get("error_of_gradient", math.nan) <= 1e-3]
        return min(rows, key=lambda row: row["ms"], default=None)

    def judge(self, workload, what, value, bound, kind, settled=True):
        """A number with its target, and whether that is met; remembers the verdict.

        A target without a number is missed, and one whose times were disturbed is open.
        """
        form, relation = KINDS[kind]
        text = "–" if value is None else form.format(value)
        if bound is None:
            return text
        goal = f"{bound:g}" if kind == "ratio" else f"{bound:.0%}"
        if value is None:
            verdict = "missed"
        elif not settled:
            verdict = "open"
        else:
            verdict = "met" if (value >= bound if relation == "≥" else value <= bound) else "missed"
        self.verdicts.append((workload, what, verdict))
        return f"{text} ({relation} {goal}: {verdict if verdict == 'met' else f'**{verdict}**'})"

    def time_table(self):
        lines = []
        for w in self.workloads:
            plain, adjoint = self.fastest(w, PLAIN), self.of(w, "peer", PEER_FREE)
            quiet = not any(row.get("disturbed") for (method, _), row in self.peer_rows(w).items()
                            if method in PLAIN)
            ratios = []
            for method, bound in zip((EXACT, FREE), SPEED[w]):
                row = self.ours[w, method]
                usable = plain and "ms" in row and "wrong" not in row
                ratio = plain["ms"] / row["ms"] if usable else None
                settled = quiet and not row.get("disturbed")
                ratios.append(self.judge(w, f"time of {method}", ratio, bound, "ratio", settled))
            exact, free = self.ours[w, EXACT], self.ours[w, FREE]
            against = f"{adjoint['ms'] / free['ms']:.2f}" if "ms" in adjoint and "ms" in free else "–"
            lines.append([w, ms(exact), ms(free), name(plain), ms(plain), ms(adjoint), *ratios, against])
        return table(["", f"`{EXACT}`", f"`{FREE}`", "fastest peer's plain backprop", "ms",
                      "PyTorch's memory-free adjoint", f"peer / `{EXACT}`", f"peer / `{FREE}`",
                      f"PyTorch's adjoint / `{FREE}`"], lines)

    def quality_table(self):
        lines = []
        for w in self.workloads:
            line = [w]
            for method in (EXACT, FREE):
                row = self.ours[w, method]
                speed = row.get("gflops_executed")
                share = speed / self.peak if speed and self.peak and "wrong" not in row else None
                settled = self.peak_settled and not row.get("disturbed")
                line += [gradient_error(row), f"{speed:.0f}" if speed else "–",
                         self.judge(w, f"share of peak, {method}", share, PEAK.get(w), "share", settled)]
            lines.append(line)
        head = ["gradient error (allowed)", "GFLOP/s executed", "share of the sgemm peak"]
        return table(["", *(f"`{m}`: {h}" for m in (EXACT, FREE) for h in head)], lines)

    def memory_table(self):
        def above(row, unit, base):
            return None if row.get("peak_mb") is None else row["peak_mb"] * unit - base

        def number(mb):
            return "–" if mb is None else f"{mb:.1f}"

        lines = []
        for w in self.workloads:
            base = 2 * parameter_mb(w)
            exact, free = (above(self.ours[w, method], 1, base) for method in (EXACT, FREE))
            torch = [above(row, MIB, base) for (method, _), row in self.peer_rows(w).items()
                     if method == "torch-backprop" and "ms" in row]
            torch = min(torch, default=None)
            shares = [None if mb is None or torch is None else mb / torch for mb in (exact, free)]
            lines.append([w, number(base), number(torch), number(exact), number(free),
                          self.judge(w, "", shares[0], None, "memory"),
                          self.judge(w, f"memory of {FREE}", shares[1], MEMORY.get(w), "memory")])
        return table(["", "parameters and gradients", "PyTorch's backprop", f"`{EXACT}`", f"`{FREE}`",
                      f"`{EXACT}` / PyTorch", f"`{FREE}` / PyTorch"], lines)

    def others_table(self):
        def cell(row):
            return row["error"] if "error" in row else f"{ms(row)} · {gradient_error(row)}"

        return table(["", *(f"`{method}`" for method in OTHERS)],
                     [[w, *(cell(self.ours[w, method]) for method in OTHERS)] for w in self.workloads])

    def peers_table(self):
        lines = []
        for w in self.workloads:
            for (method, layout), row in self.peer_rows(w).items():
                error = f"{row['error_of_gradient']:.1e}" if "ms" in row else row["error"]
                peak = f"{row['peak_mb'] * MIB:.0f}" if row.get("peak_mb") else "–"
                lines.append([w, name({"method": method, "layout": layout}), ms(row), spread(row), peak,
                              error])
            for method, why in self.data["left_out"].get(w, {}).items():
                lines.append([w, method, "–", "–", "–", f"left out: {why}"])
        return table(["", "peer", "ms", "least – most over the passes (passes)", "peak MB",
                      "gradient error, or why there is none"], lines)

    def text(self):
        """The whole document."""
        about, asked = self.data["machine"], self.data["asked"]
        rows = [c["row"] for c in self.data["cells"] if c["side"] == "peer"]
        versions = {k: v for row in rows for k, v in row.get("versions", {}).items()}
        peers = ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))
        products = [[when] + [row.get(f"{key}_{threads}t{end}", "–") for threads in (1, 2)
                              for key, end in SGEMM] for when, row in self.data["sgemm"].items()]
        head = [f"{threads}: {text}" for threads in ("1 thread", "2 threads")
                for text in ("best", "median", "CPUs of others")]
        sgemm = table(["torch.mm 2048³, GFLOP/s", *head], products)
        tables = [self.time_table(), self.quality_table(), self.memory_table()]  # collect the verdicts
        missed = [f"{w} {what}" for w, what, verdict in self.verdicts if verdict == "missed"]
        unsettled = [f"{w} {what}" for w, what, verdict in self.verdicts if verdict == "open"]
        met = len(self.verdicts) - len(missed) - len(unsettled)
        failures = "\n".join(f"- FAILED: {failure}" for failure in self.failures)
        return f"""# Results

Written by `bench/versus.sh`{" --quick" if asked["quick"] else ""}; do not edit. One step is one way
forward, the loss and the gradient with respect to every parameter and the input, in single precision
with two threads. Times are milliseconds, medians over {asked["passes"]} pass(es) in which the library
and its peers took turns. `*`: another process was computing during every pass.

- processor: {about["processor"]}, {about["cores"]} cores
- date: {about["date"]}, revision {about["revision"]}
- library: {about["rustc"]}; kernels: {about["kernels"]}
- peers: {peers or "none ran"}

Targets met: {met} of {len(self.verdicts)}.
{"Missed: " + ", ".join(missed) + "." if missed else ""}
{"Open, since the machine was disturbed: " + ", ".join(unsettled) + "." if unsettled else ""}

{failures}

## Machine

{sgemm}

## Time

A ratio above 1 means that the library is faster. A peer counts where its gradient is right to 10⁻³.

{tables[0]}

## Gradients and use of the machine

Errors are against gradients computed in double precision. A gradient beyond what is allowed is
marked **wrong** and its time does not count. The peak is the best of the two-thread products above.

{tables[1]}

## Memory

Peak resident memory above the process's own, less parameters and their gradients, in MB (10⁶ bytes).

{tables[2]}

## Other methods

Milliseconds · gradient error (allowed).

{self.others_table()}

## Every peer

Gradient errors here are against PyTorch's backprop in single precision.

{self.peers_table()}
"""


def ms(row):
    if not row or "ms" not in row:
        return "–"
    number = f"{row['ms']:.1f}" if row["ms"] < 100 else f"{row['ms']:.0f}"
    return number + ("*" if row["disturbed"] else "")


def spread(row):
    return f"{row['least']:.1f} – {row['most']:.1f} ({row['passes']})" if "ms" in row else "–"


def name(row):
    if not row:
        return "–"
    return row["method"] + ("" if row["layout"] in ("none", "auto") else f" ({row['layout']})")


def gradient_error(row):
    if "error" in row:
        return "–"
    allowed = "not judged" if row["allowed"] is None else f"{row['allowed']:.1e}"
    return f"{'**wrong** ' if 'wrong' in row else ''}{row['error_of_gradient']:.1e} ({allowed})"


def table(head, lines):
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
    return "\n".join("| " + " | ".join(str(c).replace("|", "/") for c in row) + " |" for row in rows)


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", type=Path, help="the built deeplimit-bench")
    parser.add_argument("--peers", type=Path, required=True, help="folder of peers.py")
    parser.add_argument("--workloads", help="such as W1,W5 [all nine]")
    parser.add_argument("--passes", type=int, help="[3]")
    parser.add_argument("--quick", action="store_true",
                        help="W1, W3 and W5 in one pass, without peers that take long to compile")
    parser.add_argument("--seconds", type=float, default=3.0, help="timed seconds a cell of ours [3]")
    parser.add_argument("--wait", type=float, default=60.0,
                        help="seconds to wait, at most, for an idle machine before a cell [60]")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "RESULTS.md")
    parser.add_argument("--scratch", type=Path, default=ROOT / "target" / "versus",
                        help="folder of what is measured and of the peers' own files")
    parser.add_argument("--resume", action="store_true", help="go on with the run that was stopped")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the tables again")
    found = parser.parse_args()
    found.passes = found.passes or (1 if found.quick else 3)
    workloads = found.workloads or ("W1,W3,W5" if found.quick else ",".join(SPEED))
    found.workloads = workloads.split(",")
    unknown = [workload for workload in found.workloads if workload not in SPEED]
    if unknown or found.passes < 1:
        parser.error(f"expected workloads of {', '.join(SPEED)} and at least one pass")
    if not found.report:
        for path in (found.bench, found.peers / "peers.py"):
            if path is None or not path.exists():
                parser.error(f"{path or '--bench'} is not there: see the top of bench/versus.sh")
        found.bench = found.bench.resolve()
    if (found.resume or found.report) and not (found.scratch / "cells.json").exists():
        parser.error("there is no earlier run to go on with")
    return found


def main():
    asked = options()
    measurement = Measurement(asked)
    if not asked.report:
        measurement.measure()
    report = Report(measurement.data, asked.peers)
    text = report.text()
    asked.output.write_text(text)
    print(text)
    for failure in report.failures:
        say(failure)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
