// How the tree of layers is walked by keys: the pattern of WAI-ARIA for trees of which several rows can be chosen.

const PATIENCE = 700; // ms in which typed letters make one word
const PAGE = 8; // rows

// `tree` says what there is (visible, active, isOpen) and does what is asked (go, fold, choose, toggle, all, leave).
function treeKeys(tree) {
  let typed = "", last = 0;
  const step = (by) => {
    const rows = tree.visible(), at = rows.indexOf(tree.active());
    const to = rows[Math.max(0, Math.min(at + by, rows.length - 1))];
    if (to) tree.go(to);
    return to !== rows[at] ? to : undefined;
  };
  const jump = (letter) => {
    const now = performance.now();
    typed = (now - last < PATIENCE ? typed : "") + letter.toLowerCase();
    last = now;
    const rows = tree.visible(), at = rows.indexOf(tree.active()) + (typed.length === 1 ? 1 : 0);
    const found = [...rows.slice(at), ...rows.slice(0, at)].find((node) => node.label.toLowerCase().startsWith(typed));
    if (found) tree.go(found);
  };
  const extend = (by) => {
    const to = step(by);
    if (to && to.row !== null) tree.toggle(to);
  };
  const act = (node) => (node.row === null ? tree.fold(node, !tree.isOpen(node)) : tree.choose(node));
  const keys = {
    ArrowDown: (_, event) => (event.shiftKey ? extend(1) : step(1)),
    ArrowUp: (_, event) => (event.shiftKey ? extend(-1) : step(-1)),
    PageDown: () => step(PAGE), PageUp: () => step(-PAGE),
    Home: () => step(-Infinity), End: () => step(Infinity),
    ArrowRight: (node) => {
      if (node.row !== null) return;
      if (tree.isOpen(node)) step(1);
      else tree.fold(node, true);
    },
    ArrowLeft: (node) => {
      if (node.row === null && tree.isOpen(node)) tree.fold(node, false);
      else if (node.parent) tree.go(node.parent);
    },
    Enter: act,
    " ": (node) => (node.row === null ? act(node) : tree.toggle(node)),
    "*": (node) => tree.siblings(node).forEach((each) => { if (each.row === null) tree.fold(each, true); }),
    Escape: () => tree.leave(),
  };
  return (event) => {
    const node = tree.active(), command = event.ctrlKey || event.metaKey;
    const typing = event.key.length === 1 && !command && !event.altKey;
    const act = command && event.key.toLowerCase() === "a" ? () => tree.all()
      : keys[event.key] ?? (typing ? () => jump(event.key) : undefined);
    if (!act || !node || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act(node, event);
  };
}
