// One page of text per snapshot, one on show: all is put in as text, so names and messages can hold anything.

function element(tag, name, parent, text) {
  const made = document.createElement(tag);
  made.className = name;
  if (text !== undefined) made.textContent = text;
  parent?.append(made);
  return made;
}

async function render({ model, el }) {
  const card = element("section", "lhx-card", el);
  card.setAttribute("aria-label", "Diagnosis of the spectrum");
  let pages = [];
  let opened = false;

  const parse = () => keepFocus(card, () => {
    const texts = JSON.parse(model.get("texts"));
    for (const { page } of pages.splice(texts.length)) page.remove();
    texts.forEach((text, i) => {
      const written = JSON.stringify(text);
      if (pages[i]?.written === written) return; // leave the selection alone
      const page = write(text);
      if (pages[i]) pages[i].page.replaceWith(page);
      else card.append(page);
      pages[i] = { page, written };
    });
    turn();
    requestAnimationFrame(keep);
  });

  const turn = () => {
    const now = pages[frame.get()]?.page;
    for (const { page } of pages) if (page !== now) page.classList.remove("lhx-current");
    now?.classList.add("lhx-current");
    card.dataset.state = now?.dataset.state ?? "";
  };
  const update = () => keepFocus(card, turn);

  const write = (text) => {
    const page = element("div", "lhx-page");
    page.dataset.state = text.state;
    const facts = element("div", "lhx-card-facts", page);
    const words = element("div", "lhx-card-words", page);
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
    if (text.beside.length) facts.append(lhxFindings.beside(text.beside));
    if (text.method) element("p", "lhx-method", words, text.method);
    if (text.state === "known") findings(text, words);
    if (text.reasons.length) {
      const why = element("details", "lhx-why", words);
      why.open = opened;
      why.addEventListener("toggle", () => open(why.open)); // open on all pages: nothing jumps while scrubbing
      element("summary", "", why, "Why this type");
      for (const reason of text.reasons) element("p", "", why, reason);
    }
    return page;
  };

  // Other layers have shorter cards: the height is kept, or what lies below would jump from under the mouse.
  // What the pages need counts, not what the card was stretched to beside a higher neighbour.
  let width = 0, most = 0;
  const keep = () => {
    const { paddingTop, paddingBottom } = getComputedStyle(card);
    const frame = card.offsetHeight - card.clientHeight + parseFloat(paddingTop) + parseFloat(paddingBottom);
    most = Math.max(most, ...pages.map(({ page }) => page.getBoundingClientRect().height + frame));
    card.style.minHeight = `${Math.ceil(most)}px`;
  };
  const measure = () => { most = 0; card.style.minHeight = ""; requestAnimationFrame(keep); };
  const sizes = new ResizeObserver(() => {
    const now = card.getBoundingClientRect().width;
    if (Math.abs(now - width) < 1) return keep();
    width = now;
    return measure();
  });
  sizes.observe(card);

  const open = (wanted) => {
    if (opened === wanted) return;
    opened = wanted;
    measure();
    for (const why of card.querySelectorAll(".lhx-why, .lhx-evidence")) why.open = opened;
  };

  const findings = (text, words) => {
    element("div", "lhx-findings-title", words, "Findings");
    if (text.message) element("p", "lhx-card-message", words, text.message);
    if (!text.findings.length) return;
    const list = element("ul", "lhx-findings", words);
    list.append(...text.findings.map((finding) => lhxFindings.item(finding)));
    for (const why of list.querySelectorAll(".lhx-evidence")) {
      why.open = opened;
      why.addEventListener("toggle", () => open(why.open));
    }
  };

  const frame = await frameOf(model, afterPaint(update));
  model.on("change:texts", parse);
  parse();
  return () => {
    sizes.disconnect();
    model.off("change:texts", parse);
    frame.stop();
  };
}

export default { render };
