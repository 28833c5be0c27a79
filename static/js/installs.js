// Pages of models and backends: what a button starts shows at once in the sidebar and on its card,
// focus stays near it, filters write themselves into the address, and a dialog's "Delete" is sure.
import { hurry } from "./poll.js";
import { announce } from "./texts.js";

let pressed = null; // the card or row whose button was pressed

document.addEventListener("htmx:before:request", (event) => {
  const { ctx } = event.detail;
  if (ctx.poll) return;
  pressed = ctx.sourceElement.closest(".card, tr, #running");
});

document.addEventListener("htmx:after:swap", (event) => {
  const { ctx } = event.detail;
  if (ctx.poll) return;
  if (ctx.sourceElement.matches("[data-then-live]")) askForAll();
  else if (ctx.request.method === "POST") hurry("ops");
  if (ctx.request.method === "POST") hurry("live");
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

// What a button took away is nobody's any more, so that polling does not tell of it.
function askForAll() {
  const address = document.getElementById("live").dataset.poll;
  htmx.ajax("GET", `${address}&all=1`, { target: "#acted", swap: "innerHTML", poll: true }).catch(() => {});
}

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
