// A list box of layers: rows are built once per set of layers, and only their bars and marks follow the frame.

const array = (view, Kind) => new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const MINUS = "\u2212";

function short(value) {
  if (!Number.isFinite(value)) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3
    ? size.toExponential(1).replace("e-", `e${MINUS}`).replace("e+", "e")
    : String(Number(size.toPrecision(3)));
  return (value < 0 ? MINUS : "") + text;
}

function element(tag, name, parent) {
  const made = document.createElement(tag);
  made.className = name;
  parent?.append(made);
  return made;
}

async function render({ model, el }) {
  const box = element("div", "lhx-layers", el);
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-label", "Layers");
  box.tabIndex = 0;
  box.dataset.lmSuppressShortcuts = "true"; // arrow keys move here, not to the next notebook cell
  const id = `lhx-${Math.random().toString(36).slice(2)}`;
  let rows = [], parts = [];

  const build = () => {
    rows = JSON.parse(model.get("rows"));
    box.replaceChildren();
    parts = rows.map((row, i) => {
      const option = element("div", "lhx-layer", box);
      option.id = `${id}-${i}`;
      option.setAttribute("role", "option");
      if (!row.usable) option.setAttribute("aria-disabled", "true");
      const mark = element("span", "lhx-layer-mark", option);
      const name = element("span", "lhx-layer-name", option);
      name.textContent = row.name;
      const size = element("span", "lhx-layer-size", option);
      size.textContent = row.usable ? row.size.toLocaleString("en") : "skipped";
      const bar = element("span", "lhx-layer-bar", option);
      const fill = element("span", "lhx-layer-fill", bar);
      const number = element("span", "lhx-layer-number", option);
      option.title = [row.name, `${row.kind}, ${row.size.toLocaleString("en")} parameters`, row.reason]
        .filter(Boolean).join("\n");
      if (row.usable) option.addEventListener("click", () => choose(i));
      return { option, mark, fill, bar, number };
    });
    update();
    select();
  };

  const update = () => {
    const count = model.get("count");
    const raw = ["shares", "numbers", "marks"].map((name) => model.get(name));
    if (raw.some((view) => !view?.byteLength) || !count) return;
    const [shares, numbers, marks] = [array(raw[0], Float32Array), array(raw[1], Float32Array), array(raw[2], Uint8Array)];
    if (marks.length !== rows.length * count) return; // rows and values come in two messages
    const legend = JSON.parse(model.get("legend"));
    const quantity = model.get("quantity");
    parts.forEach(({ option, mark, fill, bar, number }, i) => {
      const at = i * count + frame.get();
      const known = !Number.isNaN(shares[at]);
      const [symbol, word, kind] = legend[marks[at]] ?? ["", "", "unknown"];
      fill.style.width = known ? `${(100 * shares[at]).toFixed(1)}%` : "0";
      bar.classList.toggle("lhx-unknown", !known && rows[i].usable);
      number.textContent = known ? short(numbers[at]) : "";
      mark.textContent = symbol;
      mark.dataset.kind = kind;
      const state = rows[i].usable
        ? (known ? `${quantity} ${short(numbers[at])}, ${word}` : "not computed yet")
        : `skipped: ${rows[i].reason}`;
      option.setAttribute("aria-label", `${rows[i].name}, ${rows[i].size} parameters, ${state}`);
    });
  };

  const select = () => {
    const chosen = model.get("selected");
    parts.forEach(({ option }, i) => option.setAttribute("aria-selected", String(i === chosen)));
    const option = parts[chosen]?.option;
    if (!option) return;
    box.setAttribute("aria-activedescendant", option.id);
    const top = option.offsetTop, bottom = top + option.offsetHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  };

  const choose = (i) => {
    model.set("selected", i);
    model.save_changes();
  };

  const step = (from, by) => {
    for (let i = from; i >= 0 && i < rows.length; i += by) if (rows[i].usable) return choose(i);
    return undefined;
  };

  box.addEventListener("keydown", (event) => {
    const at = model.get("selected");
    const moves = {
      ArrowDown: () => step(at + 1, 1), ArrowUp: () => step(at - 1, -1),
      Home: () => step(0, 1), End: () => step(rows.length - 1, -1),
      PageDown: () => step(Math.min(at + 8, rows.length - 1), -1), PageUp: () => step(Math.max(at - 8, 0), 1),
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
  });

  const handlers = {
    "change:rows": build, "change:selected": select,
    "change:shares": update, "change:numbers": update, "change:marks": update, "change:legend": update,
    "change:quantity": update,
  };
  const frame = await frameOf(model, afterPaint(update));
  for (const [name, handler] of Object.entries(handlers)) model.on(name, handler);
  build();
  return () => {
    frame.stop();
    for (const [name, handler] of Object.entries(handlers)) model.off(name, handler);
  };
}

export default { render };
