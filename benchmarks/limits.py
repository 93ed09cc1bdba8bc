"""The least arithmetic each row of the comparison needs, and the gap to it: `python benchmarks/limits.py [--write]`.

Operations are counted by torch while a plain model runs, the rest by formula, and told in units of one gradient of the
same network and data. The gap is the measured time, in gradients, over that: 1 would be a program that does only what
the method needs, at the rate of the plain gradient. Reads benchmarks/results/peers.json; `--write` puts the table into
benchmarks/README.md.
"""

import argparse
import json
from pathlib import Path

import torch
from models import build
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

HERE = Path(__file__).parent
RESULTS, README = HERE / "results" / "peers.json", HERE / "README.md"
BEGIN, END = "<!-- limits begin -->", "<!-- limits end -->"
EIGENVALUES = 4 / 3  # operations of all eigenvalues of a symmetric matrix, times its size cubed
CLASSES = 10


class Counted:
    """Operations of one network on its data."""

    def __init__(self, name: str) -> None:
        self.model, (self.x, self.y), self.criterion = build(name)
        self.parameters = dict(self.model.named_parameters())
        self.layers = {
            path: tuple(f"{path}.{key}" for key, _ in module.named_parameters(recurse=False))
            for path, module in self.model.named_modules()
        }
        self.layers = {path: names for path, names in self.layers.items() if names}
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            self.model(self.x)
        self.forward = float(forward.get_total_flops())
        with FlopCounterMode(display=False) as gradient:
            torch.autograd.grad(self.criterion(self.model(self.x), self.y), list(self.parameters.values()))
        self.gradient = float(gradient.get_total_flops())

    def product(self, layer: str | None) -> float:
        """Of a product through the kept graph of the gradient: what no method that multiplies can avoid."""
        names = list(self.parameters) if layer is None else self.layers[layer]
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(name in names)
        chosen = [self.parameters[name] for name in names]
        gradients = torch.autograd.grad(self.criterion(self.model(self.x), self.y), chosen, create_graph=True)
        with FlopCounterMode(display=False) as counter:
            torch.autograd.grad(gradients, chosen, [torch.ones_like(p) for p in chosen])
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        return float(counter.get_total_flops())

    def factor(self) -> float:
        """Of all layers' exact spectra from factors: classes − 1 backward passes, rows, Gram matrices, eigenvalues."""
        rows = len(self.y) * (CLASSES - 1)
        backward = self.gradient - self.forward  # to weights and activations: the rows of convolutions are both
        total = self.forward + (CLASSES - 1) * backward
        for layer, names in self.layers.items():
            module = self.model.get_submodule(layer)
            size = sum(self.parameters[name].numel() for name in names)
            small = min(size, rows)
            gram = rows * small * max(size, rows)  # symmetric: half of the products
            if isinstance(module, nn.Linear) and self.x.dim() != 3:  # one vector per example: two small Gram matrices
                gram = min(gram, rows**2 * module.out_features + len(self.y) ** 2 * module.in_features)
            total += gram + EIGENVALUES * small**3
        return total


def needed(counted: Counted, cell: dict, settings: dict, *, piecewise_linear: bool) -> float:
    """Operations that a row needs, in gradients."""
    task, products = cell["task"], cell["products"]
    if task in ("layers", "trace") and piecewise_linear:
        return counted.factor() / counted.gradient
    if task == "layers":
        total = counted.gradient
        for layer, (method, spent) in cell["how"].items():
            size = sum(counted.parameters[name].numel() for name in counted.layers[layer])
            total += spent * counted.product(layer) + (EIGENVALUES * size**3 if method == "dense" and spent else 0)
        return total / counted.gradient
    layer = settings["layer"] if task == "slq" else None
    return (counted.gradient + products * counted.product(layer)) / counted.gradient


def table(results: dict) -> str:
    """Markdown: a line per network and task of lhexplore."""
    lines = ["| network | row | least arithmetic | measured | gap |", "|---|---|---|---|---|"]
    for model, row in results["models"].items():
        counted = Counted(model)
        for cell in results["cells"]:
            if (cell["tool"], cell["model"]) != ("lhexplore", model) or cell["status"] != "measured":
                continue
            least = needed(counted, cell, row, piecewise_linear=row["piecewise_linear"])
            measured = cell["seconds"] / cell["gradient_seconds"]
            words = f"{least:,.3g} gradients | {measured:,.3g} gradients | {measured / least:.1f} ×"
            lines.append(f"| {model} | {cell['task']} | {words} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    arguments = parser.parse_args()
    text = table(json.loads(arguments.results.read_text()))
    print(text)
    if arguments.write:
        before, _, rest = README.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
