// Opens the parts of the page: compressed text that is read only when it is looked at.
const lhxPart = (() => {
  const opened = new Map();

  function bytes(letters) {
    const raw = atob(letters);
    const made = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) made[i] = raw.charCodeAt(i);
    return made;
  }

  // Numbers of 4 bytes, of which first all first bytes came, then all second ones, and so on.
  function numbers(planes) {
    const from = new Uint8Array(planes);
    const made = new Uint8Array(from.length);
    const count = from.length / 4;
    for (let plane = 0; plane < 4; plane++) {
      for (let i = 0, start = plane * count; i < count; i++) made[4 * i + plane] = from[start + i];
    }
    return made.buffer;
  }

  // What a figure has of its own is put into the template it was drawn by.
  function put(doc, settings) {
    for (const [name, values] of Object.entries(settings)) {
      const model = doc.get_model_by_name(name);
      const made = { ...values };
      if (values.data) made.data = { ...model.data, ...Object.fromEntries(values.data.map(([column, cells]) => [column, typed(cells)])) };
      if (values.major_label_overrides) made.major_label_overrides = new Map(values.major_label_overrides);
      model.setv(made);
    }
  }
  const typed = (cells) => (cells.every((v) => v === null || typeof v === "number") ? Float64Array.from(cells, (v) => v ?? NaN) : cells);

  // JSON first, then the numbers of its figures.
  async function open(name) {
    const packed = document.getElementById(`part-${name}`)?.textContent.split(" ");
    if (!packed) return {}; // there is nothing to show
    const [head, ...blocks] = await Promise.all(packed.map((each) => lhxFrames.unzip(bytes(each))));
    const part = JSON.parse(new TextDecoder().decode(head));
    for (const figure of Object.values(part)) {
      if (figure?.template === undefined) continue;
      figure.numbers = numbers(blocks[figure.block]);
      figure.make = async () => {
        const template = await lhxPart(`figure-${figure.template}`);
        const doc = Bokeh.require("document").Document.from_json(template.document);
        put(doc, figure.settings);
        return doc;
      };
    }
    return part;
  }

  return (name) => {
    if (!opened.has(name)) opened.set(name, open(name));
    return opened.get(name);
  };
})();
