// Shows one of several texts, as text.

const TAGS = { heading: "div", code: "code", text: "p" };

async function render({ model, el }) {
  const role = model.get("role");
  const line = document.createElement(TAGS[role] ?? "p");
  line.className = `lhx-words lhx-${role}`;
  if (role === "heading") { line.setAttribute("role", "heading"); line.setAttribute("aria-level", "2"); }
  if (role === "code") {
    line.tabIndex = 0;
    line.setAttribute("aria-label", "Code that gives this spectrum");
  }
  if (role === "note") line.setAttribute("role", "status");
  const words = document.createElement("span");
  line.append(words);
  el.append(line);
  let texts = [];
  const update = () => {
    const text = texts[Math.min(frame.get(), texts.length - 1)] ?? "";
    if (words.textContent !== text) words.textContent = text;
    if (role === "note") line.hidden = !text;
  };
  const parse = () => {
    texts = JSON.parse(model.get("texts"));
    // stands unseen below the text, which then takes the same room at every snapshot
    line.dataset.longest = texts.reduce((longest, text) => (text.length > longest.length ? text : longest), "");
    update();
  };
  const frame = await frameOf(model, afterPaint(update));
  model.on("change:texts", parse);
  parse();
  return () => { model.off("change:texts", parse); frame.stop(); };
}

export default { render };
