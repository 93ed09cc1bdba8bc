// Which frame to show: the value of the slider where there is one (its model is shared by the whole page), else `frame`.

async function frameOf(model, changed) {
  const reference = model.get("clock");
  const clock = typeof reference === "string"
    ? await model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""))
    : reference;
  const [source, name] = clock ? [clock, "value"] : [model, "frame"];
  const heard = () => changed(source.get(name));
  source.on(`change:${name}`, heard);
  return {
    get: () => source.get(name),
    set: (frame) => { source.set(name, frame); source.save_changes(); },
    // whether somebody walks through them: known to all views of the page
    get playing() { return Boolean(source.lhxPlaying); },
    set playing(on) { source.lhxPlaying = on; },
    stop: () => source.off(`change:${name}`, heard),
  };
}

// Where a key leads from `frame`; undefined for other keys. A page is five steps, as on the slider.
function moved(event, frame, count) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return undefined;
  const ways = {
    ArrowRight: frame + 1, ArrowUp: frame + 1, ArrowLeft: frame - 1, ArrowDown: frame - 1,
    PageUp: frame + 5, PageDown: frame - 5, Home: 0, End: count - 1,
  };
  return event.key in ways ? Math.max(0, Math.min(count - 1, ways[event.key])) : undefined;
}

// Text can wait for the picture: changed once per painted frame, after what was drawn on canvases.
function afterPaint(update) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => setTimeout(() => { asked = false; update(); }));
  };
}
