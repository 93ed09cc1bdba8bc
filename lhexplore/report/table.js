// All text goes through here: names are shown, never read as markup.
function lhxElement(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// A figure as a table, a row per snapshot.
function lhxTable({ caption, head, rows }) {
  const made = lhxElement("table", "", head.length > 9 ? "wide" : "");
  const top = lhxElement("tr");
  top.append(...head.map((text) => Object.assign(lhxElement("th", text), { scope: "col" })));
  const body = document.createElement("tbody");
  body.append(...rows.map(([first, ...cells]) => {
    const row = lhxElement("tr");
    row.append(Object.assign(lhxElement("th", first), { scope: "row" }), ...cells.map((text) => lhxElement("td", text)));
    return row;
  }));
  const heading = document.createElement("thead");
  heading.append(top);
  made.append(lhxElement("caption", caption), heading, body);
  return made;
}

// Marks the row of the snapshot on show.
function lhxMark(rows, current) {
  [...rows].forEach((row, k) => {
    if (k === current) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  });
}
