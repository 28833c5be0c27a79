// `<form data-select>` with boxes named "user": one box ticks all, and how many are ticked is said.
const forms = () => document.querySelectorAll("form[data-select]");
const boxes = (form) => [...form.elements].filter((each) => each.name === "user");
const allBox = (form) => [...form.elements].find((each) => each.matches("[data-select-all]"));
const placeOf = (form) => form.querySelector("[data-selected]") ?? document.querySelector(`[data-selected="${form.id}"]`);

function count(form) {
  const found = boxes(form);
  const ticked = found.filter((each) => each.checked);
  const place = placeOf(form);
  if (place) place.textContent = ticked.length ? place.dataset.text.replace("{n}", String(ticked.length)) : "";
  for (const each of found) each.closest("tr").classList.toggle("on", each.checked);
  const all = allBox(form);
  if (!all) return;
  all.hidden = false;
  all.checked = ticked.length > 0 && ticked.length === found.length;
  all.indeterminate = ticked.length > 0 && ticked.length < found.length;
}

function start() {
  for (const form of forms()) count(form);
}

document.addEventListener("change", (event) => {
  const { form } = event.target;
  if (!form?.matches("[data-select]")) return;
  if (event.target.matches("[data-select-all]")) {
    for (const each of boxes(form)) each.checked = event.target.checked;
  }
  count(form);
});
document.addEventListener("htmx:after:swap", start);
addEventListener("pageshow", start);
start();
