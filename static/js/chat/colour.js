// Colours for code: highlight.js in a worker, so that typing and scrolling never wait for it. What comes
// back are words and class names, never markup.
const MAX_CHARS = 60000;
const STEPS_A_FRAME = 1500;
const CLASS = /^hljs-[a-z_-]{1,30}( [a-z_-]{1,30})*$/;
const root = document.getElementById("chat");
const wanted = new Map();
let worker = null;
let next = 1;

function start() {
  worker = new Worker(`${root.dataset.worker}?library=${encodeURIComponent(root.dataset.highlight)}`);
  worker.onmessage = ({ data }) => {
    const figure = wanted.get(data.id);
    wanted.delete(data.id);
    if (figure?.isConnected && data.steps) write(figure, data.steps);
  };
  worker.onerror = () => wanted.clear(); // then code stays without colours
}

export function colour(figure) {
  const code = figure.querySelector("code");
  const text = code.textContent;
  if (!text || text.length > MAX_CHARS || figure.dataset.coloured) return;
  figure.dataset.coloured = "asked";
  if (!worker) start();
  wanted.set(next, figure);
  worker.postMessage({ id: next, text, language: figure.dataset.language });
  next += 1;
}

// `steps`: a text, `[class]` for the beginning of a span, 0 for its end.
function write(figure, steps) {
  const made = document.createDocumentFragment();
  let place = made;
  let at = 0;
  const some = () => {
    const stop = Math.min(steps.length, at + STEPS_A_FRAME);
    for (; at < stop; at += 1) {
      const step = steps[at];
      if (step === 0) place = place.parentNode ?? made;
      else if (typeof step === "string") place.append(step);
      else {
        const span = document.createElement("span");
        if (CLASS.test(step[0])) span.className = step[0];
        place.append(span);
        place = span;
      }
    }
    if (at < steps.length) requestAnimationFrame(some);
    else figure.querySelector("code").replaceChildren(made);
  };
  some();
}
