// `<div id=… data-poll="/address" data-every="1000">` is fetched again and swapped by htmx while the tab
// is seen; the answer's own `data-every` says when next, and one without `data-poll` ends it (with
// `data-then="reload"` the page is loaded again). What fails is asked more slowly.
const SLOWEST_MS = 30000;
const running = new Set();
const timers = new Map();

// Somebody is at it: their menu, or what has their focus, would be gone.
function isHeld(place) {
  return "hold" in place.dataset || place.contains(document.activeElement) || place.querySelector(":popover-open") !== null;
}

async function poll(id, failures = 0) {
  const place = document.getElementById(id);
  if (!place?.dataset.poll) {
    running.delete(id);
    return;
  }
  let wrong = failures;
  if (!document.hidden && !isHeld(place)) {
    const before = place;
    const how = { target: place, source: place, swap: "outerHTML", poll: true };
    await htmx.ajax("GET", place.dataset.poll, how).catch(() => {});
    const now = document.getElementById(id);
    wrong = now === before && !isHeld(before) ? failures + 1 : 0;
    if (before.dataset.then === "reload" && now && !now.dataset.poll) location.reload();
    document.dispatchEvent(new CustomEvent("polled", { detail: id }));
  }
  const every = Number(document.getElementById(id)?.dataset.every) || SLOWEST_MS;
  later(id, Math.min(SLOWEST_MS, every * 2 ** Math.min(wrong, 6)), wrong);
}

function later(id, ms, wrong = 0) {
  clearTimeout(timers.get(id));
  timers.set(id, setTimeout(() => poll(id, wrong), ms));
}

// Ask again now: something has just been started.
export function hurry(id) {
  if (running.has(id)) later(id, 0);
}

export function start() {
  const begin = () => {
    for (const place of document.querySelectorAll("[data-poll][id]")) {
      if (running.has(place.id)) continue;
      running.add(place.id);
      later(place.id, Number(place.dataset.every) || SLOWEST_MS);
    }
  };
  begin();
  document.addEventListener("htmx:after:swap", begin);
  document.addEventListener("htmx:before:swap", (event) => {  // who came while the answer was on its way
    const { ctx } = event.detail;
    if (ctx.poll && ctx.target?.dataset?.poll && isHeld(ctx.target)) event.preventDefault();
  });
}
