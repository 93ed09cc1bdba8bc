"""What a CUDA device changes: `python benchmarks/gpu.py`, in the environment that `make bench` makes.

1. float32 stays float32: the user's TF32 switches are on outside and must neither leak in nor be changed.
2. Utilisation: operations per second of a product with the whole Hessian, against those of the plain gradient.
3. A network of ResNet-18's size, 11 million parameters, on 512 images of 32 × 32: the spectra of all layers.
4. The table of the peers, on the device.

Without a CUDA device it says so and does nothing; `--tiny` runs everything small on the CPU, to show that it works.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from models import ResNet, build, digits, resized
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import lhexplore as lh

RESULTS = Path(__file__).parent / "results" / "gpu.json"
PEERS = Path(__file__).parent / "peers" / "run.py"
GOAL_UTILISATION, GOAL_SECONDS = 0.8, 120.0
EXACT = 2e-5  # relative error of the largest eigenvalue in float32; TF32 leaves 1e-3
STEPS = (20, 60)  # Lanczos steps: the difference of two runs is products and nothing else


def settled(device: str) -> None:
    """Wait for the device, so that a clock means something."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(function: Callable[[], object], device: str, *, repeats: int = 5) -> float:
    """Median over some calls, after a first one."""
    function()
    taken = []
    for _ in range(repeats):
        settled(device)
        began = time.perf_counter()
        function()
        settled(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def session(model: nn.Module, data: tuple[Tensor, Tensor], device: str, dtype: torch.dtype) -> lh.Session:
    return lh.Session(model, [data], nn.CrossEntropyLoss(), samples=None, cache=False, dtype=dtype, device=device)


def precision(device: str) -> dict[str, float]:
    """Largest eigenvalues of LeNet's layers on the device, TF32 switched on outside, against float64 on the CPU."""
    model, data, _ = build("lenet", examples=32)
    layers = ("conv1", "conv2", "fc3")
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = True
        with session(model, data, device, torch.float32) as s:
            found = {layer: s.spectrum(layer).largest for layer in layers}
        kept = all(switch.allow_tf32 for switch in switches)
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value
    with session(model, data, "cpu", torch.float64) as s:
        exact = {layer: s.spectrum(layer).largest for layer in layers}
    worst = max(abs(found[layer] - exact[layer]) / exact[layer] for layer in layers)
    good = worst <= EXACT and kept
    print(f"float32 kept: error of λmax {worst:.1e} (at most {EXACT:g}), switches as they were: {kept}: {told(good)}")
    return {"largest_error": worst, "switches_kept": float(kept)}


def operations(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Operations of one gradient, and of one product through the kept graph of the gradient, as torch counts them."""
    parameters, criterion = list(model.parameters()), nn.CrossEntropyLoss()
    with FlopCounterMode(display=False) as plain:
        gradient = torch.autograd.grad(criterion(model(x), y), parameters)
    del gradient
    gradients = torch.autograd.grad(criterion(model(x), y), parameters, create_graph=True)
    with FlopCounterMode(display=False) as second:
        torch.autograd.grad(gradients, parameters, [torch.ones_like(p) for p in parameters])
    return float(plain.get_total_flops()), float(second.get_total_flops())


def utilisation(device: str, model: nn.Module, data: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Time of a product from two Lanczos runs of different length; of the gradient, from calls without TF32 as well."""
    torch.backends.cudnn.allow_tf32 = False  # torch's default is on, and products never use it
    model = model.to(device)
    x, y = (tensor.to(device) for tensor in data)
    parameters, criterion = list(model.parameters()), nn.CrossEntropyLoss()
    gradient = seconds(lambda: torch.autograd.grad(criterion(model(x), y), parameters), device)
    flops = operations(model, x, y)
    taken, products = [], []
    for steps in (STEPS[0], *STEPS):  # the first one warms up
        with session(model, (x, y), device, torch.float32) as s:
            settled(device)
            began = time.perf_counter()
            found = s.spectrum(None, method="lanczos", steps=steps, probes=1)
            settled(device)
            taken.append(time.perf_counter() - began)
            products.append(found.products)
    product = (taken[2] - taken[1]) / (products[2] - products[1])
    share = (flops[1] / product) / (flops[0] / gradient)
    print(
        f"one gradient {1e3 * gradient:.2f} ms ({flops[0] / gradient / 1e9:,.0f} Gop/s), one product with the whole "
        f"Hessian {1e3 * product:.2f} ms ({flops[1] / product / 1e9:,.0f} Gop/s): {share:.0%} of the gradient's rate "
        f"(goal {GOAL_UTILISATION:.0%}): {told(share >= GOAL_UTILISATION)}"
    )
    return {"gradient_seconds": gradient, "product_seconds": product, "share": share}


def all_layers(device: str, model: nn.Module, data: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Every layer's spectrum, opening the session included."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    with session(model, data, device, torch.float32) as s:
        s.compute(progress=False)
        taken = time.perf_counter() - began
        spectra = [s.cached(layer.name) for layer in s.layers]
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else float("nan")
    exact, known = sum(f is not None and f.exact for f in spectra), sum(f is not None for f in spectra)
    count = sum(p.numel() for p in model.parameters())
    good = taken <= GOAL_SECONDS and known == len(spectra)
    print(
        f"all {len(spectra)} layers of {count:,} parameters on {len(data[1])} images: {taken:.1f} s, {known} known, "
        f"{exact} of them exact, peak {peak:.1f} GB (goal {GOAL_SECONDS:.0f} s): {told(good)}"
    )
    return {"seconds": taken, "layers": len(spectra), "known": known, "exact": exact, "peak_gigabytes": peak}


def told(good: bool) -> str:
    return "reached" if good else "NOT reached"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="everything small, on the CPU: does the script work?")
    parser.add_argument("--no-peers", action="store_true", help="leave out the table of the peers")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if not (torch.cuda.is_available() or arguments.tiny):
        print("not run: no CUDA device")
        return
    device = "cpu" if arguments.tiny else "cuda"
    if arguments.tiny:
        torch.set_num_threads(2)
        images, labels = digits()
        model, data = ResNet(widths=(4, 8), blocks=1).eval(), (resized(images[:8], 16, 3), labels[:8])
    else:
        model, data, _ = build("resnet18")
    where = "CPU, tiny: the numbers mean nothing" if arguments.tiny else torch.cuda.get_device_name()
    print(f"{where}; torch {torch.__version__}")
    found = {"device": where, "torch": torch.__version__, "precision": precision(device)}
    found["utilisation"] = utilisation(device, model, data)
    found["all_layers"] = all_layers(device, model, data)
    if not arguments.tiny:
        arguments.out.parent.mkdir(exist_ok=True)
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if not arguments.no_peers:
        table = arguments.out.with_name("peers-cuda.json")
        narrow = ["--quick", "--model", "relu", "--task", "slq"] if arguments.tiny else ["--out", str(table)]
        subprocess.run([sys.executable, str(PEERS), "--device", device, *narrow], check=True)


if __name__ == "__main__":
    main()
