// Keys pressed in a view stay there: the arrows of a slider, letters in a list. A notebook would take them as commands,
// Notebook 7 even before the control hears of them; it leaves alone what carries this attribute. What is pressed with
// Ctrl, Alt or Command, Shift+Enter, Escape and Tab keep their meaning for the notebook.

const NAMED = new Set([
  "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown", "Enter", "Backspace", "Delete",
]);
const KEEP = "data-lm-suppress-shortcuts";

function stays({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  if (ctrlKey || metaKey || altKey) return false;
  return key.length === 1 || (NAMED.has(key) && !(shiftKey && key === "Enter"));
}

function keepKeys() {
  if (window.__lhxKeys) return; // once for all views of the page
  window.__lhxKeys = true;
  window.addEventListener("keydown", (event) => {
    const { target } = event; // of a figure its element on the page, not what lies in its shadow
    if (!stays(event) || !(target instanceof Element) || !target.closest(".lhx-kit") || target.hasAttribute(KEEP)) return;
    target.setAttribute(KEEP, "");
    setTimeout(() => target.removeAttribute(KEEP)); // once this key has been dealt with
  }, true);
}

export default { render: keepKeys };
