// The report's behaviour: slider, layer, metric and map are four ways to set one state; everything follows from it.
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const count = data.snapshots.length;
  const state = { layer: data.layer, frame: data.frame, metric: 0 };
  const at = (id) => document.getElementById(id);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  // All text goes through here: names are shown, never read as markup.
  function element(tag, text = "", className = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  const unpack = (text) => lhxFrames.unzip(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));

  // One place on the page that holds one Bokeh figure at a time.
  function stage(place, prepare = () => {}) {
    let doc = null, figure = null, block = null, turn = 0, view = null, building = false;
    const legend = at(`${place.id}-legend`);
    const colour = () => {
      if (!doc) return;
      const colours = data.themes[dark.matches ? "dark" : "light"];
      lhxFrames.theme(doc, colours);
      if (legend) lhxFrames.legend(legend, figure.spec, colours);
    };
    const show = () => {
      if (!doc || building) return; // it does not listen yet; what is wanted by then is shown when it does
      lhxFrames.apply(doc, figure.spec, block, state.frame);
      prepare(doc);
    };
    const put = async (fresh) => {
      if (fresh === figure) return show();
      const mine = ++turn;
      const unpacked = await unpack(fresh.frames);
      if (mine !== turn) return undefined; // something else was chosen meanwhile
      if (doc) {
        doc.clear();
        Bokeh.documents.splice(Bokeh.documents.indexOf(doc), 1);
      }
      [figure, block] = [fresh, unpacked];
      doc = Bokeh.require("document").Document.from_json(fresh.document);
      colour();
      show();
      const root = document.createElement("div");
      place.style.minHeight = `${fresh.height}px`;
      place.replaceChildren(root);
      view = null;
      building = true;
      try {
        [view] = await Bokeh.require("embed/standalone").add_document_standalone(doc, root, [root]);
      } finally {
        building = false;
      }
      return show();
    };
    dark.addEventListener("change", colour);
    return { put, show, get doc() { return doc; }, get view() { return view; } };
  }

  const spectrum = stage(at("spectrum"));
  const loss = stage(at("loss"));
  const map = stage(at("map"), (doc) => {
    const now = doc.get_model_by_name("heat-now");
    now.data = { ...now.data, y: [state.layer] };
  });

  at("map").addEventListener("click", (event) => {
    const index = map.view ? lhxFrames.cellAt(map.view, map.doc.get_model_by_name("heat-cells"), event) : -1;
    if (index >= 0) go({ layer: Math.floor(index / count), frame: index % count });
  });

  // ---- the state, and what follows from it

  // While the slider moves, pictures and their sentence follow at once; cards and tables when it rests.
  const SETTLE = 80; // milliseconds
  let settling = null;

  function go(change) {
    const before = { ...state };
    Object.assign(state, change);
    state.frame = Math.min(Math.max(state.frame, 0), count - 1);
    const other = state.layer !== before.layer;
    if (other) spectrum.put(data.layers[state.layer].figure);
    else spectrum.show();
    loss.show();
    map.show();
    describe();
    clearTimeout(settling);
    settling = setTimeout(detail, other ? 0 : SETTLE);
  }

  async function chooseMetric(metric) {
    state.metric = metric;
    await map.put(data.maps[metric].figure);
    describe();
  }

  function describe() {
    const layer = data.layers[state.layer];
    const shot = data.snapshots[state.frame];
    const place = `${state.frame + 1} of ${count}: ${shot.words}`;
    at("slider").value = state.frame;
    at("slider").setAttribute("aria-valuetext", place);
    at("place").textContent = place;
    at("layer").value = String(state.layer);
    at("previous").disabled = state.frame === 0;
    at("next").disabled = state.frame === count - 1;
    at("sentence").textContent = layer.figure.sentences[state.frame];
    at("spectrum").setAttribute("aria-label", layer.figure.sentences[state.frame]);
    at("loss-sentence").textContent = data.loss.sentences[state.frame];
    at("loss").setAttribute("aria-label", data.loss.sentences[state.frame]);
    const shown = data.maps[state.metric];
    if (shown) {
      at("map-sentence").textContent = `${shown.meaning} ${shown.figure.sentences[state.frame]}`;
      at("map").setAttribute("aria-label", shown.figure.sentences[state.frame]);
    }
  }

  let shown = null; // whose pages the card holds
  function page(layer, shot, reading) {
    const made = element("div", "", "page");
    made.append(...card(layer, shot, reading));
    return made;
  }

  function detail() {
    const layer = data.layers[state.layer];
    const shot = data.snapshots[state.frame];
    const reading = layer.readings[state.frame];
    if (shown !== layer) {
      at("card").replaceChildren(...layer.readings.map((each, k) => page(layer, data.snapshots[k], each)));
      shown = layer;
    }
    [...at("card").children].forEach((each, k) => each.classList.toggle("current", k === state.frame));
    at("rows").replaceChildren(...data.layers.map(row), ...data.skipped.map(skipped));
    at("table-title").textContent = `All layers at ${shot.words}`;
    at("provenance").replaceChildren(...pairs(reading.provenance ?? []));
  }

  const pairs = (rows) => rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]);

  function badge({ word, symbol, kind }) {
    const made = element("p", "", "badge");
    made.dataset.kind = kind;
    const sign = element("span", symbol, "symbol");
    sign.setAttribute("aria-hidden", "true");
    made.append(sign, element("span", word));
    return made;
  }

  function card(layer, shot, reading) {
    const parts = [element("h2", layer.name), element("p", shot.words, "muted")];
    if (reading.state === "missing") return [...parts, element("p", reading.message, "notice")];
    const numbers = element("dl", "", "numbers");
    for (const [name, value, meaning] of reading.numbers) {
      const [term, amount] = [element("dt", name), element("dd", value)];
      term.title = amount.title = meaning;
      numbers.append(term, amount);
    }
    parts.push(badge(reading.badge), numbers, ...(reading.beside.length ? [lhxFindings.beside(reading.beside)] : []));
    parts.push(element("p", reading.method, "muted"));
    parts.push(element("h3", "Findings"));
    if (reading.findings.length === 0) parts.push(element("p", "No rule fires for this block here."));
    else {
      const list = element("ul", "", "findings");
      list.append(...reading.findings.map((each) => lhxFindings.item(each)));
      parts.push(list);
    }
    if (reading.reasons.length) {
      const why = element("details");
      why.append(element("summary", "Why this type"), ...reading.reasons.map((reason) => element("p", reason)));
      parts.push(why);
    }
    for (const why of parts.flatMap((part) => [part, ...part.querySelectorAll("details")])) {
      why.addEventListener("toggle", () => { // on all pages, so that nothing jumps while scrubbing
        for (const each of at("card").querySelectorAll("details")) each.open = why.open;
      });
    }
    return parts;
  }

  function row(layer, i) {
    const made = element("tr");
    if (i === state.layer) made.setAttribute("aria-current", "true");
    const name = element("th");
    name.scope = "row";
    const link = element("button", layer.name, "link");
    link.type = "button";
    link.id = `row-${i}`;
    link.addEventListener("click", () => {
      go({ layer: i });
      detail();
      at(`row-${i}`).focus(); // the rows are new
    });
    name.append(link);
    const reading = layer.readings[state.frame];
    made.append(name, element("td", layer.size.toLocaleString("en"), "number"));
    if (reading.state === "missing") {
      const cell = element("td", "not computed", "muted");
      cell.colSpan = 4;
      made.append(cell);
      return made;
    }
    const [largest, trace, found] = reading.cells;
    const kind = element("td");
    kind.append(badge(reading.badge));
    made.append(element("td", largest, "number"), element("td", trace, "number"), kind, element("td", found));
    return made;
  }

  function skipped({ name, size, reason }) {
    const made = element("tr");
    const cell = element("td", `skipped: ${reason}`, "muted");
    cell.colSpan = 4;
    const head = element("th", name);
    head.scope = "row";
    made.append(head, element("td", size.toLocaleString("en"), "number"), cell);
    return made;
  }

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

  if (data.layers.length === 0 || count === 0) {
    at("sentence").textContent = "There is nothing to show: no layer or no snapshot.";
    return;
  }
  at("slider").max = count - 1;
  at("slider").addEventListener("input", (event) => { play(false); go({ frame: Number(event.target.value) }); });
  at("previous").addEventListener("click", () => { play(false); go({ frame: state.frame - 1 }); });
  at("next").addEventListener("click", () => { play(false); go({ frame: state.frame + 1 }); });
  at("play").addEventListener("click", () => play(playing === null));
  data.layers.forEach(({ name }, i) => at("layer").append(new Option(name, String(i))));
  at("layer").addEventListener("change", (event) => go({ layer: Number(event.target.value) }));
  data.maps.forEach(({ name }, i) => at("metric").append(new Option(name, String(i))));
  at("metric").addEventListener("change", (event) => chooseMetric(Number(event.target.value)));

  const { rows, silent, words } = data.findings;
  at("findings-words").textContent = words;
  at("findings").append(...rows.map((row) => lhxFindings.item(row, () => {
    const layer = data.layers.findIndex(({ name }) => name === row.layer);
    go({ layer: layer < 0 ? state.layer : layer, frame: row.frame }); // some are about the run as such
    at("spectrum").scrollIntoView({ block: "center" });
  })));
  at("findings").hidden = rows.length === 0;
  at("silent").append(lhxFindings.silent(silent));
  describe();
  detail();
  await spectrum.put(data.layers[state.layer].figure);
  await loss.put(data.loss);
  if (data.maps.length) await chooseMetric(0);
  else at("map-sentence").textContent = "No metric is known yet.";
  document.body.dataset.ready = "true";
})();
