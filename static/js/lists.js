// `<form data-list="#id">` filters that list in place while one types or chooses; the list's own links for
// order and pages do so too. The address says what is shown, so that a reload and a copied link hold.
import { announce } from "./texts.js";

const AFTER_MS = 250;
const forms = () => [...document.querySelectorAll("form[data-list]")];

async function show(form, address) {
  history.replaceState(history.state, "", address);
  const place = form.dataset.list;
  await htmx.ajax("GET", address, { source: form, target: place, select: place, swap: "outerHTML" });
  announce(document.querySelector(`${place} [data-found]`)?.textContent.trim() ?? "");
}

// What the form says, in the order that was chosen by a link.
function address(form) {
  const wanted = new URLSearchParams(new FormData(form));
  const sort = new URLSearchParams(location.search).get("sort");
  if (sort) wanted.set("sort", sort);
  for (const [name, value] of [...wanted]) if (!value) wanted.delete(name);
  const query = wanted.toString();
  return new URL(form.action).pathname + (query ? `?${query}` : "");
}

function follow(event) {
  const link = event.target.closest("a[href]");
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  if (!link || !isPlain || event.defaultPrevented || !link.matches("thead a, [rel=next], [rel=prev]")) return;
  const form = forms().find((each) => link.closest(each.dataset.list));
  if (!form) return;
  event.preventDefault();
  show(form, link.getAttribute("href").replace(/^\?/, `${location.pathname}?`)).then(() => {
    const region = document.querySelector(`${form.dataset.list} [tabindex]`);
    region?.focus({ preventScroll: true });
    region?.scrollIntoView({ block: "nearest" });
  });
}

let timer;
function change(event) {
  const form = event.target.form;
  if (!form?.matches("[data-list]")) return;
  clearTimeout(timer);
  timer = setTimeout(() => show(form, address(form)), event.type === "input" ? AFTER_MS : 0);
}

document.addEventListener("input", change);
document.addEventListener("click", follow);
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-list]")) return;
  event.preventDefault();
  clearTimeout(timer);
  show(event.target, address(event.target));
}, true);
for (const form of forms()) form.querySelector("[type=submit]").hidden = true;
