// Says texts to screen readers, and to nobody else, once the frames rest: silent while they fly by.
const REST = 700; // milliseconds

function speaker(el, frame) {
  const region = document.createElement("span");
  region.className = "lhx-said";
  region.setAttribute("role", "status");
  el.append(region);
  let waiting = null;
  const say = (text) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (frame.playing) return say(text);
      region.textContent = text();
      waiting = setTimeout(() => { region.textContent = ""; }, 5000); // heard; who reads on should not meet it twice
      return undefined;
    }, REST);
  };
  return { say, stop: () => clearTimeout(waiting) };
}
