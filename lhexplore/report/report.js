// The report's behaviour: slider, layer, metric, maps and keys are ways to set one state; everything follows from it.
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const count = data.snapshots.length;
  const names = data.layers.map(({ short }) => short);
  const state = { layer: data.layer, frame: data.frame, metric: 0, order: "network", chosen: data.chosen };

  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const look = lhxColours(at("theme"), data.themes, () => { for (const stage of stages) stage.colour(); });
  const colours = look.now;

  // ---- the figures

  const frame = () => state.frame;
  const layerPart = () => lhxPart(`layer-${state.layer}`);
  const metricPart = () => (data.metrics.length ? lhxPart(`metric-${state.metric}`) : Promise.resolve({}));
  let rows = names.map((_, i) => i); // of the map, from top to bottom

  const spectrum = lhxStage("spectrum", { source: async () => (await layerPart()).spectrum, frame, colours });
  const loss = lhxStage("loss", { source: async () => (await lhxPart("loss")).loss, frame, colours });
  const evolution = lhxStage("evolution", { source: async () => (await layerPart()).evolution, frame, colours });
  const hesd = lhxStage("hesd", { source: async () => (await layerPart()).hesd, frame, colours });
  const map = lhxStage("map", {
    source: async () => (await metricPart()).map, frame, colours,
    prepare: (doc) => { rows = lhxMap.arrange(doc, state.order, names, state.layer); },
  });
  const named = () => [data.metrics[state.metric].name, data.metrics[state.metric].unit].filter(Boolean).join(", in ");
  let layers = []; // curves of the metric on show
  const drawn = () => lhxCurves.rows(state.chosen, state.layer, data.most);
  const curves = lhxStage("curves", {
    source: async () => {
      const part = await metricPart();
      layers = part.layers;
      return part.curves;
    },
    frame, colours,
    prepare: (doc, figure) => {
      if (lhxCurves.fill(doc, figure, layers, names, drawn(), state.layer)) curves.colour();
    },
    words: () => `${named()} at ${data.snapshots[state.frame].words}: ${
      drawn().map((i) => `${names[i]} ${layers[i].words[state.frame]}`).join("; ")}.`,
    table: (figure) => {
      const key = `${drawn()}`;
      if (figure.tabled?.key !== key) {
        const body = data.snapshots.map(({ words }, k) => [words, ...drawn().map((i) => layers[i].words[k])]);
        figure.tabled = { key, caption: named(), head: ["Snapshot", ...drawn().map((i) => names[i])], rows: body };
      }
      return figure.tabled;
    },
  });
  const stages = [spectrum, loss, evolution, hesd, map, curves];

  for (const [stage, source] of [[evolution, "evolution-cells"], [hesd, "hesd-points"], [curves, "metric-cells"]]) {
    stage.place.addEventListener("click", (event) => {
      const k = stage.cell(source, event);
      if (k >= 0) go({ frame: k });
    });
  }
  map.place.addEventListener("click", (event) => {
    const index = map.cell("heat-cells", event);
    if (index >= 0) go({ layer: Math.floor(index / count), frame: index % count });
  });

  // ---- the state, and what follows from it

  // While the slider moves, pictures and their sentences follow at once; cards, tables and the address when it rests.
  const SETTLE = 80; // milliseconds
  let settling = null;

  function go(change) {
    const before = { ...state };
    Object.assign(state, change);
    state.frame = Math.min(Math.max(state.frame, 0), count - 1);
    spectrum.update();
    describe();
    follow();
    clearTimeout(settling);
    settling = setTimeout(detail, state.layer === before.layer ? SETTLE : 0);
  }

  let following = false;
  function follow() { // the other figures come after the spectrum is painted, so that it is soon
    if (following) return;
    following = true;
    requestAnimationFrame(() => setTimeout(() => {
      following = false;
      for (const stage of stages.slice(1)) stage.update();
    }));
  }

  function describe() {
    const place = `${state.frame + 1} of ${count}: ${data.snapshots[state.frame].words}`;
    at("slider").value = state.frame;
    at("slider").setAttribute("aria-valuetext", place);
    at("place").textContent = place;
    at("layer").value = String(state.layer);
    at("previous").disabled = state.frame === 0;
    at("next").disabled = state.frame === count - 1;
  }

  let shown = -1; // whose pages the card holds
  async function detail() {
    const { layer, frame: here } = state;
    const part = await layerPart();
    if (layer !== state.layer || here !== state.frame) return; // a later call is on its way
    if (shown !== layer) lhxCard.pages(at("card"), data.layers[layer].name, data.snapshots, part.readings);
    shown = layer;
    [...at("card").children].forEach((each, k) => each.classList.toggle("current", k === here));
    list();
    at("table-title").textContent = `All layers at ${data.snapshots[here].words}`;
    at("code").textContent = part.code[here];
    at("provenance").replaceChildren(...lhxCard.pairs(part.readings[here].provenance ?? []));
    at("digests").hidden = !part.readings[here].provenance;
    remember();
  }

  function list() {
    at("rows").replaceChildren(...data.layers.map((each, i) => {
      const row = lhxCard.row(each, state.frame, i === state.layer, async () => {
        go({ layer: i });
        clearTimeout(settling);
        await detail();
        at("rows").querySelector("[aria-current] button").focus(); // the rows are new
      });
      row.hidden = !matches(i);
      return row;
    }), ...data.skipped.map(lhxCard.skipped));
  }

  // ---- the address says where one is, so that a link leads there

  function remember() {
    const place = new URLSearchParams({ layer: data.layers[state.layer].name, snapshot: data.snapshots[state.frame].label });
    if (location.protocol !== "about:") history.replaceState(null, "", `#${place}`); // in a notebook's output there is no address
  }
  function recall() {
    const place = new URLSearchParams(location.hash.slice(1));
    const layer = data.layers.findIndex(({ name }) => name === place.get("layer"));
    const k = data.snapshots.findIndex(({ label }) => label === place.get("snapshot"));
    return { layer: layer < 0 ? state.layer : layer, frame: k < 0 ? state.frame : k };
  }
  window.addEventListener("hashchange", () => go(recall()));

  // ---- what a person can do

  let playing = null;
  function play(on) {
    clearInterval(playing);
    playing = null;
    if (on) {
      if (state.frame === count - 1) go({ frame: 0 });
      playing = setInterval(() => {
        if (state.frame === count - 1) play(false);
        else go({ frame: state.frame + 1 });
      }, calm.matches ? 1500 : 450);
    }
    at("play").textContent = playing ? "Pause" : "Play";
    at("play").setAttribute("aria-pressed", String(playing !== null));
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const slider = event.currentTarget === at("slider");
    const order = event.currentTarget === map.place ? rows : names.map((_, i) => i);
    const beside = (step) => order[Math.min(Math.max(order.indexOf(state.layer) + step, 0), order.length - 1)];
    const ways = {
      ArrowLeft: { frame: state.frame - 1 }, ArrowRight: { frame: state.frame + 1 },
      Home: { frame: 0 }, End: { frame: count - 1 },
      ...(slider ? {} : { ArrowUp: { layer: beside(-1) }, ArrowDown: { layer: beside(1) } }),
    };
    if (event.key !== " " && !(event.key in ways)) return;
    event.preventDefault();
    play(event.key === " " && playing === null && count > 1);
    if (event.key !== " ") go(ways[event.key]);
  }

  const matches = (i) => data.layers[i].name.toLowerCase().includes(at("find").value.trim().toLowerCase());
  function find() {
    const found = names.map((_, i) => i).filter(matches);
    const listed = found.includes(state.layer) ? found : [state.layer, ...found];
    at("layer").replaceChildren(...listed.map((i) => new Option(data.layers[i].name, String(i), false, i === state.layer)));
    at("found").textContent = at("find").value ? `${found.length} of ${names.length}` : "";
    return found;
  }

  // ---- the start

  at("findings-words").textContent = data.findings.words;
  at("findings").append(...data.findings.rows.map((row) => lhxFindings.item(row, () => {
    const layer = data.layers.findIndex(({ name }) => name === row.layer);
    go({ layer: layer < 0 ? state.layer : layer, frame: row.frame }); // some are about the run as such
    spectrum.place.scrollIntoView({ block: "center" });
  })));
  at("findings").hidden = data.findings.rows.length === 0;
  at("silent").append(lhxFindings.silent(data.findings.silent));
  look.recolour();
  if (data.layers.length === 0 || count === 0) {
    for (const part of document.querySelectorAll("[data-needs-spectra]")) part.hidden = true;
    document.body.dataset.ready = "true";
    return;
  }
  Object.assign(state, recall());
  at("slider").max = count - 1;
  at("play").disabled = count < 2;
  at("slider").addEventListener("input", (event) => { play(false); go({ frame: Number(event.target.value) }); });
  for (const place of [at("slider"), ...stages.map((stage) => stage.place)]) place.addEventListener("keydown", key);
  at("previous").addEventListener("click", () => { play(false); go({ frame: state.frame - 1 }); });
  at("next").addEventListener("click", () => { play(false); go({ frame: state.frame + 1 }); });
  at("play").addEventListener("click", () => play(playing === null));
  at("find-label").hidden = names.length < 8; // a short list is seen at a glance
  at("find").addEventListener("input", () => { find(); list(); });
  at("find").addEventListener("keydown", (event) => {
    const [first] = event.key === "Enter" ? find() : [];
    if (first !== undefined) go({ layer: first });
  });
  find();
  at("layer").addEventListener("change", (event) => go({ layer: Number(event.target.value) }));
  data.metrics.forEach(({ name }, i) => at("metric").append(new Option(name, String(i))));
  const metric = () => { at("meaning").textContent = data.metrics[state.metric]?.meaning ?? ""; };
  at("metric").addEventListener("change", (event) => { go({ metric: Number(event.target.value) }); metric(); });
  at("order").addEventListener("change", (event) => go({ order: event.target.value }));
  at("metrics").hidden = data.metrics.length === 0;
  metric();
  at("chosen-words").textContent = `Up to ${data.most} layers; the one on show is always among them.`;
  lhxCurves.chooser(at("chosen").querySelector("fieldset"), data.layers, state.chosen, data.most, (chosen) => go({ chosen }));

  const opened = new Set(); // tables that only paper needs
  window.addEventListener("beforeprint", () => {
    look.onPaper(true);
    for (const stage of stages) {
      if (!stage.twin.open) opened.add(stage.twin);
      stage.twin.open = true;
      stage.tabulate();
      stage.paint();
    }
  });
  window.addEventListener("afterprint", () => {
    look.onPaper(false);
    for (const twin of opened) twin.open = false;
    opened.clear();
  });

  describe();
  await spectrum.update(true);
  for (const stage of stages.slice(1)) await stage.update(true);
  await detail();
  document.body.dataset.ready = "true";
})();
