// The findings of the whole run, weightiest first; a click on one leads to its layer and snapshot.

async function render({ model, el }) {
  const box = document.createElement("section");
  box.className = "lhx-run";
  box.setAttribute("aria-label", "Findings of the run");
  el.append(box);
  const update = () => {
    const { rows, silent, words } = JSON.parse(model.get("texts"));
    const opened = [...box.querySelectorAll("details")].map((each) => each.open);
    const title = document.createElement("div");
    title.className = "lhx-findings-title";
    title.textContent = "Findings of the run";
    const said = document.createElement("p");
    said.className = "lhx-run-words";
    said.textContent = words;
    const list = document.createElement("ul");
    list.className = "lhx-findings";
    list.tabIndex = 0; // scrolled by arrow keys
    list.setAttribute("aria-label", "Findings, weightiest first");
    list.hidden = !rows.length;
    list.append(...rows.map((row, i) => lhxFindings.item(row, () => model.send({ kind: "go", index: i }))));
    box.replaceChildren(title, said, list, lhxFindings.silent(silent));
    box.querySelectorAll("details").forEach((each, i) => { each.open = opened[i] ?? false; });
  };
  model.on("change:texts", update);
  update();
  return () => model.off("change:texts", update);
}

export default { render };
