// A question mark that folds an explanation open and shut. Shut, it takes no room: it stands in the view's corner.

function drawn(picture) {
  const frame = document.createElement("div");
  frame.className = "lhx-example";
  const read = new DOMParser().parseFromString(picture, "image/svg+xml"); // one of our files; never a name of a model
  frame.append(document.importNode(read.documentElement, true));
  return frame;
}

function render({ model, el }) {
  const details = document.createElement("details");
  const button = document.createElement("summary");
  button.textContent = "?";
  button.title = `What this shows: ${model.get("title")}`;
  button.setAttribute("aria-label", button.title);
  button.dataset.lmSuppressShortcuts = "true"; // Enter and space act here, not on the notebook cell
  const text = document.createElement("p");
  text.textContent = model.get("text");
  details.append(button, text);
  if (model.get("picture")) details.append(drawn(model.get("picture")));
  el.append(details);
  details.addEventListener("toggle", () => el.classList.toggle("lhx-open", details.open));
  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && details.open) {
      details.open = false;
      event.stopPropagation();
    }
  });
}

export default { render };
