// Above the composer: why something was refused, and which limit is reached; below it, what is left.
import { ask } from "../requests.js";
import { plainly } from "./refusal.js";
import { filled, part, time, words } from "./words.js";

const root = document.getElementById("chat");
const place = document.getElementById("chat-note");
const send = document.querySelector("[data-send]");

export function clear() {
  place.replaceChildren();
}

export function say(what, more = "", kind = "bad") {
  const note = part(kind === "bad" ? "note-bad" : "note-warn");
  note.querySelector("strong").textContent = what;
  note.querySelector("strong + span").textContent = more;
  place.replaceChildren(note);
}

export function isFor(refusal, table, model) {
  const known = table[refusal.reason];
  if (!known) return [plainly(refusal), ""];
  const opens = refusal.quota?.resets_at ? new Date(refusal.quota.resets_at) : new Date(Date.now() + refusal.retryAfter * 1000);
  const values = { model: model || words("theModel"), seconds: refusal.retryAfter || 5, time: time(opens) };
  return known.map((line) => filled(line, values));
}

let asked = 0;

// Asks what is left for the model that is chosen; a limit that is reached disables sending, and that alone.
export async function quota(model) {
  asked += 1;
  const mine = asked;
  const response = await ask(`${root.dataset.quota}?model=${encodeURIComponent(model)}`).catch(() => null);
  if (!response?.ok || mine !== asked) return;
  const found = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const each of found.querySelectorAll("[data-for]")) {
    const target = document.getElementById(each.dataset.for);
    if (target && target.innerHTML !== each.innerHTML) target.replaceChildren(...each.childNodes);
  }
  settle(model);
}

let timer = 0;

// While a limit is reached nothing can be sent; when it opens we ask again.
export function settle(model) {
  const reached = document.querySelector("#chat-limit [data-reached]");
  if (send) send.disabled = Boolean(reached);
  clearTimeout(timer);
  const opens = reached?.querySelector("time")?.dateTime;
  if (opens) timer = setTimeout(() => quota(model), Math.max(1000, Math.min(new Date(opens) - Date.now() + 500, 2 ** 30)));
}

export const isReached = () => document.querySelector("#chat-limit [data-reached]") !== null;
