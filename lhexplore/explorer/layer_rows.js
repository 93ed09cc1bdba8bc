// What the rows of the tree of layers look like: built once per set of layers; bars and marks follow the frame.

const RAISED = Object.fromEntries([..."-0123456789"].map((c, i) => [c, "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[i]]));
const LONG = 16, TAIL = 8; // characters up to which a name is never cut, and of its end that stay at most

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

let built = 0; // makes ids unique

function element(tag, name, parent) {
  const made = document.createElement(tag);
  made.className = name;
  parent?.append(made);
  return made;
}

const whole = (count) => count.toLocaleString("en");
const counted = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;

// Only text: where room is short, the style sheet cuts the first part, and the end of the name stays.
function nameOf(text, parent) {
  const name = element("span", "lhx-layer-name", parent);
  name.dir = "auto";
  if (text.length <= LONG) name.textContent = text;
  else {
    const signs = [...new Intl.Segmenter().segment(text)].map((each) => each.segment);
    const cut = signs.length - Math.min(TAIL, Math.floor(signs.length / 2));
    element("span", "lhx-layer-head", name).textContent = signs.slice(0, cut).join("");
    element("span", "lhx-layer-tail", name).textContent = signs.slice(cut).join("");
  }
}

// A node of the tree: its row, what is below it, and the layers it stands for.
function buildNode([label, row, below], rows, parent, level, id) {
  const node = { label: label || (row === null ? "(no name)" : rows[row].name || "(no name)"), row, parent, level, children: [], layers: [] };
  node.path = parent ? `${parent.path}.${label}` : label;
  node.el = element("div", row === null ? "lhx-branch" : "lhx-layer");
  node.el.id = `${id}-${++built}`;
  node.el.setAttribute("role", "treeitem");
  node.el.setAttribute("aria-level", level);
  node.el.style.setProperty("--lhx-level", Math.min(level, 6) - 1);
  if (row === null) buildBranch(node, below, rows, level, id);
  else buildLayer(node, rows[row]);
  return node;
}

function buildLayer(node, row) {
  const { el } = node;
  node.layers = [node.row];
  if (!row.usable) el.setAttribute("aria-disabled", "true");
  node.mark = element("span", "lhx-layer-mark", el);
  nameOf(node.label, el);
  node.over = element("span", "lhx-layer-over", el);
  element("span", "lhx-layer-size", el).textContent = row.usable ? whole(row.size) : "skipped";
  node.bar = element("span", "lhx-layer-bar", el);
  node.fill = element("span", "lhx-layer-fill", node.bar);
  node.number = element("span", "lhx-layer-number", el);
  el.setAttribute("aria-label", `${row.name}, ${counted(row.size, "parameter")}`); // until it comes into sight
  el.title = [row.name, `${row.kind}, ${counted(row.size, "parameter")}`, row.reason].filter(Boolean).join("\n");
  node.head = el;
}

function buildBranch(node, below, rows, level, id) {
  node.head = element("div", "lhx-branch-head", node.el);
  element("span", "lhx-branch-fold", node.head).setAttribute("aria-hidden", "true");
  nameOf(node.label, node.head);
  node.group = element("div", "lhx-branch-group", node.el);
  node.group.setAttribute("role", "group");
  node.children = below.map((child) => buildNode(child, rows, node, level + 1, id));
  node.group.append(...node.children.map((child) => child.el));
  node.layers = node.children.flatMap((child) => child.layers);
  const usable = node.layers.filter((i) => rows[i].usable);
  const size = usable.reduce((sum, i) => sum + rows[i].size, 0);
  const skipped = node.layers.length - usable.length;
  const words = [counted(node.layers.length, "layer"), skipped && `${skipped} skipped`].filter(Boolean).join(", ");
  element("span", "lhx-branch-count", node.head).textContent = words;
  element("span", "lhx-layer-size", node.head).textContent = whole(size);
  node.head.title = `${node.path}\n${words}, ${counted(size, "parameter")}`;
  node.el.setAttribute("aria-label", `${node.path}, ${words}, ${counted(size, "parameter")}`);
}

// What a layer's row says at one frame.
function paintLayer(node, row, { value, share, symbol, word, kind, early, quantity }) {
  const known = !Number.isNaN(share);
  node.fill.style.width = known ? `${(100 * share).toFixed(1)}%` : "0";
  node.bar.classList.toggle("lhx-unknown", !known && row.usable);
  node.number.textContent = known ? short(value) : early;
  node.number.classList.toggle("lhx-early", !known && Boolean(early));
  node.mark.textContent = symbol;
  node.mark.title = word;
  node.mark.dataset.kind = kind;
  const state = row.usable
    ? (known ? `${quantity} ${short(value)}, ${word}` : ["not computed yet", early].filter(Boolean).join("; "))
    : `skipped: ${row.reason}`;
  const over = node.over.dataset.place ? `, lies over the layer on show as number ${node.over.dataset.place}` : "";
  node.el.setAttribute("aria-label", `${row.name}, ${counted(row.size, "parameter")}, ${state}${over}`);
}
