// The findings of the whole run, weightiest first; a click on one leads to its layer and snapshot.

async function render({ model, el }) {
  const box = document.createElement("section");
  box.className = "lhx-run";
  box.setAttribute("aria-label", "Findings of the run");
  el.append(box);
  const element = (tag, name) => {
    const made = document.createElement(tag);
    made.className = name;
    box.append(made);
    return made;
  };
  element("div", "lhx-findings-title").textContent = "Findings of the run";
  const said = element("p", "lhx-run-words");
  const list = element("ul", "lhx-findings");
  list.tabIndex = 0; // scrolled by arrow keys
  list.setAttribute("aria-label", "Findings, weightiest first");
  let silence = element("details", "");

  // Findings that are as they were keep their elements: what is unfolded, read or about to be pressed stays.
  let items = new Map();
  const update = () => keepFocus(list, () => {
    const { rows, silent, words } = JSON.parse(model.get("texts"));
    said.textContent = words;
    list.hidden = !rows.length;
    const fresh = new Map();
    for (const row of rows) {
      let key = JSON.stringify(row);
      while (fresh.has(key)) key += " "; // said twice
      const item = items.get(key) ?? lhxFindings.item(row, () => go(item));
      fresh.set(key, item);
    }
    for (const [key, item] of items) if (!fresh.has(key)) item.remove();
    let place = list.firstChild;
    for (const item of fresh.values()) {
      if (item === place) place = place.nextSibling;
      else list.insertBefore(item, place);
    }
    items = fresh;
    const now = lhxFindings.silent(silent);
    now.open = silence.open;
    if (now.textContent !== silence.textContent) silence.replaceWith(silence = now);
    silence.hidden = !silent.length;
  });
  const go = (item) => model.send({ kind: "go", index: [...list.children].indexOf(item) });
  model.on("change:texts", update);
  update();
  return () => model.off("change:texts", update);
}

export default { render };
