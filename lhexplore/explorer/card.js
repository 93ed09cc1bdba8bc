// Shows one card of text: everything is put in as text, so names and messages can hold anything.

function element(tag, name, parent, text) {
  const made = document.createElement(tag);
  made.className = name;
  if (text !== undefined) made.textContent = text;
  parent?.append(made);
  return made;
}

async function render({ model, el }) {
  const card = element("section", "lhx-card", el);
  card.tabIndex = 0; // long cards scroll, also by keyboard
  card.dataset.lmSuppressShortcuts = "true";
  card.setAttribute("aria-label", "Diagnosis of the spectrum");
  let texts = [];
  let shown = "";
  let opened = false;

  const parse = () => {
    texts = JSON.parse(model.get("texts"));
    update();
  };

  const update = () => {
    const text = texts[frame.get()];
    const now = JSON.stringify(text ?? null);
    if (now === shown) return; // leave selection and scroll position alone
    shown = now;
    const before = card.scrollTop;
    card.replaceChildren();
    if (!text) return;
    card.dataset.state = text.state;
    const facts = element("div", "lhx-card-facts", card);
    const words = element("div", "lhx-card-words", card);
    element("div", "lhx-card-title", facts, text.title);
    const badge = element("div", "lhx-badge", facts);
    badge.dataset.kind = text.badge?.kind ?? "unknown";
    element("span", "lhx-badge-symbol", badge, text.badge?.symbol ?? "\u2026");
    element("span", "lhx-badge-word", badge, text.badge?.word ?? { failed: "failed" }[text.state] ?? "not known yet");
    if (text.badge) badge.title = "Type of the Hessian eigenspectral density (HESD)";
    if (text.message && text.state !== "known") element("p", `lhx-card-message lhx-${text.state}`, facts, text.message);
    if (text.numbers.length) {
      const table = element("dl", "lhx-numbers", facts);
      for (const [name, value, meaning] of text.numbers) {
        element("dt", "", table, name).title = meaning;
        element("dd", "", table, value).title = meaning;
      }
    }
    if (text.method) element("p", "lhx-method", words, text.method);
    if (text.state === "known") findings(text, words);
    if (text.reasons.length) {
      const why = element("details", "lhx-why", words);
      why.open = opened;
      why.addEventListener("toggle", () => { opened = why.open; });
      element("summary", "", why, "Why this type");
      for (const reason of text.reasons) element("p", "", why, reason);
    }
    card.scrollTop = before;
  };

  const findings = (text, words) => {
    element("div", "lhx-findings-title", words, "Findings");
    if (text.message) element("p", "lhx-card-message", words, text.message);
    if (!text.findings.length) return;
    const list = element("ul", "lhx-findings", words);
    for (const finding of text.findings) {
      const item = element("li", "lhx-finding", list);
      item.dataset.level = finding.level;
      const head = element("div", "lhx-finding-head", item);
      element("span", "lhx-level", head, finding.level);
      element("strong", "", head, finding.title);
      element("p", "", item, finding.text);
      if (finding.action) element("p", "lhx-action", item, `\u2192 ${finding.action}`);
      if (finding.heuristic) element("p", "lhx-heuristic", item, "A rule of thumb, not a published criterion.");
    }
  };

  const frame = await frameOf(model, afterPaint(update));
  model.on("change:texts", parse);
  parse();
  return () => {
    model.off("change:texts", parse);
    frame.stop();
  };
}

export default { render };
