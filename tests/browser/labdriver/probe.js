// What the driver asks of a page: which canvases there are, whether their pixels changed, and when.
(() => {
  // Widgets may draw inside shadow roots, where querySelectorAll does not look.
  const walk = function* (root) {
    for (const el of root.querySelectorAll('*')) {
      yield el;
      if (el.shadowRoot) yield* walk(el.shadowRoot);
    }
  };
  const visible = (el) => el.getBoundingClientRect().width > 0;
  const scratch = new OffscreenCanvas(16, 16);
  const ctx = scratch.getContext('2d', {willReadFrequently: true});

  const pixels = (canvas, width, height) => {
    if (scratch.width !== width || scratch.height !== height) { scratch.width = width; scratch.height = height; }
    ctx.clearRect(0, 0, width, height);
    ctx.drawImage(canvas, 0, 0, width, height);
    return ctx.getImageData(0, 0, width, height).data;
  };
  const hash = (canvas, shrink) => {
    const w = Math.max(1, Math.round(canvas.width / shrink)), h = Math.max(1, Math.round(canvas.height / shrink));
    const words = new Uint32Array(pixels(canvas, w, h).buffer);
    let sum = 2166136261;
    for (let i = 0; i < words.length; i++) { sum ^= words[i]; sum = Math.imul(sum, 16777619); }
    return sum >>> 0;
  };

  const probe = window.__probe = {};
  // Every element below `root` (an element, or a selector that also looks into shadow roots).
  probe.all = (selector, root = document) => [...walk(root)].filter((el) => el.matches(selector));
  probe.root = (scope) => typeof scope === 'string' ? probe.all(scope).find(visible) : scope;
  probe.canvases = (scope) => {
    const root = probe.root(scope);
    if (!root) return [];
    const below = root.shadowRoot ? [root.shadowRoot, root] : [root];
    return below.flatMap((r) => probe.all('canvas', r)).filter((c) => c.width > 40 && c.height > 20 && visible(c));
  };
  // One fingerprint of all pixels drawn below `scope`; `shrink` trades sharpness for speed.
  probe.print = (scope, shrink = 1) => probe.canvases(scope).map((c) => hash(c, shrink)).join(',');
  // How many different colours are drawn there: 0 or 1 means a blank picture.
  probe.colours = (scope) => {
    const seen = new Set();
    for (const canvas of probe.canvases(scope)) {
      const data = pixels(canvas, canvas.width, canvas.height);
      for (let i = 0; i < data.length; i += 4) if (data[i + 3]) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    }
    return seen.size;
  };

  const figureOf = (root) => {
    for (const view of window.Bokeh.index.roots) {
      for (let el = view.el; el; el = el.parentNode ?? el.host) if (el === root) return view; // out of shadow roots, too
    }
    throw new Error('no Bokeh figure there');
  };
  // Where on the page the data point (x, y) of the Bokeh figure below `scope` lies.
  probe.place = (scope, x, y) => {
    const view = figureOf(probe.root(scope)), box = view.canvas_view.el.getBoundingClientRect();
    return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)];
  };
  // How well words can be read: WCAG contrast between a colour and what lies behind an element.
  const rgb = (colour) => {
    const sample = document.createElement('i');
    sample.style.color = colour;
    document.body.append(sample);
    const parts = getComputedStyle(sample).color.match(/[\d.]+/g).map(Number);
    sample.remove();
    return parts.length < 4 ? [...parts, 1] : parts;
  };
  const luminance = (colour) => rgb(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const above = (el) => el.parentElement ?? el.getRootNode().host;
  const behind = (el) => {
    for (let at = el; at; at = above(at)) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgb(colour)[3] > 0.99) return colour;
    }
    return 'white';
  };
  const contrast = (colour, el) => {
    const [a, b] = [luminance(colour), luminance(behind(el))];
    return Math.round(100 * (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)) / 100;
  };
  // Of all words that stand below `scope` as text; what is greyed out on purpose is left out.
  probe.contrasts = (scope) => {
    const found = [];
    for (const el of walk(probe.root(scope))) {
      const text = [...el.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.textContent).join('').trim();
      if (!text || !visible(el) || el.closest(':disabled, [aria-disabled=true], style, script')) continue;
      const style = getComputedStyle(el);
      if (style.visibility !== 'hidden') found.push({text: text.slice(0, 60), contrast: contrast(style.color, el)});
    }
    return found;
  };
  // Of all words that Bokeh draws into the figure below `scope`.
  probe.drawnContrasts = (scope) => {
    const root = probe.root(scope), found = [];
    const wordless = (model, name) =>
      model.visible === false || /^(sub)?group_/.test(name) || (name === 'text_color' && !model.text) ||
      (name === 'axis_label_text_color' && !model.axis_label) || (name === 'title_text_color' && !model.title);
    const models = [...figureOf(root).model.references()];
    // looks that a glyph would have if it were hovered over, and the like: not on screen
    const asleep = new Set(models.flatMap((m) => [m.nonselection_glyph, m.selection_glyph, m.muted_glyph, m.hover_glyph]));
    for (const model of models.filter((m) => !asleep.has(m))) {
      for (const property of model) {
        const name = property.attr;
        if (!/text_color$/.test(name) || wordless(model, name)) continue;
        const value = property.get_value();
        const colour = value?.value ?? value;
        if (typeof colour === 'string') found.push({text: `${model.type}.${name}`, contrast: contrast(colour, root)});
      }
    }
    return found;
  };
  // Parts below `scope` that stick out of it sideways, unless something between them scrolls or cuts.
  probe.outside = (scope) => {
    const root = probe.root(scope), box = root.getBoundingClientRect(), found = [];
    const cut = (el) => {
      for (let at = above(el); at && at !== root; at = above(at)) if (getComputedStyle(at).overflowX !== 'visible') return true;
      return false;
    };
    for (const el of walk(root)) {
      const at = el.getBoundingClientRect();
      if (at.width && (at.right > box.right + 1 || at.left < box.left - 1) && !cut(el)) {
        found.push(`${el.tagName.toLowerCase()}.${[...el.classList].join('.')}: ${Math.round(at.left)} to ${Math.round(at.right)}`);
      }
    }
    return found;
  };

  // The kernel of the notebook that is open, past its cells.
  probe.kernel = () => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel
    ?? window.jupyterapp?.widgetManager?.kernel; // Voilà's page has one kernel and no documents
  probe.execute = async (code, seconds) => {
    const future = probe.kernel().requestExecute({code, store_history: false, stop_on_error: false});
    const out = {text: '', error: null};
    future.onIOPub = ({header, content}) => {
      if (header.msg_type === 'stream' && content.name === 'stdout') out.text += content.text;
      else if (header.msg_type === 'error') out.error = `${content.ename}: ${content.evalue}`;
    };
    const late = new Promise((_, no) => setTimeout(() => no(new Error(`no answer in ${seconds} s`)), seconds * 1000));
    await Promise.race([future.done, late]);
    return out;
  };
  probe.pending = () => {
    const kernel = probe.kernel();
    // Lab keeps the futures of cells for as long as the cells exist; those are no queue.
    const sent = [...kernel._futures.values()].filter((f) => f.msg.header.msg_type === 'comm_msg');
    return kernel._pendingMessages.length + sent.length;
  };

  // Watch `scope` every animation frame and note the times at which its pixels were seen to have changed.
  probe.watch = (scope, shrink = 3) => {
    const canvases = probe.canvases(scope);
    if (!canvases.length) throw new Error(`nothing is drawn below ${scope}`);
    const look = () => canvases.map((c) => hash(c, shrink)).join(',');
    const seen = {changes: [], inputs: [], frames: 0, started: performance.now()};
    let last = look(), on = true;
    const note = (event) => seen.inputs.push(performance.now());
    const kinds = ['keydown', 'pointerdown', 'pointermove'];
    for (const kind of kinds) window.addEventListener(kind, note, true);
    const tick = () => {
      if (!on) return;
      seen.frames++;
      const now = look();
      if (now !== last) { last = now; seen.changes.push(performance.now()); }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    probe.watching = {stop: () => {
      on = false;
      for (const kind of kinds) window.removeEventListener(kind, note, true);
      return {...seen, ended: performance.now()};
    }};
  };
  probe.unwatch = () => probe.watching.stop();

  // Set a noUiSlider up and down at `hz`, as a hand would drag it, without the test machine in the loop.
  probe.sweep = async (slider, {hz, seconds, from, to, end}) => {
    const handle = probe.root(slider).noUiSlider, span = to - from;
    const started = performance.now();
    let sets = 0;
    await new Promise((done) => {
      const timer = setInterval(() => {
        if (performance.now() - started > seconds * 1000) { clearInterval(timer); done(); return; }
        const k = sets++ % (2 * span);
        handle.set(from + (k <= span ? k : 2 * span - k));
      }, 1000 / hz);
    });
    if (end !== undefined && end !== null) handle.set(end);
    return {sets, started, ended: performance.now()};
  };
})();
