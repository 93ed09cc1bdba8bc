// Shows one of several texts, as text; says it when it has changed, where somebody is at work on this view.

const TAGS = { heading: "div", code: "code", text: "p" };

async function render({ model, el }) {
  const role = model.get("role");
  const line = document.createElement(TAGS[role] ?? "p");
  line.className = `lhx-words lhx-${role}`;
  if (role === "heading") { line.setAttribute("role", "heading"); line.setAttribute("aria-level", "2"); }
  if (role === "code") {
    line.tabIndex = 0;
    line.setAttribute("role", "group");
    line.setAttribute("aria-label", "Code that gives this spectrum; selected, to copy");
    line.addEventListener("focus", () => window.getSelection().selectAllChildren(words));
  }
  if (role === "note") line.setAttribute("role", "status");
  const words = document.createElement("span");
  line.append(words);
  el.append(line);
  let texts = [];
  const now = () => texts[Math.min(frame.get(), texts.length - 1)] ?? "";
  // A page has many such lines: that of the spectrum is said, and those of the view that has the focus.
  const heeded = () => {
    const view = el.closest(".lhx-kit");
    return view?.matches(".lhx-kit-spectrum-plot") || view?.contains(document.activeElement);
  };
  const update = () => {
    const text = now();
    if (words.textContent === text) return;
    words.textContent = text;
    if (role === "note") line.hidden = !text;
    if (role === "text" && heeded()) voice.say(now);
  };
  line.hidden = role === "note";
  const parse = () => {
    texts = JSON.parse(model.get("texts"));
    // stands unseen below the text, which then takes the same room at every snapshot
    line.dataset.longest = texts.reduce((longest, text) => (text.length > longest.length ? text : longest), "");
    update();
  };
  const frame = await frameOf(model, afterPaint(update));
  const voice = speaker(el, frame);
  model.on("change:texts", parse);
  parse();
  return () => { model.off("change:texts", parse); frame.stop(); voice.stop(); };
}

export default { render };
