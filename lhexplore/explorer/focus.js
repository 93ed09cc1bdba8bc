// Runs `change`, which may rebuild what stands in `box`: a focus that was there stays, on the same control or on the
// one in its place, else on the box.
function keepFocus(box, change) {
  const held = document.activeElement;
  if (!box.contains(held) || held === box) { change(); return; }
  const controls = () => [...box.querySelectorAll("button, summary")].filter((each) => each.checkVisibility({ visibilityProperty: true }));
  const place = controls().indexOf(held);
  change();
  const now = controls();
  const next = now.includes(held) ? held : now[Math.min(place, now.length - 1)] ?? box;
  if (next === document.activeElement) return;
  if (next === box && !box.hasAttribute("tabindex")) box.tabIndex = -1;
  next.focus({ preventScroll: true });
}
