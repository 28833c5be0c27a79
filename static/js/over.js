// `<a data-over>` shows the form it leads to as a dialog over this page (accounts/over.py). A form that
// was taken goes on to the page it names; one that failed is shown again in the dialog.
import { open } from "./dialogs.js";
import { ask, explain } from "./requests.js";

const HEADERS = { "X-Over": "1" };
const ROW = "over-row";
let opener = null;

function show(html) {
  document.getElementById("over-dialog")?.remove();
  document.body.insertAdjacentHTML("beforeend", html);
  const dialog = document.getElementById("over-dialog");
  if (!dialog) return;
  for (const button of dialog.querySelectorAll("[data-tick]")) button.hidden = false;
  dialog.addEventListener("close", () => dialog.remove());
  open(dialog, opener);
  dialog.querySelector("[aria-invalid=true]")?.focus();
}

async function follow(link) {
  const menu = link.closest("[data-menu]");
  opener = menu ? document.querySelector(`[popovertarget="${menu.id}"]`) : link;
  const response = await ask(link.href, { headers: HEADERS }).catch(() => null);
  if (response?.ok && !response.redirected) show(await response.text());
  else explain(response);
}

// After the page came again the focus is where it was: on the opener, or in the row that took its place.
const rows = () => [...document.querySelectorAll("tbody tr")];

function remember() {
  const row = opener?.closest("tbody tr");
  if (row) sessionStorage.setItem(ROW, JSON.stringify([rows().indexOf(row), opener.getAttribute("aria-label")]));
}

function goBack() {
  const [at, label] = JSON.parse(sessionStorage.getItem(ROW) ?? "[-1]");
  sessionStorage.removeItem(ROW);
  const row = at < 0 ? null : rows().at(Math.min(at, rows().length - 1));
  if (!row) return;
  const controls = [...row.querySelectorAll("a, button, input")].filter((each) => each.checkVisibility());
  (controls.find((each) => label && each.getAttribute("aria-label") === label) ?? controls[0])?.focus();
}

async function send(form, submitter) {
  const body = new URLSearchParams(new FormData(form, submitter));
  const options = { method: "POST", headers: HEADERS, body };
  const response = await ask(form.action, options).catch(() => null);
  const go = response?.headers.get("X-Go");
  if (go) {
    remember();
    // with its filters; not reload(), which would send again what made the page
    if (go === location.pathname) location.replace(go + location.search);
    else location.assign(go);
  } else if (response && (response.ok || response.status === 422)) {
    show(await response.text());
  } else {
    explain(response);
  }
}

const isChanged = (each) => {
  if (each.type === "checkbox") return each.checked !== each.defaultChecked;
  if (each.tagName === "SELECT") {
    const chosen = [...each.options].findIndex((option) => option.defaultSelected);
    return each.selectedIndex !== Math.max(0, chosen);
  }
  return each.type !== "hidden" && each.value !== each.defaultValue;
};

function count(form) {
  const place = form.querySelector("[data-changes]");
  const fields = [...form.elements].filter((each) => each.name && !each.disabled);
  const n = fields.filter(isChanged).length;
  const { one, many } = place.dataset;
  place.textContent = n === 0 ? "" : n === 1 ? one : many.replace("{n}", String(n));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-over]");
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  if (link && isPlain) {
    event.preventDefault();
    follow(link);
  }
  if (event.target.closest("#over-dialog a[data-close]")) event.preventDefault();
  const tick = event.target.closest("[data-tick]");
  if (tick) {
    const on = tick.dataset.tick === "all";
    for (const box of tick.form.querySelectorAll("[name=feature]")) box.checked = on;
    tick.dispatchEvent(new Event("input", { bubbles: true }));
  }
});
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.target.closest("#over-dialog")) return;
  event.preventDefault();
  send(event.target, event.submitter);
});
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-count]");
  if (form) count(form);
});
goBack();
