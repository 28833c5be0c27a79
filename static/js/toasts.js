// Toasts: the server's messages and the scripts' own. Failures stay; the rest goes after ten seconds,
// but never while pointer or focus is on it.
const STAYS_MS = 10000;
const place = () => document.getElementById("toasts");

export function toast(words, kind = "info", more = "") {
  const made = document.getElementById(`toast-${kind}`).content.cloneNode(true).firstElementChild;
  const body = made.querySelector("div");
  if (more) {
    const strong = document.createElement("span");
    strong.className = "strong";
    strong.textContent = words;
    body.replaceChildren(strong, ` ${more}`);
  } else {
    body.textContent = words;
  }
  place().append(made);
  watch(made, kind);
  return made;
}

function watch(made, kind) {
  if (kind === "bad" || kind === "warn") return;
  const leave = () => {
    if (made.matches(":hover") || made.contains(document.activeElement)) setTimeout(leave, 2000);
    else made.remove();
  };
  setTimeout(leave, STAYS_MS);
}

export function start() {
  for (const made of place().querySelectorAll("[data-toast]")) {
    watch(made, made.querySelector(".bad") ? "bad" : "info");
  }
  place().addEventListener("click", (event) => {
    const button = event.target.closest("[data-dismiss]");
    if (button) button.closest("[data-toast]").remove();
  });
}
