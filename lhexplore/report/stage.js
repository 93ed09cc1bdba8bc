// One place on the page that holds one Bokeh figure at a time. What is far from the window is painted when it comes near;
// its words never wait.
// `source` gives the figure that is wanted now, `prepare` does to it what frames do not, and `words` and `table` say it.
function lhxStage(name, { source, frame, colours, prepare = () => {}, words = (figure) => figure.sentences[frame()], table = (figure) => figure.table }) {
  const [place, legend, sentence, twin] = ["", "-legend", "-sentence", "-twin"].map(
    (end) => document.getElementById(name + end));
  let doc = null, figure = null, wanted = null, view = null, building = false, near = false, turn = 0, tabled = null;
  let queue = Promise.resolve();

  function colour() {
    if (!doc) return;
    lhxFrames.theme(doc, colours());
    lhxFrames.legend(legend, figure.spec, colours());
  }

  function show() {
    if (!doc || building) return; // it does not listen yet; what is wanted by then is shown when it does
    lhxFrames.apply(doc, figure.spec, figure.numbers, frame());
    prepare(doc, figure);
  }

  function say() {
    sentence.textContent = words(wanted);
    tabulate();
  }

  function tabulate() {
    if (!twin.open || !wanted) return;
    const fresh = table(wanted);
    if (fresh !== tabled) twin.lastElementChild.replaceChildren(lhxTable(fresh));
    tabled = fresh;
    lhxMark(twin.querySelectorAll("tbody tr"), frame());
  }

  async function build(fresh) {
    const made = await fresh.make();
    if (doc) {
      doc.clear();
      Bokeh.documents.splice(Bokeh.documents.indexOf(doc), 1);
    }
    figure = fresh;
    doc = made;
    lhxFrames.keepEnds(doc);
    show();
    colour();
    const root = document.createElement("div");
    place.style.minHeight = `${fresh.height}px`;
    place.replaceChildren(root);
    view = null;
    building = true;
    try {
      [view] = await Bokeh.require("embed/standalone").add_document_standalone(doc, root, [root]);
    } finally {
      building = false;
    }
    lhxFrames.unstyle(view);
    show();
    colour();
  }

  // Shows what is wanted now; of several wishes the latest counts.
  async function update(always = false) {
    const mine = ++turn;
    const fresh = await source();
    if (mine !== turn || !fresh) return;
    wanted = fresh;
    if (near || always) {
      if (fresh !== figure) await (queue = queue.then(() => (mine === turn ? build(fresh) : undefined)));
      else show();
    }
    say();
  }

  new IntersectionObserver(([entry]) => {
    near = entry.isIntersecting;
    update();
  }, { rootMargin: "200px" }).observe(place.parentElement);
  twin.addEventListener("toggle", tabulate);

  // Which cell of a source was clicked; -1 for none.
  const cell = (source, event) => (view ? lhxFrames.cellAt(view, doc.get_model_by_name(source), event) : -1);

  return { place, update, colour, cell, tabulate, twin, paint: () => view?.paint() };
}
