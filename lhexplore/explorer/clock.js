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
    stop: () => source.off(`change:${name}`, heard),
  };
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
