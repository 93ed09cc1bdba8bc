"""lhexplore beside its peers, on the same networks, data, seeds and threads: ``make bench``, or this file.

Every cell (network × tool × task) runs in a fresh process with a limit on its time; one that fails is a result. A full
run writes benchmarks/results/peers.json and the picture; one that is narrowed down only prints, unless told --out.

    python benchmarks/peers/run.py                               everything, about half an hour
    python benchmarks/peers/run.py --quick                       two networks, few data: does it all work?
    python benchmarks/peers/run.py --task slq --model relu       one row
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from models import WEIGHTS  # noqa: E402
from problem import Problem  # noqa: E402
from report import errors, load_spectra, ratios, table, verdicts  # noqa: E402
from tools import NAMES, TASKS, Settings, tool  # noqa: E402

TORCH = "2.13.0"  # what the peers were tried with: any other makes every ratio mean something else


class Plan(NamedTuple):
    """The layer of the "slq" task, of middle size, and how many probes peers can afford on it."""

    layer: str
    probes: int


PLANS = {
    "tanh": Plan("fc2", 10),
    "gelu": Plan("fc2", 10),
    "relu": Plan("fc2", 10),
    "lenet": Plan("conv2", 10),
    "resnet20": Plan("blocks.4.conv1", 2),
    "transformer": Plan("blocks.1.attn.proj", 10),
}
QUICK_MODELS = ("relu", "transformer")
QUICK_EXAMPLES = 16


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(PLANS), help="only these networks")
    parser.add_argument("--tool", action="append", choices=list(NAMES), help="only these tools")
    parser.add_argument("--task", action="append", choices=list(TASKS), help="only these tasks")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; the reference stays on the CPU")
    parser.add_argument("--budget", type=float, default=20, help="seconds a cell may spend on running in full")
    parser.add_argument("--quick", action="store_true", help="few data, probes and steps: numbers mean nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", action="store_true", help="only check what is installed")
    parser.add_argument("--out", type=Path, help="JSON file; the picture is put beside it")
    return parser.parse_args()


def settings(args: argparse.Namespace, model: str) -> Settings:
    plan = PLANS[model]
    if args.quick:
        return Settings(2, 6, plan.layer, 1, 3, 9, args.seed, 2.0)
    return Settings(10, 80, plan.layer, plan.probes, 10, 99, args.seed, args.budget)


def call(script: str, order: dict[str, Any], *, limit: float) -> str:
    """Run a script of this folder in a fresh process; returns what went wrong, or nothing."""
    threads = str(order["threads"])
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    command = [sys.executable, "-W", "ignore", str(HERE / script), json.dumps(order)]
    try:
        done = subprocess.run(command, env=environment, timeout=limit, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        return f"no result after {limit:.0f} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return f"the process ended with {done.returncode}: {last}"[:300]
    return ""


def reference(args: argparse.Namespace, model: str, examples: int | None, count: int) -> dict[str, Any]:
    """The exact spectra, computed once per network and data."""
    sources = b"".join((HERE.parent / name).read_bytes() for name in ("models.py", "peers/reference.py"))
    key = hashlib.sha256(sources + TORCH.encode()).hexdigest()[:12]
    path = WEIGHTS / f"exact-{model}-{examples or 'all'}-{count}-{key}.npz"
    if not path.exists():
        order = {"model": model, "examples": examples, "count": count, "threads": args.threads, "out": str(path)}
        began = time.perf_counter()
        failure = call("reference.py", order, limit=3600)
        print(f"  exact spectra  {time.perf_counter() - began:.0f} s  {failure}", flush=True)
        if failure:
            return {}
    return load_spectra(path)


def cell(args: argparse.Namespace, model: str, name: str, task: str, exact: dict[str, Any], folder: Path) -> dict:
    """One result, whatever happens."""
    row: dict[str, Any] = {"model": model, "tool": name, "task": task}
    method = TASKS[task][0]
    if method in tool(name).cannot:
        return row | {"status": "cannot", "message": tool(name).cannot[method]}
    wanted, out = settings(args, model), folder / f"{model}-{name}-{task}"
    order = {
        "model": model,
        "tool": name,
        "task": task,
        "threads": args.threads,
        "device": args.device,
        "examples": QUICK_EXAMPLES if args.quick else None,
        "settings": asdict(wanted),
        "out": str(out),
    }
    failure = call("cell.py", order, limit=180 + 8 * wanted.budget)
    if failure:
        return row | {"status": "timeout" if failure.startswith("no result") else "crashed", "message": failure}
    row |= json.loads(out.with_name(out.name + ".json").read_text())
    if row["status"] in ("measured", "extrapolated") and exact:
        row["errors"] = errors(task, row, load_spectra(out.with_name(out.name + ".npz")), exact)
    return {"errors": {}} | row


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of Python, torch and the tools."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in names:
        try:
            found[tool(name).package] = version(tool(name).package)
        except PackageNotFoundError:
            found[tool(name).package] = "not installed"
    return found


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """What a reader needs to judge the numbers, and nothing about whose machine it was."""
    models = {}
    for model in args.model:
        problem = Problem.load(model, examples=QUICK_EXAMPLES if args.quick else None)
        models[model] = {
            "parameters": sum(p.numel() for p in problem.parameters.values()),
            "layers": len(problem.layers),
            "examples": len(problem.y),
            "piecewise_linear": problem.piecewise_linear,
        } | asdict(settings(args, model))
    return {
        "versions": versions(args.tool or NAMES),
        "device": args.device if args.device == "cuda" else f"{platform.machine()} CPU",
        "threads": args.threads,
        "dtype": "float32, errors against float64",
        "quick": args.quick,
        "models": models,
    }


def main() -> None:
    args = arguments()
    if not torch.__version__.startswith(TORCH):
        sys.exit(f"torch is {torch.__version__}, not {TORCH}: something replaced it, so no ratio would mean anything.")
    if args.version:
        print("\n".join(f"{name} {number}" for name, number in versions(NAMES).items()))
        return
    whole = not (args.model or args.tool or args.task or args.quick or args.device != "cpu")
    args.model = args.model or list(QUICK_MODELS if args.quick else PLANS)
    about, cells = facts(args), []
    out = args.out or (RESULTS / "peers.json" if whole else None)
    with tempfile.TemporaryDirectory(prefix="lhexplore-bench-") as folder:
        for model in args.model:
            print(model, flush=True)
            examples = QUICK_EXAMPLES if args.quick else None
            exact = reference(args, model, examples, settings(args, model).count)
            for task in args.task or TASKS:
                for name in args.tool or NAMES:
                    began = time.perf_counter()
                    row = cell(args, model, name, task, exact, Path(folder))
                    cells.append(row)
                    told = f"{row['seconds']:.3g} s" if "seconds" in row else row["message"]
                    wall = time.perf_counter() - began
                    print(f"  {task:7} {tool(name).label:20} {row['status']:12} {told:.90}  [{wall:.0f} s]", flush=True)
            if out is not None:  # a run that is stopped leaves what it measured
                out.parent.mkdir(parents=True, exist_ok=True)
                found = about | {"cells": cells, "ratios": ratios(cells)}
                out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for task in args.task or TASKS:
        print(f"\n{TASKS[task][1]}\n\n{table(cells, task)}")
    if not args.quick:
        print("\n" + "\n".join(verdicts(cells, {m: row["piecewise_linear"] for m, row in about["models"].items()})))
    if out is not None:
        from picture import draw

        print(f"\n{out.name}, " + ", ".join(path.name for path in draw(out)))


if __name__ == "__main__":
    main()
