"""The tree of layers and the map's rows: a real keyboard and a real mouse, the kernel's state, and pixels."""

import statistics
from collections.abc import Iterator

import pytest
from canned import HOSTILE
from labdriver import Chromium, LabPage, LabServer, opened

pytestmark = pytest.mark.browser

CELLS = (
    """
from canned import HOSTILE, CannedLayer, CannedSession, spectrum
import lhexplore.explorer.views as views


class Many(CannedSession):
    def _spectrum(self, layer, k, split, curvature):
        names = ("head", "conv1")
        return spectrum(names[len(layer or "") % 2], k, self.snapshots[k].label)

    def known_diagnosis(self, layer, snapshot=-1):
        return None


def many(names, skipped=()):
    layers = [CannedLayer(n, 80, status="skipped" if n in skipped else "ok", reason="of whole numbers") for n in names]
    return Many(missing=set(), layers=tuple(layers), run=None)


def values_now(view):
    looking = view.hub.look()
    table = dict(zip([row.name for row in looking.shown], view.hub.facts.table(looking)[:, looking.snapshot]))
    return [float(table[row.name]) for row in view.rows if row.key is not None]


names = ["embed", "old"] + [f"encoder.layers.{i}.{x}" for i in range(3) for x in ("attn.q", "attn.key", "norm")]
names += [HOSTILE, "x" * 300, "decoder.out.proj", "head"]
small = many(names, skipped=("old",))
small_names = [n for n in names if n != "old"] + ["whole network"]
picker = views.LayerPicker(small, layer="embed")
picker
""",
    "spectra = views.SpectrumPlot(small)\nspectra",
    "heat = views.HeatMap(small)\nheat",
    """
large_names = [f"encoder.stage{i // 100}.block{i // 10 % 10}.unit{i % 10}" for i in range(500)]
large = many(large_names)
scrubber = views.Scrubber(large, snapshot=0)
scrubber
""",
    "rows = views.LayerPicker(large)\nrows",
)
SPECTRUM, HEAT, LOSS = ".lhx-pane-spectrum", ".lhx-pane-heat", ".lhx-pane-loss"
OPENED, FRAME = 100, 50  # ms in which 500 layers are built, and in which they follow the slider


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """A small and a large network, each with its tree."""
    with opened(LabPage(server, chromium), "layers", *CELLS, panes=(SPECTRUM, HEAT, LOSS), height=4200) as page:
        page.page.evaluate(
            """() => { window.picks = (k) => {
              const kit = __probe.all('.lhx-kit-layer-picker')[k], all = (s) => __probe.all(s, kit);
              return {kit, all, box: all('.lhx-layers')[0], search: all('.lhx-layer-search')[0],
                names: () => all('[role=treeitem]').map((e) => e.querySelector('.lhx-layer-name'))
                  .filter((e) => e.getBoundingClientRect().height).map((e) => e.textContent),
                active: () => all('#' + all('.lhx-layers')[0].getAttribute('aria-activedescendant'))[0],
                said: () => all('.lhx-layer-said')[0].textContent,
                shown: (s) => all(s).filter((e) => e.getBoundingClientRect().height).map((e) => e.textContent)};
            }; }"""
        )
        yield page


@pytest.fixture(autouse=True)
def start(lab: LabPage) -> None:
    """Every test starts with the small network's first layer on show, alone, and the keys in its tree."""
    lab.page.evaluate(
        """() => { const {search, box} = picks(0);
          search.value = ''; search.dispatchEvent(new Event('input')); box.focus(); }"""
    )
    lab.kernel('picker.layers = small_names; picker.overlay, picker.layer = (), "embed"; spectra.settled()')
    lab.wait_until("() => { const {all} = picks(0); return all('[aria-selected=true]').length === 1 }")
    lab.wait_until("() => picks(0).all('[aria-current=true]')[0].ariaLabel.startsWith('embed,')")
    press(lab, "Home", "ArrowDown")


def press(lab: LabPage, *keys: str) -> None:
    for key in keys:
        lab.page.keyboard.press(key)


def active(lab: LabPage) -> str:
    return str(lab.page.evaluate("() => picks(0).active().getAttribute('aria-label')"))


def names(lab: LabPage) -> list[str]:
    found: list[str] = lab.page.evaluate("() => picks(0).names()")
    return found


def said(lab: LabPage) -> str:
    return str(lab.page.evaluate("() => picks(0).said()"))


def test_a_search_keeps_what_matches_and_escape_brings_all_back(lab: LabPage) -> None:
    everything = names(lab)
    lab.find(".lhx-layer-search").first.click()
    lab.page.keyboard.type("ATTN.K")
    assert names(lab) == ["encoder.layers", *(name for i in "012" for name in (i, "attn", "key"))]
    assert said(lab) == "3 of 15 layers match."
    press(lab, "ArrowDown", "Enter")  # from the box into the tree, and chosen
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("picker.layer") == "encoder.layers.0.attn.key"
    press(lab, "Escape")
    assert names(lab) == everything
    lab.find(".lhx-layer-search").first.click()
    lab.page.keyboard.type("nothing such")
    assert (names(lab), said(lab)) == ([], "No layer matches \u201cnothing such\u201d.")
    press(lab, "Escape")
    assert (names(lab), said(lab)) == (everything, "")


def test_keys_walk_and_fold_as_in_every_tree(lab: LabPage) -> None:
    everything = names(lab)
    press(lab, "ArrowDown", "ArrowDown")
    assert active(lab).startswith("encoder.layers, 9 layers, 720 parameters")
    assert lab.value("picker.layer") == "embed"  # walking alone changes nothing
    press(lab, "ArrowLeft")
    assert names(lab) == [name for name in everything if name not in ("0", "1", "2", "attn", "q", "key", "norm")]
    assert lab.page.evaluate("() => picks(0).active().getAttribute('aria-expanded')") == "false"
    press(lab, "ArrowRight", "ArrowRight")
    assert active(lab).startswith("encoder.layers.0, 3 layers")
    press(lab, "End")
    assert active(lab).startswith("head, 80 parameters, λmax")
    press(lab, "Home", "o")  # type ahead
    assert active(lab) == "old, 80 parameters, skipped: of whole numbers"
    press(lab, "Enter")
    assert "of whole numbers" in said(lab)
    assert lab.value("picker.layer") == "embed"
    before = lab.wait_until_still(SPECTRUM)
    press(lab, "End", "Enter")
    lab.wait_for_change(SPECTRUM, before)
    assert lab.value("picker.layer") == "head"
    lab.wait_until("() => picks(0).all('[aria-current=true]')[0].ariaLabel.startsWith('head,')")
    assert lab.page.evaluate("() => document.activeElement === picks(0).box")


def test_space_lays_layers_over_the_one_on_show_and_a_fourth_is_refused_in_words(lab: LabPage) -> None:
    before = lab.wait_until_still(SPECTRUM)
    press(lab, "Home", "ArrowDown", " ")
    assert said(lab) == "embed is on show; lay other layers over it."
    press(lab, "End", " ")
    after = lab.wait_for_change(SPECTRUM, before)
    assert lab.value("spectra.overlay") == ["head"]
    assert said(lab) == "1 layer over the one on show."
    press(lab, "Shift+ArrowUp", "Shift+ArrowUp", "Shift+ArrowUp")
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("spectra.overlay") == ["head", "decoder.out.proj", "x" * 300]
    assert said(lab).startswith("At most 3 layers lie over the one on show")
    assert lab.page.evaluate("() => picks(0).all('[aria-selected=true]').length") == 4
    lab.wait_for_change(SPECTRUM, after)
    press(lab, "End", " ")
    lab.find("button:has-text('Take away'):visible").first.click()
    lab.wait_until("() => picks(0).all('[aria-selected=true]').length === 1")
    assert lab.value("spectra.overlay") == []
    lab.wait_until_still(SPECTRUM)
    lab.find(".lhx-layer:has-text('head')").first.click(modifiers=["ControlOrMeta"])
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("[spectra.layer, spectra.overlay]") == ["embed", ["head"]]
    press(lab, "Home", "Control+a")
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("len(spectra.overlay)") == 3
    assert said(lab).startswith("At most 3")


def test_only_a_branch_is_shown_and_computed_until_all_is_wanted_again(lab: LabPage) -> None:
    press(lab, "ArrowDown", "ArrowDown", "ArrowDown")
    lab.find("button:has-text('Only these 3'):visible").first.click()
    lab.wait_until("() => picks(0).names().length === 3")
    assert names(lab) == [f"encoder.layers.0.{part}" for part in ("attn.q", "attn.key", "norm")]
    assert lab.value("[picker.layer, len(heat.layers)]") == ["encoder.layers.0.attn.q", 3]
    assert said(lab) == "3 layers of 15 shown and computed."
    assert lab.page.evaluate("() => document.activeElement === picks(0).box")
    lab.find("button:has-text('All layers'):visible").first.click()
    lab.wait_until("() => picks(0).names().length > 12")
    assert lab.value("set(heat.layers) == set(small_names)")


def test_names_from_strangers_are_text(lab: LabPage) -> None:
    assert HOSTILE in names(lab)
    assert lab.page.evaluate("() => [window.hacked, picks(0).all('img').length]") == [None, 0]
    long = lab.find(".lhx-layer:has-text('xxxx')").first
    assert "x" * 300 in (long.get_attribute("title") or "")
    assert (long.get_attribute("aria-label") or "").startswith("x" * 300)
    assert lab.page.evaluate("() => __probe.outside(picks(0).kit)") == []
    tail = long.locator(".lhx-layer-tail").bounding_box()
    row = long.bounding_box()
    assert tail is not None
    assert row is not None
    assert tail["x"] + tail["width"] < row["x"] + row["width"]  # the end of the name is there to be read


def test_rows_of_the_map_are_sorted_by_a_list_and_stay_while_scrubbing(lab: LabPage) -> None:
    lab.kernel("heat.metric = 'trace'; heat.settled()")
    before = lab.wait_until_still(HEAT)
    lab.find(".lhx-kit-heat-map .lhx-order select").select_option(label="by value now")
    lab.wait_for_change(HEAT, before)
    lab.kernel("heat.settled()")
    order = lab.value("[row.name for row in heat.rows]")
    now = lab.value("values_now(heat)")
    assert now == sorted(now, reverse=True)
    assert len(set(now)) > 1
    lab.kernel("heat.snapshot = 2; heat.settled()")
    assert lab.value("[row.name for row in heat.rows]") == order
    assert "sorted by their values at step 1,024" in lab.find(".lhx-part-heat_words p").first.inner_text()
    figure = lab.find(f"{HEAT} .lhx-figure").first
    figure.focus()
    lab.kernel("heat.layer = heat.rows[0].name; heat.settled()")
    press(lab, "ArrowDown", "ArrowRight")  # what a click on the cell does
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("[heat.layer, heat.snapshot]") == [order[1], 3]


def test_a_metric_of_ones_own_is_in_the_lists_as_soon_as_it_is_registered(lab: LabPage) -> None:
    lab.kernel("import lhexplore as lh; lh.register_metric(lambda s: float(s.size) + s.largest, name='my_own')")
    lab.wait_until(
        "() => __probe.all('.lhx-metric select').every((e) => /^my\\sown$/.test([...e.options].at(-1).text))"
    )
    before = lab.wait_until_still(HEAT)
    options = lab.find(".lhx-kit-heat-map .lhx-metric select option").count()
    lab.find(".lhx-kit-heat-map .lhx-metric select").select_option(index=options - 1)
    lab.wait_for_change(HEAT, before)
    assert lab.value("[picker.metric, heat.metric, bool(heat.note)]") == ["my_own", "my_own", False]
    lab.wait_until("() => picks(0).active().getAttribute('aria-label').includes('my own')")


@pytest.mark.alone
def test_five_hundred_layers_open_and_scrub_quickly(lab: LabPage) -> None:
    lab.page.evaluate("() => picks(1).box.scrollIntoView({block: 'center'})")
    built = []
    for layers in ("large_names[:9]", "large_names") * 3:
        lab.page.evaluate(
            """() => { window.tasks = [];
              window.watch = new PerformanceObserver((l) => tasks.push(...l.getEntries().map((e) => e.duration)));
              watch.observe({entryTypes: ['longtask']}); }"""  # those of 50 ms and more
        )
        lab.kernel(f"rows.layers = {layers}; rows.settled()")
        count = lab.value(f"len({layers})")
        lab.wait_until(f"() => picks(1).all('.lhx-layer').length === {count}")
        lab.page.wait_for_timeout(200)
        tasks = lab.page.evaluate("() => { watch.disconnect(); return tasks; }")
        built += [max(tasks, default=0)] if count > 9 else []
    assert statistics.median(built) < OPENED, built
    told = lab.page.evaluate(
        """async () => {
          const {box} = picks(1), slider = __probe.all('.lhx-slider .noUi-target')[0].noUiSlider, times = [];
          const row = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest('.lhx-layer');
          const touched = new Set();
          for (let k = 0; k < 24; k++) {
            const start = performance.now();
            times.push(await new Promise((done) => {
              const seen = new MutationObserver((records) => {
                seen.disconnect();
                records.forEach((each) => touched.add(row(each.target)));
                requestAnimationFrame(() => done(performance.now() - start));
              });
              seen.observe(box, {subtree: true, childList: true, characterData: true, attributes: true});
              slider.set(1 + k % 11);
            }));
          }
          return {times, rows: touched.size, all: box.querySelectorAll('.lhx-layer').length};
        }"""
    )
    assert statistics.median(told["times"]) < FRAME, told["times"]
    assert told["rows"] < told["all"] / 4  # those in sight
