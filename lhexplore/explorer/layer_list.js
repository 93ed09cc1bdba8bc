// A tree of layers with a search box: one is on show, further ones lie over it; only the rows in sight follow the frame.

const SEARCHED = 8; // layers from which a search box is worth its place
const array = (view, Kind) => new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

function button(words, title, parent, act) {
  const made = element("button", "lhx-button lhx-small", parent);
  Object.assign(made, { type: "button", textContent: words, title });
  made.addEventListener("click", act);
  return made;
}

async function render({ model, el }) {
  const id = `lhx-${Math.random().toString(36).slice(2)}`;
  const picker = element("div", "lhx-picker", el);
  picker.dataset.lmSuppressShortcuts = "true"; // keys move here, not to the next notebook cell
  const search = element("input", "lhx-layer-search", picker);
  Object.assign(search, { type: "search", placeholder: "Search layers", autocomplete: "off", spellcheck: false });
  search.setAttribute("aria-label", "Search layers by a part of their name");
  search.setAttribute("aria-controls", id);
  const box = element("div", "lhx-layers", picker);
  Object.assign(box, { id, tabIndex: 0 });
  box.setAttribute("role", "tree");
  box.setAttribute("aria-label", "Layers");
  box.setAttribute("aria-multiselectable", "true");
  const foot = element("div", "lhx-layer-foot", picker);
  const said = element("span", "lhx-layer-said", foot);
  said.setAttribute("role", "status");
  const only = button("", "Show and compute no other layers", foot, () => narrow(target()));
  const all = button("All layers", "Show and compute all layers again", foot, () => narrow(null));
  const none = button("Take away", "Show one layer alone again", foot, () => { lay([]); box.focus(); });

  let rows = [], tree = null, table = null, active = null, query = "", told = "";
  const folds = new Map(), seen = new Set();

  const build = () => {
    const last = active?.path;
    rows = JSON.parse(model.get("rows"));
    tree = branchesOf(JSON.parse(model.get("tree")), rows, id, folds);
    active = null;
    seen.clear();
    watcher.disconnect();
    tree.leaves.forEach((node) => watcher.observe(node.el));
    box.replaceChildren(...tree.tops.map((node) => node.el));
    search.hidden = rows.length <= SEARCHED;
    decode();
    filter();
    follow();
    const again = tree.visible().find((node) => node.path === last);
    if (again && box.contains(focused())) go(again);
  };
  const focused = () => { // inside shadow roots, too
    const { activeElement } = box.getRootNode();
    return activeElement;
  };
  const filter = () => {
    if (search.hidden) search.value = query = "";
    tree.filter(query);
    const left = tree.visible();
    if (!left.includes(active)) activate(left[0]);
    tell("");
  };

  // ---- what stands below: how many were found, what lies over, and what can be done about it

  // What "only these" stands for: what was found, else the branch the keys stand on.
  const target = () => tree.usable(query ? tree.found() : active?.row === null ? active.layers : []);
  const layersAmong = (list) => list.filter((i) => !rows[i].whole).length;
  const tell = (words) => {
    told = words;
    const over = model.get("over").length, hidden = model.get("hidden"), found = query ? layersAmong(tree.found()) : 0;
    const layers = layersAmong([...rows.keys()]), these = target().length;
    const searched = found ? `${found} of ${counted(layers, "layer")} match.` : `No layer matches \u201c${query}\u201d.`;
    said.textContent = told || (query && searched)
      || (over ? `${counted(over, "layer")} over the one on show.` : "")
      || (hidden ? `${counted(layers, "layer")} of ${layers + hidden} shown and computed.` : "");
    only.hidden = !these || these >= tree.usable([...rows.keys()]).filter((i) => !rows[i].whole).length;
    only.textContent = these === 1 ? "Only this one" : `Only these ${these}`;
    all.hidden = !hidden || Boolean(query);
    none.hidden = !over || Boolean(query);
  };
  const narrow = (layers) => {
    model.send({ kind: "only", rows: layers });
    search.value = query = "";
    filter();
    box.focus();
  };

  // ---- what is chosen

  const activate = (node) => {
    active?.head.classList.remove("lhx-active");
    active = node ?? null;
    if (!active) return box.removeAttribute("aria-activedescendant");
    node.head.classList.add("lhx-active");
    if (node.row !== null) paint(node.row);
    return box.setAttribute("aria-activedescendant", node.el.id);
  };
  const go = (node) => {
    activate(node);
    const at = node.head.getBoundingClientRect(), port = box.getBoundingClientRect();
    if (at.top < port.top) box.scrollTop -= port.top - at.top + 1;
    else if (at.bottom > port.bottom) box.scrollTop += at.bottom - port.bottom + 1;
    tell("");
  };
  const select = () => {
    const chosen = model.get("selected"), over = model.get("over");
    tree.leaves.forEach((node, i) => {
      if (!rows[i].usable) return;
      const place = over.indexOf(i) + 1;
      node.el.setAttribute("aria-selected", String(i === chosen || place > 0));
      if (i === chosen) node.el.setAttribute("aria-current", "true");
      else node.el.removeAttribute("aria-current");
      if (place) node.over.dataset.place = place;
      else delete node.over.dataset.place;
      if (seen.has(i)) paint(i);
    });
    tell(told);
  };
  const follow = () => {
    select();
    const node = tree.leaves[model.get("selected")];
    if (!node || node.el.hidden) return;
    tree.reveal(node);
    go(node);
  };
  const choose = (node) => {
    const row = rows[node.row];
    if (row.usable) {
      model.set("selected", node.row);
      model.save_changes();
    }
    tell(row.usable ? "" : `${row.name} was skipped: ${row.reason}`);
  };
  const lay = (over) => {
    model.set("over", over);
    model.save_changes();
    tell("");
  };
  const add = (layers) => {
    const most = model.get("most"), over = model.get("over"), free = Math.max(most - over.length, 0);
    const more = tree.usable(layers).filter((i) => i !== model.get("selected") && !over.includes(i));
    if (free && more.length) lay([...over, ...more.slice(0, free)]);
    if (more.length > free) {
      tell(`At most ${most} layers lie over the one on show: more could not be told apart. Take one away first.`);
    }
  };
  const toggle = (node) => {
    const i = node.row, over = model.get("over");
    if (!rows[i].usable) choose(node);
    else if (i === model.get("selected")) tell(`${rows[i].name} is on show; lay other layers over it.`);
    else if (over.includes(i)) lay(over.filter((each) => each !== i));
    else add([i]);
  };
  const fold = (node, open) => {
    tree.fold(node, open);
    if (!open && tree.within(active, node)) go(node);
    tell("");
  };
  const layersOf = (nodes) => nodes.flatMap((node) => (node.row === null ? [] : [node.row]));

  // ---- how each stands at the frame

  const decode = () => {
    const raw = ["shares", "numbers", "marks"].map((name) => model.get(name));
    const count = model.get("count");
    table = null;
    if (raw.some((view) => !view?.byteLength) || !count) return;
    const [shares, numbers, marks] = [array(raw[0], Float32Array), array(raw[1], Float32Array), array(raw[2], Uint8Array)];
    if (marks.length !== rows.length * count) return; // rows and values come in two messages
    const [legend, previews] = ["legend", "previews"].map((name) => JSON.parse(model.get(name)));
    table = { shares, numbers, marks, count, legend, previews, quantity: model.get("quantity") };
  };
  const paint = (i) => {
    if (!table) return;
    const at = i * table.count + frame.get();
    const [symbol, word, kind] = table.legend[table.marks[at]] ?? ["", "", "unknown"];
    paintLayer(tree.leaves[i], rows[i], {
      value: table.numbers[at], share: table.shares[at], symbol, word, kind, quantity: table.quantity,
      early: table.previews[frame.get()]?.[i] ?? "",
    });
  };
  const update = () => seen.forEach(paint);
  const watcher = new IntersectionObserver((changes) => {
    for (const { target: element, isIntersecting } of changes) {
      const row = tree.byElement.get(element)?.row;
      if (row === undefined) continue;
      seen[isIntersecting ? "add" : "delete"](row);
      if (isIntersecting) paint(row);
    }
  }, { root: box, rootMargin: "120px 0px" });

  // ---- hands

  const clear = () => { search.value = query = ""; filter(); follow(); };
  box.addEventListener("keydown", treeKeys({
    visible: () => tree.visible(), isOpen: (node) => tree.isOpen(node), siblings: (node) => tree.siblings(node),
    active: () => active, go, fold, choose, toggle, all: () => add(layersOf(tree.visible())),
    leave: () => { if (query) clear(); },
  }));
  box.addEventListener("click", (event) => {
    const node = tree.byElement.get(event.target.closest("[role=treeitem]")), anchor = active;
    if (!node) return;
    go(node);
    if (node.row === null) fold(node, !tree.isOpen(node));
    else if (event.shiftKey) {
      const shown = tree.visible(), [from, to] = [anchor, node].map((each) => shown.indexOf(each)).sort((a, b) => a - b);
      add(layersOf(shown.slice(Math.max(from, 0), to + 1)));
    } else if (event.ctrlKey || event.metaKey) toggle(node);
    else choose(node);
  });
  search.addEventListener("input", () => { query = search.value.trim(); filter(); });
  search.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const first = tree.visible().find((node) => node.row !== null && rows[node.row].usable);
    if (event.key === "Escape" && search.value) { event.preventDefault(); clear(); }
    else if (event.key === "ArrowDown" && first) { event.preventDefault(); go(first); box.focus(); }
    else if (event.key === "Enter" && first && query) { go(first); choose(first); }
  });

  let asked = false; // traits that came together are read once
  const rebuilt = () => {
    if (asked) return;
    asked = true;
    queueMicrotask(() => { asked = false; build(); });
  };
  const handlers = {
    "change:rows change:tree": rebuilt, "change:selected": follow, "change:over": select, "change:hidden": () => tell(told),
    "change:shares change:numbers change:marks change:legend change:quantity change:previews": () => { decode(); update(); },
  };
  const frame = await frameOf(model, afterPaint(update));
  for (const [name, handler] of Object.entries(handlers)) model.on(name, handler);
  build();
  return () => {
    watcher.disconnect();
    frame.stop();
    for (const [name, handler] of Object.entries(handlers)) model.off(name, handler);
  };
}

export default { render };
