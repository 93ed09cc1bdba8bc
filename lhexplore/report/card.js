// The card beside the spectrum, and the rows of the table of all layers.
const lhxCard = (() => {
  const element = lhxElement;

  const pairs = (rows) => rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]);

  function badge({ word, symbol, kind }) {
    const made = element("p", "", "badge");
    made.dataset.kind = kind;
    const sign = element("span", symbol, "symbol");
    sign.setAttribute("aria-hidden", "true");
    made.append(sign, element("span", word));
    return made;
  }

  // What is known of a layer at one snapshot.
  function page(name, shot, reading) {
    const made = element("div", "", "page");
    made.append(element("h2", name), element("p", shot.words, "muted"));
    if (reading.state === "missing") {
      made.append(element("p", reading.message, "notice"));
      return made;
    }
    const numbers = element("dl", "", "numbers");
    for (const [term, value, meaning] of reading.numbers) {
      const [left, right] = [element("dt", term), element("dd", value)];
      left.title = right.title = meaning;
      numbers.append(left, right);
    }
    made.append(badge(reading.badge), numbers, ...(reading.beside.length ? [lhxFindings.beside(reading.beside)] : []));
    made.append(element("p", reading.method, "muted"), element("h3", "Findings"));
    if (reading.findings.length === 0) made.append(element("p", "No rule fires for this block here."));
    else {
      const list = element("ul", "", "findings");
      list.append(...reading.findings.map((each) => lhxFindings.item(each)));
      made.append(list);
    }
    if (reading.reasons.length) {
      const why = element("details");
      why.append(element("summary", "Why this type"), ...reading.reasons.map((reason) => element("p", reason)));
      made.append(why);
    }
    return made;
  }

  // All pages of a layer, one over the other: opened details are open on all, so that nothing jumps while scrubbing.
  function pages(place, name, shots, readings) {
    place.replaceChildren(...readings.map((each, k) => page(name, shots[k], each)));
    for (const why of place.querySelectorAll("details")) {
      why.addEventListener("toggle", () => {
        for (const each of place.querySelectorAll("details")) each.open = why.open;
      });
    }
  }

  // A row of the table of all layers; `go` is what a click does.
  function row({ name, size, cells }, frame, current, go) {
    const made = element("tr");
    if (current) made.setAttribute("aria-current", "true");
    const head = element("th");
    head.scope = "row";
    const link = element("button", name, "link");
    link.type = "button";
    link.addEventListener("click", go);
    head.append(link);
    made.append(head, element("td", size.toLocaleString("en"), "number"));
    const known = cells[frame];
    if (!known) made.append(wide("not computed"));
    else {
      const [largest, trace, [word, symbol, kind], found] = known;
      const type = element("td");
      type.append(badge({ word, symbol, kind }));
      made.append(element("td", largest, "number"), element("td", trace, "number"), type, element("td", found));
    }
    return made;
  }

  function skipped({ name, size, reason }) {
    const made = element("tr");
    const head = Object.assign(element("th", name), { scope: "row" });
    made.append(head, element("td", size.toLocaleString("en"), "number"), wide(`skipped: ${reason}`));
    return made;
  }

  const wide = (text) => Object.assign(element("td", text, "muted"), { colSpan: 4 });

  return { pairs, pages, row, skipped };
})();
