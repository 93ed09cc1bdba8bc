"""What could not be computed, in the words of figures."""

from lhexplore.explorer.frames import Plot
from lhexplore.explorer.refused import refused, refused_of_many

TITLES = ("fc1 · 0 · exact", "fc1 · 1 · not computed yet", "fc1 · 2 · not computed yet")
SENTENCES = (
    "fc1 at 0: 8 eigenvalues.",
    "fc1 at 1 is not computed yet. fc2: not computed yet.",
    "fc1 at 2 is not computed yet.",
)


def plot(sentences=SENTENCES):
    return Plot(picture=None, frames={}, titles=TITLES, sentences=sentences)


def test_only_what_failed_is_told_apart():
    found = refused(plot(), ["", "The weights are not finite.", ""], {"fc2": ["", "Likewise.", ""]})
    assert found.titles == (TITLES[0], "fc1 · 1 · could not be computed", TITLES[2])
    lost = "fc1 at 1 could not be computed: The weights are not finite. fc2: could not be computed."
    assert found.sentences == (SENTENCES[0], lost, SENTENCES[2])


def test_of_several_layers_it_is_said_how_many():
    first = plot(("1 of 2 layers computed.", "no layer is computed yet.", "no layer is computed yet."))
    found = refused_of_many(first, [["", "Not finite.", ""], ["Too large.", "Not finite.", ""]])
    assert found.sentences == (
        "1 of 2 layers computed. 1 of 2 layers could not be computed: Too large.",
        "no layer is computed. 2 of 2 layers could not be computed: Not finite.",
        "no layer is computed yet.",
    )


def test_where_nothing_failed_a_figure_is_the_one_it_was():
    given = plot()
    assert refused(given, ["", "", ""]) is given
    assert refused_of_many(given, [["", "", ""]]) is given
