// Pages of models and backends: what a button starts shows at once in the sidebar and on its card,
// focus stays near it, filters write themselves into the address, and a dialog's "Delete" is sure.
import { announce } from "./texts.js";

const refresh = (id, more = "") => {
  const place = document.getElementById(id);
  const address = place?.dataset.poll;
  if (!address) return;
  htmx.ajax("GET", address + more, { target: place, source: place, swap: "outerHTML", poll: true }).catch(() => {});
};

let pressed = null; // the card or row whose button was pressed

document.addEventListener("htmx:before:request", (event) => {
  const { ctx } = event.detail;
  if (ctx.poll) return;
  pressed = ctx.sourceElement.closest(".card, tr, #running");
});

document.addEventListener("htmx:after:swap", (event) => {
  const { ctx } = event.detail;
  if (ctx.poll) return;
  if (ctx.sourceElement.matches("[data-then-live]")) refresh("live", "&all=1");
  else if (ctx.request.method === "POST") refresh("ops");
  const found = document.getElementById("found");
  if (ctx.request.method === "GET" && found) {
    keepAddress(ctx.request.action);
    announce(found.querySelector("[data-count]")?.textContent ?? "");
  }
});

document.addEventListener("htmx:after:settle", () => {
  if (!pressed || document.activeElement !== document.body) return;
  const heading = pressed.querySelector?.("h3[tabindex], th a") ?? document.querySelector("h1");
  if (heading?.isConnected) {
    if (heading.matches("h1")) heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
  pressed = null;
});

function keepAddress(action) {
  const address = new URL(action, location.href);
  for (const [name, value] of [...address.searchParams]) {
    if (!value || name === "wait" || (name === "sort" && value === "name")) address.searchParams.delete(name);
  }
  history.replaceState(null, "", address.pathname + address.search);
}

// Without script the server asks on a page of its own; here the dialog has asked.
document.addEventListener("formdata", (event) => {
  if (event.target.matches("[data-sure]")) event.formData.set("sure", "yes");
});
