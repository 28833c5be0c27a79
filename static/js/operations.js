// Says how operations in the sidebar begin and end, once each; remembers over pages what it has said.
import { announce } from "./texts.js";
import { toast } from "./toasts.js";

const KEY = "operations";

function look() {
  const place = document.querySelector("#ops [data-stages]");
  if (!place) return;
  const known = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  const now = {};
  for (const each of place.querySelectorAll("[data-op]")) {
    const { op, stage } = each.dataset;
    now[op] = stage;
    if (known && known[op] !== stage) say(stage, each.textContent.trim(), known[op]);
  }
  sessionStorage.setItem(KEY, JSON.stringify(now));
}

function say(stage, words, before) {
  if (stage === "now") announce(words);
  else if (stage === "done" && before) toast(words, "ok");
  else if (stage === "failed") toast(words, "bad");
  else if (before) toast(words, "info");
  if (stage === "done" && before) document.dispatchEvent(new CustomEvent("operationdone"));
}

export function start() {
  look();
  document.addEventListener("polled", (event) => { if (event.detail === "ops") look(); });
  document.addEventListener("htmx:after:swap", look);
}
