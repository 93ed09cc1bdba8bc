"""Files and notebooks: text stays text, bytes stay the same, nothing global changes."""

import builtins
import subprocess
import sys
from dataclasses import replace

import matplotlib
import pytest
from canned import HOSTILE, CannedLayer, CannedSession, spectrum
from drawn import SVG, ElementTree, frame, svg_texts
from matplotlib.font_manager import findfont

from lhexplore import figures
from lhexplore.errors import SettingError, UnsupportedError
from lhexplore.explorer import theme
from lhexplore.figures import style

EVERY = {
    "spectrum": lambda s: figures.spectrum(s, "conv1", 4, findings=True),
    "density": lambda s: figures.spectrum(s, "conv2", kind="density", held_out=True),
    "cumulative": lambda s: figures.spectrum(s, "conv2", kind="cumulative", scale="loglog"),
    "rug": lambda s: figures.spectrum(s, "head", kind="rug", overlay=["conv1"]),
    "ridge": lambda s: figures.evolution(s, "conv1"),
    "quantiles": lambda s: figures.evolution(s, "conv2", kind="quantiles"),
    "heat_map": figures.heat_map,
    "metric": figures.metric,
    "hesd_map": lambda s: figures.hesd_map(s, "conv1"),
    "losses": figures.losses,
    "compare": lambda s: figures.compare(s, layer=("conv1", "head")),
}
every = pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)


@every
def test_the_same_results_give_the_same_bytes(session, tmp_path, draw):
    for ending in ("svg", "pdf", "png") if draw in (EVERY["spectrum"], EVERY["heat_map"]) else ("svg",):
        one = draw(session).save(tmp_path / f"one.{ending}", dpi=60).read_bytes()
        two = draw(session).save(tmp_path / f"two.{ending}", dpi=60).read_bytes()
        assert one == two
        assert len(one) > 2000


def settings():
    return {
        name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"
    }  # reading that sets it


@every
def test_nothing_global_is_changed(session, draw):
    before, backend = settings(), matplotlib.get_backend(auto_select=False)
    picture = draw(session)
    picture._repr_svg_(), picture._repr_png_()
    assert settings() == before
    assert matplotlib.get_backend(auto_select=False) == backend


@every
def test_settings_outside_do_not_leak_in(session, draw):
    calm = draw(session)._repr_svg_()
    loud = {"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "path", "axes.grid": True, "lines.linewidth": 9}
    with matplotlib.rc_context(loud):
        assert draw(session)._repr_svg_() == calm


def test_pyplot_stays_out_of_it_and_another_process_draws_the_same():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from canned import CannedSession\n"
        "from lhexplore import figures\n"
        "assert 'matplotlib' not in sys.modules, 'matplotlib must load only when something is drawn'\n"
        "print(figures.heat_map(CannedSession())._repr_svg_(), end='')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'ipywidgets' not in sys.modules and 'bokeh' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout.decode() == figures.heat_map(CannedSession())._repr_svg_()


@every
def test_text_stays_text(session, draw):
    picture = draw(session)
    texts = svg_texts(picture)
    assert len(texts) > 5
    assert not any("$" in text or "mathdefault" in text for text in texts if "<img" not in text)
    assert picture.caption[:40] in picture._repr_svg_()


def test_what_the_font_lacks_would_be_boxes(session):
    font = matplotlib.ft2font.FT2Font(findfont("DejaVu Sans"))
    words = "".join(text for draw in EVERY.values() for text in svg_texts(draw(session)))
    assert {c for c in words if not c.isspace()} <= {chr(code) for code in font.get_charmap()}


@pytest.mark.parametrize(("width", "expected"), [("column", 3.3), ("page", 6.9), (5, 5.0), (4.25, 4.25)])
def test_files_have_the_asked_size(session, tmp_path, width, expected):
    picture = figures.losses(session, width=width, height=2.5)
    root = ElementTree.fromstring(picture._repr_svg_())
    assert (root.get("width"), root.get("height")) == (f"{72 * expected:g}pt", "180pt")
    pdf = picture.save(tmp_path / "it.pdf").read_bytes()
    assert f"/MediaBox [ 0 0 {72 * expected:g} 180 ]".encode() in pdf
    assert b"/Type3" not in pdf
    png = picture.save(tmp_path / "it.png", dpi=100).read_bytes()
    assert int.from_bytes(png[16:20], "big") == round(100 * expected)


@pytest.mark.parametrize("width", ["wide", 0, -1, float("nan"), 1000, None, True])
def test_sizes_that_make_no_sense_are_refused(session, width):
    with pytest.raises(SettingError, match="width"):
        figures.losses(session, width=width)


def test_other_endings_are_refused(session, tmp_path):
    with pytest.raises(SettingError, match=r"\.svg, \.pdf, \.png; got 'it\.jpg'"):
        figures.losses(session).save(tmp_path / "it.jpg")


def test_a_notebook_keeps_both_pictures(session):
    picture = figures.losses(session)
    assert picture._repr_svg_().startswith("<?xml")
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert "training loss from 2.3 to" in repr(picture)


def test_without_matplotlib_it_says_what_to_install(session, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for draw in EVERY.values():
        with pytest.raises(UnsupportedError, match=r"pip install 'lhexplore\[plots\]'"):
            draw(session)


NAMES = {
    "markup": HOSTILE,
    "formula": r"$\frac{1}{0}$",
    "half a formula": "$x",
    "long": "encoder.block." * 22,
    "control": "a\x00b\u202ec\n\td",
    "script": "</text><script>alert(1)</script>",
    "empty": "",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_hostile_names_are_only_text(session, monkeypatch, name):
    import canned

    layers = tuple(CannedLayer(name, 40) if row.name == HOSTILE else row for row in canned.LAYERS)
    monkeypatch.setattr(canned, "LAYERS", layers)
    named = CannedSession(has_held_out=True, layers=layers, run=None)
    drawn = [
        figures.spectrum(named, name),
        figures.spectrum(named, name, overlay=["conv1"]),
        figures.evolution(named, name),
        figures.heat_map(named, findings=False),
        figures.metric(named, layers=[name, "conv1"]),
        figures.hesd_map(named, name),
        figures.compare(named, layer=(name, "conv1")),
    ]
    for picture in drawn:
        svg = picture._repr_svg_()
        root = ElementTree.fromstring(svg)
        assert not [e for e in root.iter() if e.tag in (f"{SVG}script", f"{SVG}img", "script", "img")]
        assert max(map(len, svg_texts(svg))) < 70
        for axes in picture.figure.axes:  # nothing sticks out of the paper
            box = axes.get_tightbbox()
            assert box.x0 >= -1
            assert box.x1 <= picture.figure.bbox.width + 1
    if name.startswith("$"):
        shown = [text for text in svg_texts(drawn[3]) if "$" in text]
        assert shown == [name if len(name) <= 14 else shown[0]]


def test_colours_are_those_of_the_explorer():
    assert tuple(theme.LIGHT[role] for role in ("train", "held_out", "third")) == (
        style.BLUE,
        style.VERMILLION,
        style.GREEN,
    )
    assert theme.LIGHT["finding"] == style.FINDING


def test_curves_differ_without_colour():
    assert len({(str(stroke.dash), stroke.marker) for stroke in style.STROKES}) == len(style.STROKES)
    assert len({stroke.marker for stroke in style.STROKES}) == len(style.STROKES)


@every
def test_nothing_lies_outside_the_paper(session, draw):
    picture = draw(session)
    picture.figure.canvas.draw()
    paper = picture.figure.bbox
    for axes in picture.figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= paper.width + 1
        assert box.y1 <= paper.height + 1


def test_frames_are_not_squeezed(session):
    for draw in EVERY.values():
        picture = draw(session)
        picture.figure.canvas.draw()
        frames = picture.figure.axes[:2] if draw is EVERY["compare"] else [frame(picture)]
        wide = sum(axes.get_position().width for axes in frames)
        assert wide > 0.5, picture.caption


def test_a_script_that_the_font_lacks_is_text_all_the_same():
    """Warnings are errors here: none may reach the notebook."""
    shown, over = (replace(spectrum("conv1", 0, "a"), layer=name) for name in ("中文层", "層"))
    picture = figures.spectrum(shown, overlay=[over])
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert "中文层" in svg_texts(picture)
