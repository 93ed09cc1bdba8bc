
// One view of a Bokeh figure: fetches BokehJS once per page, follows frame, theme and changes from Python.

function bokehJS(model) {
  const version = model.get("bokeh_version");
  const found = () => window.Bokeh && (window.Bokeh.version === version ? window.Bokeh : window.Bokeh[version]);
  if (found()) return Promise.resolve(found());
  const loading = (window.__lhxBokeh ??= {});
  return (loading[version] ??= new Promise((resolve, reject) => {
    const fail = (text) => { delete loading[version]; reject(new Error(text)); };
    const patience = setTimeout(() => fail("no kernel answered; run the cell again"), 60000);
    const heard = (message, buffers) => {
      if (message?.kind !== "bokehjs") return;
      model.off("msg:custom", heard);
      clearTimeout(patience);
      const script = document.createElement("script");
      script.src = URL.createObjectURL(new Blob(buffers, { type: "text/javascript" }));
      script.onload = () => { URL.revokeObjectURL(script.src); resolve(found()); };
      script.onerror = () => fail("BokehJS could not be started");
      document.head.append(script);
    };
    model.on("msg:custom", heard);
    model.send({ kind: "need-bokehjs" });
  }));
}

const FORCED = window.matchMedia("(forced-colors: active)"); // by the system: then its words tell what the page is like
const SYSTEM = window.matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  if (FORCED.matches) return getComputedStyle(document.body).color.match(/\d+/g).slice(0, 3).every((part) => part > 127);
  const { classList, dataset } = document.body;
  if (dataset.jpThemeLight) return dataset.jpThemeLight === "false";
  if (classList.contains("vscode-light") || classList.contains("vscode-high-contrast-light")) return false;
  if (classList.contains("vscode-dark") || classList.contains("vscode-high-contrast")) return true;
  return SYSTEM.matches;
}

function watchTheme(changed) {
  const observer = new MutationObserver(changed);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  for (const media of [FORCED, SYSTEM]) media.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    for (const media of [FORCED, SYSTEM]) media.removeEventListener("change", changed);
  };
}

// What Bokeh would put into the tab order has no name and no keys: the figure itself stands there instead.
function untab(root) {
  for (const each of root.querySelectorAll("*")) {
    if (each.tabIndex >= 0) each.tabIndex = -1;
    if (each.shadowRoot) untab(each.shadowRoot);
  }
}

const ZOOMS = { "+": 1 / 1.5, "=": 1 / 1.5, "-": 1.5 };

// What a box zoom does by mouse; 0 gives the whole picture back.
function zoom(view, key) {
  if (!view?.model.x_range || !view.model.toolbar.tools.length || !(key in ZOOMS || key === "0")) return false;
  if (key === "0") view.reset();
  else {
    const { start, end } = view.model.x_range;
    const [middle, half] = [(start + end) / 2, ZOOMS[key] * (end - start) / 2];
    view.model.x_range.setv({ start: middle - half, end: middle + half });
  }
  return true;
}

const bytes = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

async function render({ model, el }) {
  const figure = document.createElement("div");
  figure.className = "lhx-figure";
  figure.setAttribute("role", model.get("clock") ? "slider" : "img"); // arrow keys walk through the snapshots
  if (model.get("clock")) figure.tabIndex = 0;
  const legend = document.createElement("ul");
  legend.className = "lhx-legend";
  legend.setAttribute("aria-label", `Legend: ${model.get("name")}`);
  legend.hidden = true;
  el.append(...(model.get("guides") ? [legend, figure] : [figure, legend])); // the slider follows the axis it guides

  let frame = { get: () => 0, stop: () => {} };
  let sentences = [];
  let Bokeh, doc = null, packed = null, block = null, spec = {}, removed = false, building = false;
  let queue = Promise.resolve();
  const view = Math.random().toString(36).slice(2);

  const speak = () => {
    const sentence = sentences[frame.get()] ?? "";
    figure.setAttribute("aria-label", [model.get("name"), sentence].filter(Boolean).join(": "));
    if (!model.get("clock")) return;
    figure.ariaValueMin = 1;
    figure.ariaValueMax = Math.max(spec.count ?? 1, 1);
    figure.ariaValueNow = frame.get() + 1;
    figure.ariaValueText = hovered() || spec.titles?.[0]?.[1][frame.get()] || sentence;
  };
  const speakLater = afterPaint(speak);
  // Decoded once per change; block and spec are swapped together, so that rows are never read at wrong places.
  const unpack = async () => {
    const [raw, text, words] = ["frames", "spec", "sentences"].map((name) => model.get(name));
    const fresh = raw === packed ? block : raw?.byteLength ? await lhxFrames.unzip(bytes(raw)) : null;
    [packed, block, spec, sentences] = [raw, fresh, JSON.parse(text), JSON.parse(words)];
    lhxFrames.legend(legend, spec, colours());
  };
  const apply = () => {
    speakLater();
    if (doc && block && !building && visible) lhxFrames.apply(doc, spec, block, frame.get());
  };
  // In a closed tab nothing is drawn; what moved meanwhile is made up for when it opens.
  let visible = true;
  const sized = new ResizeObserver(([entry]) => {
    const now = entry.contentRect.width > 0;
    if (now === visible) return;
    visible = now;
    if (now) apply();
  });
  sized.observe(figure);
  let dark = isDark();
  const colours = () => JSON.parse(model.get("themes"))[dark ? "dark" : "light"];
  const recolour = () => {
    if (doc) lhxFrames.theme(doc, colours());
  };
  const themeChanged = () => {
    if (dark === isDark()) return;
    dark = isDark();
    recolour();
    lhxFrames.legend(legend, spec, colours());
  };
  // One after the other: nothing must overtake the figure or the frames it belongs to.
  const inTurn = (task) => {
    queue = queue.then(task).catch((error) => { figure.textContent = `This figure could not be drawn: ${error.message}`; });
  };
  const forget = () => {
    if (!doc) return;
    doc.clear();
    const place = Bokeh.documents.indexOf(doc);
    if (place >= 0) Bokeh.documents.splice(place, 1);
    doc = null;
  };
  let shown = null; // the view of the figure
  const clicked = (event) => {
    const source = shown && doc?.get_model_by_name(model.get("picks"));
    const index = source ? lhxFrames.cellAt(shown, source, event) : -1;
    if (index >= 0) model.send({ kind: "pick", index });
  };
  if (model.get("picks")) figure.addEventListener("click", clicked);
  const cells = () => doc?.get_model_by_name(model.get("picks") || "none");
  // A map has rows, too: the one looked at, the first where none is.
  const row = () => Math.max(doc?.get_model_by_name(model.get("picks").replace("cells", "now"))?.data.y?.[0] ?? 0, 0);
  const rows = () => { const data = cells()?.data; return data?.x && data.y ? Math.round(data.x.length / spec.count) : 1; };
  const here = () => frame.get() + (rows() > 1 ? row() * spec.count : 0);
  // What the mouse would be told at the place looked at.
  const hovered = () => Object.values(cells()?.data ?? {}).map((column) => column[here()])
    .filter((text) => typeof text === "string" && text).join(", ");
  const pressed = (event) => {
    if (!spec.count) return;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const wanted = moved(event, frame.get(), spec.count);
    if (by && wanted !== undefined && rows() > 1) {
      const next = row() + by;
      if (next >= 0 && next < rows()) model.send({ kind: "pick", index: next * spec.count + frame.get() });
    } else if (wanted !== undefined) frame.set(wanted);
    else if (event.ctrlKey || event.metaKey || event.altKey || !zoom(shown, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  if (model.get("clock")) figure.addEventListener("keydown", pressed);
  // The slider below stands exactly under the snapshots of this figure.
  const guide = (view) => {
    const host = el.closest(".lhx-kit");
    let before = "";
    const align = () => {
      const { left, right, width } = view.frame.bbox;
      const half = width / spec.count / 2;
      const now = `${Math.round(left + half)}px ${Math.round(view.bbox.width - right + half)}px`;
      if (now === before) return;
      before = now;
      const [first, last] = now.split(" ");
      host?.style.setProperty("--lhx-first", first);
      host?.style.setProperty("--lhx-last", last);
    };
    view.repainted?.connect(align);
    align();
  };
  const show = async (text) => {
    if (removed) return;
    const fresh = Bokeh.require("document").Document.from_json(JSON.parse(text));
    const root = document.createElement("div");
    root.className = "lhx-figure-root";
    root.ariaHidden = "true"; // pixels, and tools for the mouse; the figure says what they show
    const held = figure.contains(document.activeElement);
    forget();
    shown = null;
    doc = fresh;
    lhxFrames.keepEnds(doc);
    recolour();
    apply();
    figure.replaceChildren(root);
    if (held) figure.focus({ preventScroll: true });
    building = true; // what changes while Bokeh builds its views would be lost: it does not listen yet
    try {
      [shown] = await Bokeh.require("embed/standalone").add_document_standalone(fresh, root, [root]);
    } finally {
      building = false;
    }
    untab(figure);
    lhxFrames.unstyle(shown);
    apply();
    if (model.get("guides")) guide(shown);
  };
  const heard = (message, buffers) => {
    if (message.kind === "document" && (!message.view || message.view === view)) {
      inTurn(() => show(message.document));
    } else if (message.kind === "patch") {
      inTurn(() => {
        doc?.apply_json_patch(JSON.parse(message.patch), new Map(message.ids.map((id, i) => [id, bytes(buffers[i])])));
        recolour();
        apply(); // Python knows nothing of the frame on show
      });
    }
  };
  let asked = false; // traits that came together are read once
  const arrived = () => {
    if (asked) return;
    asked = true;
    inTurn(async () => { asked = false; await unpack(); apply(); });
  };

  frame = await frameOf(model, apply);
  model.on("change:spec change:frames change:sentences", arrived);
  arrived();
  try {
    Bokeh = await bokehJS(model);
  } catch (error) {
    figure.textContent = `This figure could not be drawn: ${error.message}`;
  }
  if (Bokeh) model.on("msg:custom", heard);
  const unwatch = watchTheme(themeChanged);
  // some front ends lose the binary part of a state that is older than the page
  if (Bokeh) model.send({ kind: "hello", view, rows: Boolean(model.get("frames")?.byteLength) });
  return () => {
    removed = true;
    sized.disconnect();
    unwatch();
    model.off("msg:custom", heard);
    frame.stop();
    model.off("change:spec change:frames change:sentences", arrived);
    forget();
  };
}

// BokehJS is on its way before anything stands on the page.
const initialize = ({ model }) => { bokehJS(model).catch(() => {}); }; // render says what went wrong

export default { initialize, render };
