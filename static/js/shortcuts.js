// `/` goes to the search, `n` to a new chat: off while typing, and off where the account says so.
// A page adds its own: `shortcut("k", () => …)`.
const keys = new Map();
const isTyping = (element) => element.closest("input, textarea, select, [contenteditable=true]") !== null;

export function shortcut(key, run) {
  keys.set(key, run);
}

export function start() {
  shortcut("/", () => {
    const search = [...document.querySelectorAll("[data-search]")].find((each) => each.checkVisibility());
    search?.focus();
    search?.select();
    return Boolean(search);
  });
  shortcut("n", () => {
    const link = document.querySelector("[data-new-chat]");
    if (link) location.assign(link.href);
    return Boolean(link);
  });
  document.addEventListener("keydown", (event) => {
    if (document.body.dataset.shortcuts !== "on") return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const run = keys.get(event.key);
    if (run && run(event) !== false) event.preventDefault();
  });
}
