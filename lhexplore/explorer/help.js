// A question mark that folds an explanation open and shut. Shut, it takes no room: it stands in the view's corner.

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
