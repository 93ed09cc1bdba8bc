// Marks the view as dead while its kernel does not answer, so that its static twin is shown in its place: a view may
// well be there without a kernel, from a state that was saved with the notebook. It says so when an answer comes late.

const PATIENCE = 3000; // milliseconds

function watch({ model, el }) {
  el.style.display = "none";
  const mark = (dead) => el.closest(".lhx-kit")?.classList.toggle("lhx-dead", dead);
  const timer = setTimeout(() => mark(true), PATIENCE);
  const heard = (message) => {
    if (message.kind !== "here") return;
    clearTimeout(timer);
    mark(false);
  };
  model.on("msg:custom", heard);
  model.send({ kind: "hello" });
  return () => { clearTimeout(timer); model.off("msg:custom", heard); };
}

export default { render: watch };
