"""Why a rule could not judge, in words: what it lacks and where that comes from."""

from ..number_texts import Phrase

SILENCES = {
    "few snapshots": Phrase(
        "It follows a layer over {window} snapshots in a row, and {length} at most could be judged. "
        "Compute more snapshots."
    ),
    "one snapshot": Phrase("It compares with earlier snapshots, and only one is known. Compute more snapshots."),
    "no start": Phrase(
        "It compares with the first snapshot, and the training loss or the spectra of all layers are not known there. "
        "Compute and evaluate the first snapshot, too."
    ),
    "few layers": Phrase(
        "It compares layers with one another and needs {others} others at the same snapshot. Compute more layers."
    ),
    "no loss": Phrase("The training loss is not known. Record it with the snapshots, or call session.evaluate()."),
    "no held-out loss": Phrase(
        "The held-out loss is not known. Record it with the snapshots, or give the session held_out= and evaluate."
    ),
    "no fit": Phrase(
        "Neither training accuracy nor training loss is known. Record one with the snapshots, or call "
        "session.evaluate()."
    ),
    "no witness": Phrase(
        "It needs a reference run (reference=), a held-out loss from the first snapshot on, or an alarm of the trace "
        "monitor: training data alone do not tell."
    ),
    "no steps": Phrase("The trace monitor counts optimiser steps, and those of the snapshots are not known."),
    "alarm elsewhere": Phrase(
        "The trace monitor's alarms of {layers} were left out: there are no spectra of them in this run. Compute them, "
        "or mend the names."
    ),
    "no reference spectra": Phrase("The reference run has no spectra yet: call reference.compute()."),
    "other reference": Phrase(
        "The reference run has no snapshots at comparable training losses with spectra of the same blocks, made in the "
        "same way."
    ),
    "reference measured otherwise": Phrase(
        "Traces of this run and of the reference run do not compare: {what}. Open both with the same loss and mode."
    ),
    "no gradient": Phrase("Gradient norms are not known. Compute the states of the layers beside their spectra."),
    "regression": Phrase(
        "The loss is {loss}: it stops at the noise in the targets, however wide the network, and curvature does not "
        "tell that from a network too narrow. Compare with the training loss of a wider network."
    ),
    "linear": Phrase(
        "Only one block is known, and it is PSD by structure, as that of a linear model is: there is no width to "
        "judge. Compute all layers."
    ),
    "structure": Phrase("Every block is PSD by structure, so none can have negative curvature."),
    "no collapse": Phrase(
        "Earlier snapshots with their training loss, or spectra on held-out data, are needed to see a collapse of λmax."
    ),
    "no rate": Phrase('The learning rate is not recorded. Record it with the snapshots as "lr" or "learning_rate".'),
    "not plain": Phrase(
        "The limit holds for plain gradient descent, and {what} is recorded. With momentum or adaptive steps the "
        "limit is another one."
    ),
    "mixed": Phrase(
        "The spectra of {layers} were not all made in the same way (exact or estimated, number of steps), so only "
        "those that were are followed through time."
    ),
}
