// Walks through the snapshots without the kernel, and says in words where it stands.

async function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "lhx-player";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Snapshots");
  el.append(box);

  const button = (name, text, title, pressed) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = `lhx-button lhx-${name}`;
    made.textContent = text;
    made.title = title;
    made.addEventListener("click", pressed);
    box.append(made);
    return made;
  };

  let places = [];
  let timer = null;
  const go = (wanted) => frame.set(Math.max(0, Math.min(places.length - 1, wanted)));
  const pause = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  const start = () => {
    if (frame.get() >= places.length - 1) go(0);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      if (frame.get() >= places.length - 1) pause();
      else go(frame.get() + 1);
    }, model.get("interval"));
  };

  const previous = button("prev", "Prev", "The snapshot before", () => { pause(); go(frame.get() - 1); });
  const play = button("play", "Play", "Walk through training", () => (timer ? pause() : start()));
  const next = button("next", "Next", "The snapshot after", () => { pause(); go(frame.get() + 1); });
  const label = document.createElement("output");
  label.className = "lhx-place";
  box.append(label);

  const nameSlider = (now) => {
    const handle = el.closest(".lhx-kit")?.querySelector(".lhx-slider [role=slider]");
    if (!handle) return false;
    handle.setAttribute("aria-label", "Snapshot");
    handle.setAttribute("aria-valuetext", places[now] ?? "");
    return true;
  };
  const update = () => {
    const now = frame.get();
    const counted = places.length ? `${now + 1}/${places.length}` : "";
    label.textContent = [places[now], counted].filter(Boolean).join("   ");
    previous.disabled = now <= 0;
    next.disabled = now >= places.length - 1;
    play.disabled = places.length < 2;
    nameSlider(now); // after the slider has written its own
  };
  const parse = () => {
    places = JSON.parse(model.get("places"));
    const longest = Math.max(0, ...places.map((place) => place.length));
    label.style.minWidth = `${longest + 9}ch`; // nothing moves while playing
    update();
  };

  const frame = await frameOf(model, afterPaint(update));
  const waiting = setInterval(() => { if (nameSlider(frame.get())) clearInterval(waiting); }, 200);
  model.on("change:places", parse);
  parse();
  return () => {
    pause();
    clearInterval(waiting);
    model.off("change:places", parse);
    frame.stop();
  };
}

export default { render };
