// htmx's requests: asked in our way, hidden tabs ask nothing, failures keep what was last seen.
import { busy } from "./busy.js";
import { ask, explain } from "./requests.js";

export function start() {
  const working = new WeakMap();
  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (document.hidden && ctx.sourceEvent?.type === "every") {
      event.preventDefault();
      return;
    }
    if (!ctx.poll) ctx.fetch = (address, request) => ask(address, request);
  });
  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.poll) return;
    const pressed = ctx.request.submitter ?? (ctx.sourceElement.matches("button, a.btn") ? ctx.sourceElement : null);
    working.set(ctx, busy(pressed));
    ctx.target?.setAttribute?.("aria-busy", "true");
  });
  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = event.detail;
    const { raw } = ctx.response;
    const isPage = raw.headers.get("content-type")?.includes("html");
    const isElsewhere = raw.redirected && new URL(raw.url).pathname === "/login";
    if (!isElsewhere && (raw.status < 400 || (isPage && raw.status < 500))) return; // a form with its errors is shown in place
    event.preventDefault();
    if (!isElsewhere && !ctx.poll) explain(raw);
  });
  document.addEventListener("htmx:error", (event) => {
    const { ctx } = event.detail;
    if (ctx && !ctx.poll && ctx.sourceEvent?.type !== "every") explain(null);
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
