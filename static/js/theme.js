// The theme button: changes at once, and tells the server, which renders it from then on.
const root = document.documentElement;
const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

export function start() {
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-theme-form]");
    if (!form) return;
    event.preventDefault();
    const now = root.dataset.theme ?? (isDark() ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    form.querySelector("button").value = now;
    document.dispatchEvent(new CustomEvent("themechange", { detail: next }));
    const body = new URLSearchParams(new FormData(form));
    body.set("theme", next);
    fetch(form.action, { method: "POST", body, headers: { "X-Requested-With": "fetch" } }).catch(() => {});
  });
}
