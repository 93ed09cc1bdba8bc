// One finding as elements, alike in the card, in the list of the run and in a report; only text, never markup.
const lhxFindings = (() => {
  function element(tag, name, parent, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    parent?.append(made);
    return made;
  }

  // `go`, where there is one, makes the title a button that leads to where the finding was made.
  function item(finding, go) {
    const made = element("li", "lhx-finding");
    made.dataset.level = finding.level;
    const head = element("div", "lhx-finding-head", made);
    element("span", "lhx-level", head, `${finding.level} ${finding.rule}`);
    head.append(" ");
    if (go) {
      const link = element("button", "lhx-go", head, finding.title);
      link.type = "button";
      link.title = `Go to ${finding.place}`;
      link.addEventListener("click", go);
      head.append(" ");
      element("span", "lhx-where", head, finding.place);
    } else element("strong", "", head, finding.title);
    element("p", "", made, finding.text);
    if (finding.action) element("p", "lhx-action", made, `\u2192 ${finding.action}`);
    const source = [finding.heuristic ? "lhexplore\u2019s heuristic" : "A fact about the block", finding.record];
    element("p", "lhx-heuristic", made, `${source.filter(Boolean).join(": ")}.`.replace("..", "."));
    if (finding.evidence || finding.refute) {
      const why = element("details", "lhx-evidence", made);
      element("summary", "", why, "Evidence, and what would refute it");
      element("p", "", why, `Here: ${finding.limit}.`);
      if (finding.evidence) element("p", "", why, finding.evidence);
      if (finding.refute) element("p", "", why, `Refuted if: ${finding.refute}`);
    }
    return made;
  }

  // Rules that could not judge, folded into one line; `pairs` of a rule and why.
  function silent(pairs) {
    const made = element("details", "lhx-silent");
    made.hidden = !pairs.length;
    element("summary", "", made, `Not judged: ${pairs.map(([rule]) => rule).join(", ")}`);
    for (const [rule, why] of pairs) element("p", "", made, `${rule}: ${why}`);
    return made;
  }

  // Numbers of training beside those of held-out data; a single word where they are not known.
  function beside(rows) {
    if (rows.length === 1 && rows[0].length === 1) return element("p", "lhx-beside", null, rows[0][0]);
    const table = element("table", "lhx-beside");
    const head = element("tr", "", element("thead", "", table));
    for (const name of ["", "training", "held-out", "ratio"]) element("th", "", head, name).scope = "col";
    const body = element("tbody", "", table);
    for (const [name, ...cells] of rows) {
      const row = element("tr", "", body);
      element("th", "", row, name).scope = "row";
      for (const cell of cells) element("td", "", row, cell);
    }
    return table;
  }

  return { item, silent, beside };
})();
