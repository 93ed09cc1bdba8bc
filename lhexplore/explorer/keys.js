// Keys that move a control of ours are the control's. Notebook 7 would take them before the control hears of them, and
// walk to another cell; it leaves alone what carries this attribute. Everything with Ctrl or the like stays its own.

const OURS = new Set([
  "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown", "Enter", " ",
]);
const KEEP = "data-lm-suppress-shortcuts";

function keepKeys() {
  if (window.__lhxKeys) return;
  window.__lhxKeys = true;
  window.addEventListener("keydown", (event) => {
    const target = event.composedPath()[0];
    if (!OURS.has(event.key) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (!(target instanceof Element) || !target.closest(".lhx-kit") || target.hasAttribute(KEEP)) return;
    target.setAttribute(KEEP, "");
    setTimeout(() => target.removeAttribute(KEEP)); // once this key has been dealt with
  }, true);
}

export default { render: keepKeys };
