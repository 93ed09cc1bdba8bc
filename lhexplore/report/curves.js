// The curves of the chosen layers: what was made for every layer is put into the few places of one figure.
const lhxCurves = (() => {
  const shown = new WeakMap(); // per document: which layers it shows
  const gaps = (values) => Float64Array.from(values, (v) => v ?? NaN);

  // Those that are chosen, and the layer on show in any case.
  function rows(chosen, layer, most) {
    return chosen.includes(layer) ? chosen : [...chosen.slice(0, most - 1), layer];
  }

  function fill(doc, figure, layers, names, drawn, layer) {
    const key = `${drawn} ${layer}`;
    if (shown.get(doc) === key) return false;
    shown.set(doc, key);
    const cells = doc.get_model_by_name("metric-cells");
    const columns = { missing: Array.from(cells.data.missing, (_, k) => Number(drawn.every((i) => layers[i].y[k] === null))) };
    figure.keys ??= figure.spec.legend;
    const places = figure.keys.findIndex((_, i) => !doc.get_model_by_name(`metric-curve${i}`));
    const count = places < 0 ? figure.keys.length : places;
    for (let i = 0; i < count; i++) {
      const curve = layers[drawn[i]];
      const line = doc.get_model_by_name(`metric-curve${i}`);
      const band = doc.get_model_by_name(`metric-band${i}`);
      line.data = { ...line.data, y: curve ? gaps(curve.y) : gaps(Array(line.data.x.length).fill(null)) };
      band.data = { x: gaps(curve?.band[0] ?? []), y: gaps(curve?.band[1] ?? []) };
      columns[`layer${i}`] = Array.from(columns.missing, (_, k) => (curve ? `${names[drawn[i]]}: ${curve.words[k]}` : ""));
    }
    cells.data = { ...cells.data, ...columns };
    const above = doc.get_model_by_name("metric-shown");
    above.data = { ...above.data, y: gaps(layers[layer].y) };
    figure.spec.legend = [
      ...drawn.map((i, at) => [names[i] + (i === layer ? " (on show)" : ""), figure.keys[at][1]]),
      ...figure.keys.slice(count),
    ];
    return true;
  }

  // A box to tick for every layer; `changed` gets those that are ticked, `most` of them at most.
  function chooser(place, layers, first, most, changed) {
    let chosen = first;
    const boxes = layers.map((_, i) => Object.assign(document.createElement("input"), { type: "checkbox", value: String(i) }));
    const show = () => boxes.forEach((box, i) => {
      box.checked = chosen.includes(i);
      box.disabled = !box.checked && chosen.length >= most;
    });
    boxes.forEach((box, i) => {
      const label = lhxElement("label");
      label.append(box, ` ${layers[i].name}`);
      place.append(label);
      box.addEventListener("change", () => {
        chosen = boxes.flatMap((each, k) => (each.checked ? [k] : []));
        show();
        changed(chosen);
      });
    });
    show();
  }

  return { rows, fill, chooser };
})();
