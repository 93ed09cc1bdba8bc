// Walks through the snapshots without the kernel, says in words where it stands, and gives the scrubber its keys.

async function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "lhx-player";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Snapshots");
  el.append(box);

  // At the first and the last snapshot a button has nothing to do, but keeps the focus: it is not disabled.
  const button = (name, text, title, pressed) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = `lhx-button lhx-${name}`;
    made.textContent = text;
    made.title = title;
    made.addEventListener("click", () => { if (made.ariaDisabled !== "true") pressed(); });
    box.append(made);
    return made;
  };

  let places = [];
  let timer = null;
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const go = (wanted) => frame.set(Math.max(0, Math.min(places.length - 1, wanted)));
  const show = (on) => {
    frame.playing = on;
    play.textContent = on ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(on));
  };
  const pause = () => {
    if (!timer) return;
    clearInterval(timer);
    timer = null;
    show(false);
    tell();
  };
  const start = () => {
    if (frame.get() >= places.length - 1) go(0);
    show(true);
    const pace = model.get("interval") * (calm.matches ? 5 : 1);
    timer = setInterval(() => {
      if (frame.get() >= places.length - 1) pause();
      else go(frame.get() + 1);
    }, pace);
  };
  const toggle = () => (timer ? pause() : start());

  const previous = button("prev", "Prev", "The snapshot before", () => { pause(); go(frame.get() - 1); });
  const play = button("play", "Play", "Walk through training (Space)", toggle);
  const next = button("next", "Next", "The snapshot after", () => { pause(); go(frame.get() + 1); });
  play.setAttribute("aria-pressed", "false");
  const label = document.createElement("span");
  label.className = "lhx-place";
  box.append(label);

  const slider = () => host?.querySelector(".lhx-slider [role=slider]");
  const nameSlider = (now) => {
    const handle = slider();
    handle?.setAttribute("aria-label", "Snapshot");
    handle?.setAttribute("aria-valuetext", places[now] ?? "");
  };
  const words = () => [places[frame.get()], places.length ? `${frame.get() + 1}/${places.length}` : ""].filter(Boolean);
  // The slider and the figures say where they stand when they are moved by keys; for the buttons, it is said here.
  const tell = () => {
    if (box.contains(document.activeElement)) voice.say(() => words().join(", ").replace("/", " of "));
  };
  const update = () => {
    const now = frame.get();
    label.textContent = words().join("   ");
    previous.ariaDisabled = String(now <= 0);
    next.ariaDisabled = String(now >= places.length - 1);
    play.ariaDisabled = String(places.length < 2);
    nameSlider(now); // after the slider has written its own
    tell();
  };
  const parse = () => {
    places = JSON.parse(model.get("places"));
    const longest = Math.max(0, ...places.map((place) => place.length));
    label.style.minWidth = `${longest + 9}ch`; // nothing moves while playing
    update();
  };

  // Wherever the focus is in the scrubber; lists, and buttons with their own Space and Enter, keep their keys.
  const pressed = (event) => {
    if (event.defaultPrevented) { // by the slider, which moved
      pause();
      return;
    }
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey;
    if (event.key === " " && plain && !event.target.closest("button, summary")) {
      if (places.length > 1) toggle();
    } else {
      const wanted = event.target.closest("[role=slider]") ? undefined : moved(event, frame.get(), places.length);
      if (wanted === undefined) return;
      pause();
      go(wanted);
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const frame = await frameOf(model, afterPaint(update));
  const voice = speaker(el, frame);
  let host = null; // known once the view is on the page, where the slider comes a little later
  const waiting = setInterval(() => {
    if (!host && (host = el.closest(".lhx-kit"))) host.addEventListener("keydown", pressed);
    if (!slider()) return;
    clearInterval(waiting);
    nameSlider(frame.get());
  }, 100);
  model.on("change:places", parse);
  parse();
  return () => {
    pause();
    voice.stop();
    clearInterval(waiting);
    host?.removeEventListener("keydown", pressed);
    model.off("change:places", parse);
    frame.stop();
  };
}

export default { render };
