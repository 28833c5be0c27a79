// Counts what is not saved, keeps the reader from losing it, and marks the section that is read.
import { forget } from "./drafts.js";

const form = document.getElementById("settings");
const bar = document.getElementById("savebar");
const nav = document.querySelector(".setnav");
let isLeaving = false;

const isOurs = (each) => each.name && each.type !== "hidden" && !each.disabled;
const now = (each) => (each.type === "checkbox" ? String(each.checked) : each.value);

// What the page had; a form that came back with errors is compared with what is saved.
function before(each) {
  const was = form.elements[`was.${each.name}`]?.value;
  if (was === undefined || each.type === "password") return each.type === "checkbox" ? "false" : "";
  return was;
}

function changed() {
  const names = new Set();
  for (const each of [...form.elements].filter(isOurs)) {
    const [setting, part] = each.name.split(".");
    if (part) {
      const isRemoved = part === "remove" && each.checked;
      const isTyped = part !== "remove" && each.value !== each.defaultValue;
      if (isRemoved || isTyped || each.getAttribute("aria-invalid")) names.add(setting);
    } else if (now(each) !== before(each)) names.add(setting);
  }
  return names.size;
}

function count() {
  const n = changed();
  const { none, one, many } = bar.querySelector("[role=status]").dataset;
  bar.querySelector("[data-count]").textContent = n === 0 ? none : n === 1 ? one : many.replace("%(n)s", n);
  bar.querySelector("[type=submit]").disabled = n === 0;
  return n;
}

if (bar) {
  form.addEventListener("input", count);
  form.addEventListener("submit", () => { isLeaving = true; });
  bar.querySelector("[data-discard]").addEventListener("click", () => {
    isLeaving = true;
    forget(form);
  });
  addEventListener("beforeunload", (event) => {
    if (!isLeaving && changed()) event.preventDefault();
  });
  addEventListener("pageshow", () => { isLeaving = false; count(); });
  count();
}

const seen = new IntersectionObserver((entries) => {
  const here = entries.filter((each) => each.isIntersecting).map((each) => each.target.id);
  if (!here.length) return;
  for (const link of nav.querySelectorAll("a")) {
    if (link.hash === `#${here[0]}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "0px 0px -70% 0px" });
for (const section of document.querySelectorAll("section.panel[id]")) seen.observe(section);
