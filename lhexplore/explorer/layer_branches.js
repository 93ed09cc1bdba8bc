// Which rows of the tree of layers are there: what is folded, and what a search leaves.

const ROOM = 60; // rows that are opened of themselves

// `folds` remembers by path what somebody opened or closed, from one set of layers to the next.
function branchesOf(json, rows, id, folds) {
  const tops = json.map((each) => buildNode(each, rows, null, 1, id));
  const nodes = [], leaves = [], byElement = new Map();
  let query = "", folded = new Set(); // while searching, all is open but these
  const collect = (node) => {
    nodes.push(node);
    byElement.set(node.el, node);
    if (node.row !== null) leaves[node.row] = node;
    node.children.forEach(collect);
  };
  tops.forEach(collect);

  // As many levels as there is room for.
  let level = tops, count = tops.length;
  while (level.length) {
    const below = level.flatMap((node) => node.children);
    count += below.length;
    level.forEach((node) => { node.open = count <= ROOM; });
    level = below;
  }

  const isOpen = (node) => (query ? !folded.has(node.path) : folds.get(node.path) ?? node.open);
  const showFolds = () => {
    for (const node of nodes) if (node.row === null) node.el.setAttribute("aria-expanded", String(isOpen(node)));
  };
  const fold = (node, open) => {
    if (query) folded[open ? "delete" : "add"](node.path);
    else folds.set(node.path, open);
    showFolds();
  };
  const keep = (node) => {
    const kept = node.row === null
      ? node.children.map(keep).some(Boolean)
      : rows[node.row].name.toLowerCase().includes(query);
    node.el.hidden = !kept;
    return kept;
  };
  const filter = (words) => {
    [query, folded] = [words.toLowerCase(), new Set()];
    tops.forEach(keep);
    showFolds();
  };
  const visible = () => {
    const found = [];
    const walk = (node) => {
      if (node.el.hidden) return;
      found.push(node);
      if (node.row === null && isOpen(node)) node.children.forEach(walk);
    };
    tops.forEach(walk);
    return found;
  };
  const within = (node, branch) => {
    for (let at = node; at; at = at.parent) if (at === branch) return true;
    return false;
  };
  const reveal = (node) => {
    for (let at = node.parent; at; at = at.parent) if (!isOpen(at)) fold(at, true);
  };
  return {
    tops, nodes, leaves, byElement, isOpen, fold, filter, visible, within, reveal,
    usable: (layers) => layers.filter((i) => rows[i].usable),
    found: () => leaves.filter((node) => !node.el.hidden).map((node) => node.row),
    siblings: (node) => node.parent?.children ?? tops,
  };
}
