// Shows a snapshot of packed frames in a Bokeh document, its legend and its colours: shared by pane and report.
const lhxFrames = (() => {
  const ARRAYS = { float32: Float32Array };

  // What Python compressed, as an ArrayBuffer.
  function unzip(bytes) {
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }

  // The columns of every source at `frame`; sources that lag show an earlier one, and nothing before the first.
  function columnsAt(spec, buffer, frame) {
    const sources = new Map();
    for (const [source, column, kind, offset, length, lag] of spec.columns) {
      const Kind = ARRAYS[kind];
      const row = frame - lag;
      const known = row >= 0 && row < spec.count;
      const values = known
        ? new Kind(buffer, offset + row * length * Kind.BYTES_PER_ELEMENT, length).slice()
        : new Kind(length).fill(NaN);
      if (!sources.has(source)) sources.set(source, {});
      sources.get(source)[column] = values;
    }
    for (const [source, column, rows] of spec.words ?? []) {
      sources.get(source)[column] = rows[frame] ?? (rows[0] ?? []).map(() => "");
    }
    return sources;
  }

  const equal = (a, b) => a?.length === b.length && b.every((value, i) => Object.is(a[i], value));

  function apply(doc, spec, buffer, frame) {
    for (const [name, columns] of columnsAt(spec, buffer, frame)) {
      const source = doc.get_model_by_name(name);
      // what stays as it is costs nothing: Bokeh would compute its glyphs anew
      const changed = source && Object.entries(columns).some(([column, values]) => !equal(source.data[column], values));
      if (!changed) continue;
      const data = { ...source.data, ...columns };
      // frames of a figure that is about to come do not fit the one that goes: Bokeh cannot draw columns of unlike length
      if (new Set(Object.values(data).map((column) => column.length)).size === 1) source.data = data;
    }
    for (const [name, texts] of spec.titles) {
      const title = doc.get_model_by_name(name);
      const text = texts[frame] ?? "";
      if (title && title.text !== text) title.text = text;
    }
  }

  // `colours` maps roles to colours (or palettes); tags of the models say which property plays which role.
  function theme(doc, colours) {
    for (const model of doc._all_models.values()) {
      for (const tag of model.tags ?? []) {
        const roles = tag instanceof Map ? tag.get("theme") : tag?.theme;
        if (!roles) continue;
        const pairs = roles instanceof Map ? [...roles] : Object.entries(roles);
        for (const [property, role] of pairs) model[property] = colours[role];
      }
    }
  }

  // At every repaint Bokeh writes the style sheets anew that say where its parts stand, and asks those of the page for
  // each colour, width and font: the browser has to work out all styles then. Ours are properties of the models, and a
  // sheet that says the same as before can stay.
  function unstyle(view) {
    for (const visual of view.visuals ?? []) if (visual._get_css_value) visual._get_css_value = () => "";
    const sheet = view.position;
    if (sheet?._update) sheet._update = (css) => { if (css !== sheet.css) sheet.el.textContent = css; };
    for (const child of view.children_views()) unstyle(child);
  }

  // Where labels do not all fit, Bokeh would leave out the last: keep both ends, which say from where to where it goes.
  function keepEnds(doc) {
    for (const policy of doc._all_models.values()) if (policy.type === "NoOverlap") policy.filter = (indices, _, distance) => {
      const places = [...indices];
      const [fits, last] = [(i, j) => distance(i, j) >= policy.min_distance, places.at(-1)];
      let kept = places[0];
      for (const place of places.slice(1)) {
        if (fits(kept, place) && (place === last || fits(place, last))) kept = place;
        else indices.unset(place);
      }
      return indices;
    };
  }

  // Which cell of `source` (unit squares around x and y; whole strips where it has only one of them) lies below a
  // click; -1 for none. Bokeh's own taps leave out clicks that are long, or follow each other quickly.
  function cellAt(view, source, event) {
    const box = view.canvas_view.el.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    if (!view.frame.bbox.contains(left, top)) return -1;
    const { x: xs, y: ys } = source.data;
    if (source.tags.includes("points")) return nearest(view, xs, ys, left, top);
    const [x, y] = [view.frame.x_scale.invert(left), view.frame.y_scale.invert(top)];
    const near = (middles, i, here) => !middles || Math.abs(middles[i] - here) <= 0.5;
    return Array.prototype.findIndex.call(xs ?? ys, (_, i) => near(xs, i, x) && near(ys, i, y));
  }

  // Which point stands nearest, within a finger's reach; -1 for none.
  function nearest(view, xs, ys, left, top) {
    let [best, reach] = [-1, 14];
    for (let i = 0; i < xs.length; i++) {
      const away = Math.hypot(view.frame.x_scale.compute(xs[i]) - left, view.frame.y_scale.compute(ys[i]) - top);
      if (away <= reach) [best, reach] = [i, away]; // of equal ones the latest, which is drawn on top
    }
    return best;
  }

  // Marks of a legend in a box of 22 × 12: element, attributes, and whether it is filled or drawn as a line.
  const SHAPES = {
    box: ["rect", { x: 5, y: 1, width: 12, height: 10 }, "fill"],
    shade: ["rect", { x: 5, y: 1, width: 12, height: 10, opacity: 0.3 }, "fill"],
    halo: ["path", { d: "M0 6H22", "stroke-width": 9, opacity: 0.18 }, "stroke"],
    line: ["path", { d: "M0 6H22", "stroke-width": 2 }, "stroke"],
    dash: ["path", { d: "M0 6H22", "stroke-width": 2, "stroke-dasharray": "6 2" }, "stroke"],
    dots: ["path", { d: "M0 6H22", "stroke-width": 2, "stroke-dasharray": "2 3" }, "stroke"],
    dashdot: ["path", { d: "M0 6H22", "stroke-width": 2, "stroke-dasharray": "8 3 2 3" }, "stroke"],
    longdash: ["path", { d: "M0 6H22", "stroke-width": 2, "stroke-dasharray": "13 4" }, "stroke"],
    whisker: ["path", { d: "M11 1V11", "stroke-width": 1.5 }, "stroke"],
    circle: ["circle", { cx: 11, cy: 6, r: 3.5 }, "fill"],
    ring: ["circle", { cx: 11, cy: 6, r: 3.5, "stroke-width": 1.5 }, "stroke"],
    "open square": ["rect", { x: 7.5, y: 2.5, width: 7, height: 7, "stroke-width": 1.5 }, "stroke"],
    "open diamond": ["path", { d: "M11 1L15 6L11 11L7 6Z", "stroke-width": 1.5 }, "stroke"],
    "open triangle": ["path", { d: "M11 2L15 10H7Z", "stroke-width": 1.5 }, "stroke"],
    square: ["rect", { x: 7.5, y: 2.5, width: 7, height: 7 }, "fill"],
    diamond: ["path", { d: "M11 1L15 6L11 11L7 6Z" }, "fill"],
    triangle: ["path", { d: "M11 2L15 10H7Z" }, "fill"],
    cross: ["path", { d: "M11 2V10M7 6H15", "stroke-width": 2 }, "stroke"],
    hatch: ["path", { d: "M3 11L13 1M8 11L18 1M13 11L19 5M3 6L8 1", "stroke-width": 1 }, "stroke"],
    point: ["path", { d: "M11 11L6 2H16Z" }, "fill"],
  };
  const drawn = (tag, attributes, parent) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    parent.append(made);
    return made;
  };

  // Writes the legend as a list: words with swatches, nothing of which is painted again while scrubbing.
  function legend(list, spec, colours) {
    list.hidden = !spec.legend?.length;
    list.replaceChildren(...(spec.legend ?? []).map(([words, marks]) => {
      const item = document.createElement("li");
      const picture = drawn("svg", { viewBox: "0 0 22 12", width: 22, height: 12, "aria-hidden": "true" }, item);
      for (const [shape, role] of marks) {
        const [tag, attributes, paint] = SHAPES[shape];
        drawn(tag, { fill: "none", ...attributes, [paint]: colours[role] }, picture);
      }
      item.append(words);
      return item;
    }));
  }

  return { unzip, apply, theme, keepEnds, unstyle, cellAt, legend };
})();
