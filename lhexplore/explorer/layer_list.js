// A list box of layers: rows are built once per set of layers, and only their bars and marks follow the frame.

const array = (view, Kind) => new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const RAISED = Object.fromEntries([..."-0123456789"].map((c, i) => [c, "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[i]]));

// As the package writes numbers elsewhere, with one digit less beside a power of ten.
function short(value) {
  if (!Number.isFinite(value)) return "";
  const size = Math.abs(value), sign = value < 0 ? "\u2212" : "";
  if (size === 0 || (size >= 1e-3 && size < 9995)) {
    return sign + size.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 4 : 3 });
  }
  const [factor, exponent] = size.toExponential(1).split("e");
  const power = `10${[...exponent.replace("+", "")].map((c) => RAISED[c]).join("")}`;
  return sign + (Number(factor) === 1 ? power : `${Number(factor)}\u00d7${power}`);
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
    const previews = JSON.parse(model.get("previews"))[frame.get()] ?? {};
    parts.forEach(({ option, mark, fill, bar, number }, i) => {
      const at = i * count + frame.get();
      const known = !Number.isNaN(shares[at]);
      const [symbol, word, kind] = legend[marks[at]] ?? ["", "", "unknown"];
      fill.style.width = known ? `${(100 * shares[at]).toFixed(1)}%` : "0";
      bar.classList.toggle("lhx-unknown", !known && rows[i].usable);
      const early = known ? "" : previews[i] ?? "";
      number.textContent = known ? short(numbers[at]) : early;
      number.classList.toggle("lhx-early", Boolean(early));
      mark.textContent = symbol;
      mark.dataset.kind = kind;
      const state = rows[i].usable
        ? (known ? `${quantity} ${short(numbers[at])}, ${word}` : ["not computed yet", early].filter(Boolean).join("; "))
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
    "change:quantity": update, "change:previews": update,
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
