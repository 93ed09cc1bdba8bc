// Light or dark: as the screen wishes, unless the reader does; paper is light. `changed` is called when it changes.
function lhxColours(button, themes, changed) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  let paper = false;
  const theme = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");

  function recolour() {
    button.textContent = theme() === "dark" ? "Light page" : "Dark page";
    changed();
  }
  button.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    recolour();
  });
  dark.addEventListener("change", recolour);
  return {
    now: () => themes[paper ? "light" : theme()],
    recolour,
    onPaper: (on) => { paper = on; recolour(); },
  };
}
