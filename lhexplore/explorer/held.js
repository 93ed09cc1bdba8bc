// Done once per page. A button that is switched off while it has the focus would drop it: its row takes it, so that Tab
// goes on from there, and a second press does nothing.
if (!window.__lhxHeld) {
  window.__lhxHeld = true;
  let held = null;
  document.addEventListener("focusin", ({ target }) => { held = target.closest?.(".lhx-kit") ? target : null; });
  new MutationObserver(() => {
    if (!held?.disabled || ![held, document.body].includes(document.activeElement)) return;
    const row = held.parentElement;
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
  }).observe(document.body, { subtree: true, attributeFilter: ["disabled"] });
}
