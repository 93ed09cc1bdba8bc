"""The findings in words: title, what was seen, what to do, what it rests on, what would refute it."""

from ..number_texts import Phrase
from ..texts import Wording

_STUDY = "found on hundreds of small networks; levels do not transfer, so only ratios are used"

_WORDINGS = {
    "overfit": Wording(
        "Interpolation or overfitting: watch",
        "The held-out loss is {value:.3g} times its lowest, which it had at {lowest}, while the training loss has "
        "fallen to {train:.3g} of its value there.{trace}",
        "Compare with the snapshot of smallest held-out loss, and look at the held-out spectrum.",
        "The losses alone decide: in lhexplore's study no curvature told overfitting better. That of a cross-entropy "
        "collapses at interpolation",
        "A held-out loss that falls again, or that is high on these few examples only.",
    ),
    "memorisation": Wording(
        "Memorised labels: watch",
        "The training data are fitted, and on the way there the trace of all layers was up to {value:.3g} times that "
        "of the reference run at the same training loss (limit {threshold:g}).",
        "Look for wrong labels, and compare the held-out accuracy with that of the reference run.",
        f"Labels without a rule take more curvature to fit to the same loss; {_STUDY}",
        "Equal held-out accuracy of both runs, or a reference of another learning rate or of an easier task.",
    ),
    "memorisation, alarm": Wording(
        "Memorised labels: watch",
        "The training data are fitted, and the trace monitor has been alarmed since step {step:,}: the trace is higher "
        "than its reference lets expect.",
        "Look for wrong labels, and at the held-out loss since the alarm.",
        "A cumulative sum of standardised log-traces; its use against memorised labels is reported in the literature, "
        "its calibration is lhexplore's",
        "A change of learning rate or data at the alarm, or a held-out loss that keeps falling.",
    ),
    "memorisation, held-out": Wording(
        "Memorised labels: watch",
        "The training data are fitted, while the held-out loss is {value:.3g} times that of the first snapshot; the "
        "trace of all layers is still {own:.2g} of its largest, so this is not long training alone.",
        "Look for wrong labels; compare with a run of the same network on data that are known to be clean.",
        f"What was learnt by heart makes held-out predictions worse than none; {_STUDY}",
        "Held-out data of another kind than the training data, or too few examples to learn the task from.",
    ),
    "low rank": Wording(
        "Dead or underused layer",
        "Only {value:.3g} of this layer's directions have any curvature, {possible:.3g} of those that the frozen data "
        "could show.",
        "Look at the share of units that are never active, in this layer and in the one before it; of an embedding, at "
        "the rows that the frozen data never ask for.",
        f"A unit that is never active takes its weights, and those that it feeds, out of the loss; {_STUDY}",
        "Units that are active on these data, or a rank that grows with more frozen examples: rows of an embedding "
        "that no example asks for have no curvature, however well it is trained.",
    ),
    "faint": Wording(
        "Dead or underused layer",
        "Its mean |λ| is {value:.2g} of that of the most curved layer: the loss hardly depends on it.",
        "Look at the layer's gradient norm: vanishing gradients and a branch that is scaled away both show so.",
        f"Gradients that vanish leave curvature that vanishes with their square; {_STUDY}",
        "Gradients like those of the other layers, or layers whose parameters differ by orders of magnitude.",
    ),
    "bottleneck": Wording(
        "Underparameterised or a bottleneck",
        "The training loss is flat ({flat:.2g} relative change over the last {count} snapshots) at {share:.2g} of its "
        "largest. One step along any layer's gradient would take off no more than {value:.2g} of it, and λmax per "
        "loss is {grown:.3g} times that of the first snapshot.",
        "Widen the narrowest layer, and see whether the training loss moves again.",
        f"Networks too narrow for their task end steep, with nothing left to gain; {_STUDY}",
        "A wider network that stops at the same loss: then it is in the data (noise in the targets, classes that "
        "overlap) or in the regularisation. A squared error in a function of your own: the rule is not made for it.",
    ),
    "no curvature, alive": Wording(
        "No curvature, but a gradient",
        "No eigenvalue leaves the zero band (largest absolute value {value:.2g}), while the layer's gradient is not "
        "far below that of the others: the loss seems to be linear in this layer.",
        "Check whether loss and activations behind this layer can bend at all.",
        "A loss that is linear in a layer has no curvature there",
        "A gradient that vanishes on more data.",
    ),
    "no curvature": Wording(
        "No curvature: dead or unused?",
        "No eigenvalue leaves the zero band (largest absolute value {value:.2g}), though the loss is not degenerate "
        "by construction.",
        "Check that the layer takes part in the forward pass, and the share of its zero activations.",
        "A layer that the loss does not depend on, or only linearly, has a zero block",
        "A gradient that is not zero: then the loss is linear in this layer.",
    ),
    "ill-conditioned": Wording(
        "Ill-conditioned",
        "{what} is {own:.3g}. That is {value:.3g} times the median of the other layers: a few directions are much "
        "steeper than the rest.",
        "Check normalisation and the scale of this layer's inputs; a smaller step for this layer may help.",
        "Conditioning changes when a layer is rescaled, without any change of the function",
        "The same network with this layer rescaled that no longer shows it.",
    ),
    "saddle-like": Wording(
        "Saddle-like",
        "Over the last {count} snapshots λmin stayed clearly negative (now {smallest:.3g}, "
        "{value:.2g} times λmax in size) while the gradient norm fell to {gradient:.2g} of its largest value.",
        "Follow λmin over the next snapshots; a step along its eigenvector should lower the loss.",
        "A small gradient with negative curvature is what a saddle looks like from one layer; others may differ",
        "A loss that does not fall along the eigenvector of λmin.",
    ),
    "quasi-singular": Wording(
        "Quasi-singular",
        "λmax of the steepest layer has collapsed: {value:.2g} of {reference}, with next to no training loss left.",
        "Do not rank snapshots by sharpness here; read C_t, on held-out data if there are any, and use float64.",
        f"The collapse is that of p(1 − p) in a cross-entropy that was trained on and on; {_STUDY}",
        "A training loss that is not small, or a held-out λmax of similar size.",
    ),
    "edge": Wording(
        "Step size at the edge of stability",
        "Learning rate {rate:.3g} times λmax {source} is {bound}{value:.3g}; from {threshold:g} on plain gradient "
        "descent overshoots along the steepest direction.",
        "Expect an oscillating loss; a smaller learning rate removes it. It need not be harmful.",
        "Holds for full-batch gradient descent without momentum (Cohen et al. 2021); others have other limits",
        "Momentum, adaptive steps or small batches in this training.",
    ),
    "mainly negative": Wording(
        "Mainly negative, or not yet trained",
        "C_t = {ct:.3g} lies below {limit:g}: negative curvature is almost as large as positive curvature, or larger.",
        "Rule out the plain causes listed with the type; do not read r_e or K_H as quality.",
        "The limit is that of the authors' code; untrained networks fall below it too",
        "A loss and accuracy that show a trained network, with all plain causes ruled out, would confirm it.",
    ),
    "undecided": Wording(
        "Type undecided",
        "{why}",
        "Follow the advice in the text, then read the type again.",
    ),
    "criteria": Wording(
        "Criteria: {reading}",
        "r_e = {re:.3g} and K_H = {kh:.3g} ({basis}).",
        "Compare with the same network on other data: only changes of the criteria are claimed to follow accuracy.",
        "The limits .1, .5 and 1 are lhexplore's and uncalibrated",
        "Low values on training data with poor held-out accuracy: memorised labels give them too.",
    ),
    "psd": Wording(
        "PSD by structure",
        "Nothing that follows these parameters bends but the loss (as in any last layer, in a ReLU network, or for a "
        "GGN), so no eigenvalue can be negative. "
        "That is not a sign of health, and the type says nothing.",
        "Look at the whole network's Hessian for negative curvature.",
    ),
    "zero block": Wording(
        "Zero block",
        "No eigenvalue leaves the zero band of {band:.2g}; ratios are undefined, not zero.",
        "See whether the layer is used, and whether the chosen functional can have curvature here.",
    ),
    "unused": Wording(
        "Unused layer",
        "The loss does not depend on these parameters: {reason}.",
        "Check the forward pass, or leave the layer out with layers=.",
    ),
    "built": Wording(
        "How this layer is built",
        "Of this layer: {remark}.",
        "Read its spectrum with that in mind.",
    ),
    "same weights": Wording(
        "Same weights as an earlier snapshot",
        "The weights at {here} are those at {before}, tensor by tensor: nothing was learnt in between, or one "
        "checkpoint was saved twice.",
        "Check how the checkpoints were written, and count the two as one snapshot.",
    ),
    "degenerate": Wording(
        "Degenerate functional",
        "The sum of the block's outputs has no curvature for piecewise linear or softmax outputs: this zero is by "
        "construction.",
        "Choose functional='loss' or 'half_square'.",
    ),
    "unresolved": Wording(
        "Unresolved: round-off decides",
        "The products are {value:.2g} away from symmetric, so everything up to {band:.2g} counts as zero.",
        "Use float64. Usual causes: confident outputs in float32, dropout, BatchNorm in training mode.",
    ),
    "not converged": Wording(
        "Ends not converged",
        "The largest and smallest values are known to ± {error:.2g} only ({value:.2g} of the largest).",
        "Take more steps; the true ends lie at or beyond the ones shown.",
    ),
    "preliminary": Wording(
        "Preliminary",
        "The computation has not finished ({probes} probes so far); every number here may still move.",
        "Wait, or start it again if it was stopped.",
    ),
    "unchanged": Wording(
        "Unchanged since the snapshot before",
        "This spectrum equals that of {before!r} in every digit: the weights that enter it did not change.",
        "Check that the snapshots differ and that the layer is being trained.",
    ),
}

FINDINGS = {  # numbers in them are written as everywhere on screen
    name: words._replace(title=Phrase(words.title), text=Phrase(words.text)) for name, words in _WORDINGS.items()
}
