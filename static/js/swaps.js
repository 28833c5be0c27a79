// htmx's requests: asked in our way, hidden tabs ask nothing, failures keep what was last seen.
import { busy } from "./busy.js";
import { ask, explain } from "./requests.js";
import { text } from "./texts.js";
import { toast } from "./toasts.js";

const AWAY = "x-away";
const LATE_MS = 8000;

// What takes long says so, and can be given up.
function stillWorking(ctx) {
  ctx.late = toast(text("working"), "warn");
  const cancel = document.createElement("button");
  cancel.className = "btn sm";
  cancel.type = "button";
  cancel.textContent = text("cancel");
  cancel.addEventListener("click", () => ctx.request.abort());
  ctx.late.querySelector("[data-dismiss]").replaceWith(cancel);
}

// A server that cannot be reached is an answer too, and no error of the page. Who gave up himself, did.
function orAway(error) {
  if (error.name === "AbortError") throw error;
  return new Response("", { status: 503, headers: { [AWAY]: "1" } });
}

export function start() {
  const working = new WeakMap();
  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (document.hidden && ctx.sourceEvent?.type === "every") {
      event.preventDefault();
      return;
    }
    const send = ctx.poll ? fetch : ask;
    ctx.fetch = (address, request) => send(address, request).catch(orAway);
  });
  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.poll) return;
    const pressed = ctx.request.submitter ?? (ctx.sourceElement.matches("button, a.btn") ? ctx.sourceElement : null);
    const done = busy(pressed);
    const late = setTimeout(() => stillWorking(ctx), LATE_MS);
    working.set(ctx, () => {
      done();
      clearTimeout(late);
      ctx.late?.remove();
    });
    ctx.target?.setAttribute?.("aria-busy", "true");
  });
  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = event.detail;
    const { raw } = ctx.response;
    const isPage = raw.headers.get("content-type")?.includes("html");
    const isElsewhere = raw.redirected && new URL(raw.url).pathname === "/login";
    if (!isElsewhere && (raw.status < 400 || (isPage && raw.status < 500))) return; // a form with its errors is shown in place
    event.preventDefault();
    if (!isElsewhere && !ctx.poll) explain(raw.headers.has(AWAY) ? null : raw);
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const { ctx } = event.detail;
    working.get(ctx)?.();
    ctx.target?.removeAttribute?.("aria-busy");
  });
  document.addEventListener("htmx:after:swap", (event) => focusAfter(event.detail.ctx));
}

// A page that was swapped gets its heading focused; a form that failed, its first wrong field.
function focusAfter(ctx) {
  const target = ctx.target?.isConnected ? ctx.target : document.getElementById(ctx.target?.id ?? "");
  if (!target) return;
  const wrong = target.querySelector("[aria-invalid=true]");
  if (wrong && ctx.request.method !== "GET") wrong.focus();
  else if (target.matches("#page, #main")) {
    const heading = target.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus();
  }
}
