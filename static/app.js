// Copies what a button names, switches the theme, and fetches the set-up panel again while it lasts.
"use strict";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy],[data-theme-toggle]");
  if (!button) return;
  if (button.matches("[data-theme-toggle]")) {
    const root = document.documentElement;
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    return;
  }
  const source = document.querySelector(button.dataset.copy);
  const label = button.querySelector("[data-label]");
  const before = label.textContent;
  navigator.clipboard.writeText(source.value || source.textContent).then(
    () => { label.textContent = "Copied"; },
    () => { label.textContent = "Select and copy by hand"; },
  ).finally(() => setTimeout(() => { label.textContent = before; }, 1600));
});

async function refresh() {
  const panel = document.querySelector("[data-refresh]");
  if (!panel) return;
  if (!document.hidden) {
    try {
      const answer = await fetch(panel.dataset.refresh, { redirect: "error" });
      if (answer.ok) panel.outerHTML = await answer.text();
      if (!document.querySelector("[data-refresh]")) location.reload();
    } catch {
      // The server is starting again or away: what was last seen stays, and the next look is soon.
    }
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
