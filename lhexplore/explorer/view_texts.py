"""What the ``?`` beside each view says: what one sees, how to read it, what it is good for. Three sentences each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class ViewText(NamedTuple):
    """How a view is called, and what it shows."""

    title: str
    sentences: tuple[str, str, str]


VIEW_TEXTS: Mapping[str, ViewText] = MappingProxyType(
    {
        "Scrubber": ViewText(
            "Loss over training",
            (
                "The curves are the losses of the snapshots, dotted ones with open marks their accuracies on the axis "
                "at the right, and the slider below stands under the snapshot that all views show.",
                "A triangle marks where a warning begins, a circle where a note begins; hover over a mark to read it.",
                "Drag the slider, press Prev, Play or Next, or use the arrow keys on the slider to walk through "
                "training.",
            ),
        ),
        "BothLosses": ViewText(
            "Losses of both runs over training",
            (
                "The curves are the losses of both runs, A and B, and dotted their accuracies, at the snapshots of A; "
                "those of B stand where it has a snapshot at the same step.",
                "A triangle marks where a warning about A begins, a circle where a note begins; hover over a mark to "
                "read it.",
                "Drag the slider, press Prev, Play or Next, or use the arrow keys on the slider: both runs follow.",
            ),
        ),
        "LayerPicker": ViewText(
            "Layers",
            (
                "Every row is a layer with its number of parameters; the bar and the number are the chosen metric at "
                "the snapshot on show, on one scale for all layers and snapshots.",
                "The symbol in front is the type of the layer's spectrum, and a hatched bar is not computed yet; "
                "modules fold, and skipped layers say why.",
                "Click a row, or walk with the arrow keys and press Enter, to look at a layer; Ctrl-click or Space "
                "lays up to three more over it.",
            ),
        ),
        "SpectrumPlot": ViewText(
            "Spectrum",
            (
                "The figure shows how the eigenvalues of the layer's Hessian are spread: the value along the bottom, "
                "how many there are upwards, both on scales that hold still while you scrub.",
                "Eigenvalues right of zero are directions in which the loss curves up, those left of zero curve "
                "down, and those in the shaded band cannot be told from zero.",
                "Whiskers or a shade say how far an estimate differs from one random start to the next; λ1, λ2 and so "
                "on stand above the bulk, flags where a finding speaks of an eigenvalue, and lines lie over it for "
                "what you compare it with.",
            ),
        ),
        "ComparePlot": ViewText(
            "Two spectra side by side",
            (
                "A and B stand on the same axes, so bars of one height are equally many eigenvalues; zooming or moving "
                "one picture moves the other.",
                "The sentence below gives the ratios of the largest eigenvalues and of the traces with their errors, "
                "and says undecided where the errors leave open which is larger.",
                "Choose the layers above and drag the slider to compare at another snapshot; spectra that were not "
                "computed in the same way are shown, but not compared in numbers.",
            ),
        ),
        "HeatMap": ViewText(
            "Layers over training",
            (
                "Every row is a layer, every column a snapshot, and the colour is the chosen metric.",
                "Hatched cells are not known; a triangle marks a cell with a warning, a circle one with a note.",
                "Click a cell, or walk with the arrow keys, to look at that layer at that snapshot; sorted rows stay "
                "as they are while you scrub.",
            ),
        ),
        "Evolution": ViewText(
            "Spectrum over training",
            (
                "The figure shows the spectrum of one layer at all snapshots: ridges are smoothed counts, the first "
                "snapshot on top, all on one logarithmic height; quantiles are ribbons around the median, from the "
                "smallest to the largest eigenvalue.",
                "Hatched snapshots are not computed yet, and the one on show is set off and moves with the slider.",
                "Click a snapshot to go there; choose the shape above the figure, and the scale of the eigenvalues "
                "with the spectrum plot.",
            ),
        ),
        "MetricPlot": ViewText(
            "Metric over training",
            (
                "Every curve is a layer, with a colour, dashes and a mark of its own, and the layer on show is set off "
                "by a shade.",
                "A band says how far an estimate may be off (two standard errors to either side), and marks above the "
                "curves say where a finding about one of these layers begins.",
                "Click a snapshot to go there, and hover to read the values; narrow the layers, or name up to six "
                "with chosen=[...], to compare others.",
            ),
        ),
        "HesdBadge": ViewText(
            "Diagnosis of the spectrum",
            (
                "The badge names the type of the spectrum, judged by the ratio C_t of its smallest to its largest "
                "eigenvalue together with the uncertainty of that ratio.",
                "The numbers below come with their errors, and the line under them says how they were computed.",
                "Findings are what the rules noticed in this layer at this snapshot; each says on what number it "
                "rests and what would refute it.",
            ),
        ),
        "Findings": ViewText(
            "Findings of the run",
            (
                "The list holds what the rules noticed in all that is known of the run, most urgent first, each at "
                "the snapshot where it begins.",
                "A heuristic is marked as one and says how often it was right where the truth was known; rules that "
                "could not judge are named at the end, with the reason.",
                "Click a title to look at that layer at that snapshot.",
            ),
        ),
        "Progress": ViewText(
            "Progress",
            (
                "The bar and the line show how many of the wanted spectra are known, how fast they come, what is being "
                "computed, and before it starts how long the rest will take and how much memory.",
                "What you look at is computed first, then its neighbours in time, those ahead of the slider before "
                "those behind, then the other layers.",
                "Stop ends the work after the product at hand and keeps what is done; Compute goes on and tries again "
                "what failed.",
            ),
        ),
        "Provenance": ViewText(
            "Code for this spectrum",
            (
                "The line is the call that gives exactly the spectrum on show and the numbers behind the figure.",
                "Below it stand the settings it was computed with, and digests of weights, data and loss: where these "
                "are equal, it is the same spectrum.",
                "Click it to mark all of it, copy it into a cell, and work with the spectrum there.",
            ),
        ),
        "HesdMap": ViewText(
            "C_t and K_H over training",
            (
                "Every point is a snapshot: upwards C_t, the ratio of the smallest to the largest eigenvalue, to the "
                "right K_H, how much weight negative eigenvalues have beside positive ones, both with their intervals.",
                "The dashed line is the gate at −0.6, a constant of the authors' code; hollow points are undecided, "
                "and points whose K_H was formed on different bases are not joined, because they do not compare.",
                "The ring is the snapshot on show; click a point to go there, and do not read K_H as quality below the "
                "gate.",
            ),
        ),
        "ParameterPlot": ViewText(
            "Weights and gradient of the layer",
            (
                "The bands hold the middle 50, 90 and 98 % of the layer's weights at every snapshot, and the curve "
                "below is the norm of the gradient of the mean loss in them.",
                "Hatched snapshots are not known yet; singular values of the layer's largest matrix appear where they "
                "were computed.",
                "Weights that spread quickly or a gradient that vanishes beside those of other layers are worth a "
                "look; click a snapshot to go there.",
            ),
        ),
        "Eigenvectors": ViewText(
            "Eigenvectors of the layer",
            (
                "Every row is a direction in the layer's weights along which the loss curves most, drawn in the shape "
                "of the weights: filters as tiles, matrices as maps, biases as stems.",
                "Both colours are equally large with opposite sign; the sign of a whole vector means nothing, so it is "
                "turned until its largest component is positive, and ± is the residual of its eigenvalue.",
                "Press Compute to have them computed; moving to another layer or snapshot gives the computation up.",
            ),
        ),
    }
)
