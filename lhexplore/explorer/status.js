// One line (a bar, what is going on, how fast) and another only where something went wrong.

function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "lhx-state";
  const add = (tag, name) => {
    const made = document.createElement(tag);
    made.className = name;
    box.append(made);
    return made;
  };
  const bar = add("progress", "lhx-progress");
  bar.max = 1;
  bar.setAttribute("aria-label", "Spectra computed");
  const status = add("span", "lhx-status");
  status.setAttribute("role", "status");
  status.setAttribute("aria-live", "polite");
  const progress = add("span", "lhx-progress-text");
  const problem = add("div", "lhx-problem");
  problem.setAttribute("role", "alert");
  el.append(box);

  const put = (part, text) => { if (part.textContent !== text) part.textContent = text; };
  const update = () => {
    bar.value = model.get("share");
    put(progress, model.get("progress"));
    put(status, model.get("text"));
    put(problem, model.get("problem"));
    problem.hidden = !model.get("problem");
  };
  const names = ["share", "progress", "text", "problem"].map((name) => `change:${name}`);
  for (const name of names) model.on(name, update);
  update();
  return () => { for (const name of names) model.off(name, update); };
}

export default { render };
