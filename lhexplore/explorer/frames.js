// Shows a snapshot of packed frames in a Bokeh document, and switches its colours: shared by pane and report.
const lhxFrames = (() => {
  const ARRAYS = { float32: Float32Array };

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
    return sources;
  }

  function apply(doc, spec, buffer, frame) {
    for (const [name, columns] of columnsAt(spec, buffer, frame)) {
      const source = doc.get_model_by_name(name);
      if (source) source.data = { ...source.data, ...columns };
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

  return { apply, theme };
})();
