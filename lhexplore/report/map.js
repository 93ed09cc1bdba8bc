// The rows of the map in another order: cells, marks and labels move, and the number of a cell stays what it is.
const lhxMap = (() => {
  const originals = new WeakMap(); // per document: rows as they were drawn, and the order that is on show

  // Numbers of the layers from top to bottom.
  function order(how, names, places) {
    const rows = names.map((_, i) => i);
    const count = places.length / names.length;
    const most = (i) => Math.max(...Array.from(places.slice(i * count, (i + 1) * count), (v) => (v > -Infinity ? v : -Infinity)));
    if (how === "name") return rows.sort((a, b) => names[a].localeCompare(names[b], undefined, { numeric: true }));
    if (how !== "value") return rows;
    const heights = rows.map(most);
    return rows.sort((a, b) => (heights[b] > heights[a] ? 1 : heights[b] < heights[a] ? -1 : a - b));
  }

  // Puts the rows in order and the frame around the layer on show; returns the numbers from top to bottom.
  function arrange(doc, how, names, layer) {
    const [cells, marks, axis, now] = ["heat-cells", "heat-marks", "heat-y-axis", "heat-now"].map((name) => doc.get_model_by_name(name));
    if (!originals.has(doc)) originals.set(doc, { cells: [...cells.data.y], marks: [...marks.data.y], how: "network", rows: order("network", names, []) });
    const known = originals.get(doc);
    if (known.how !== how) {
      known.how = how;
      known.rows = order(how, names, cells.data.colour);
      const rank = [];
      known.rows.forEach((row, at) => { rank[row] = at; });
      cells.data = { ...cells.data, y: known.cells.map((row) => rank[row]) };
      marks.data = { ...marks.data, y: known.marks.map((row) => rank[row]) };
      axis.major_label_overrides = new Map([...axis.ticker.ticks].map((at) => [at, names[known.rows[at]]]));
    }
    const y = known.rows.indexOf(layer);
    if (now.data.y[0] !== y) now.data = { ...now.data, y: [y] };
    return known.rows;
  }

  return { arrange };
})();
