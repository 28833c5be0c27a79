// One way to ask the server, for htmx and for modules: GETs are repeated twice, changes never; where
// the session has ended, the person signs in over the page and the same request goes out again.
import { open } from "./dialogs.js";
import { text } from "./texts.js";
import { toast } from "./toasts.js";

const AGAIN_AFTER_MS = [400, 1600];
const AWAY = new Set([502, 503, 504]);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const token = () => document.body.dataset.csrf;

// As `fetch`, with the form token, for addresses of ours.
export async function ask(address, options = {}) {
  const method = (options.method ?? "GET").toUpperCase();
  for (;;) {
    const headers = new Headers(options.headers);
    if (method !== "GET") headers.set("X-CSRFToken", token());
    const response = await patient(address, { ...options, method, headers });
    if (!isSignedOut(response)) return response;
    if (!(await signInAgain())) return response;
    renew(options.body);
  }
}

async function patient(address, options) {
  const pauses = options.method === "GET" ? AGAIN_AFTER_MS : [];
  for (let i = 0; ; i += 1) {
    try {
      const response = await fetch(address, options);
      if (!AWAY.has(response.status) || i >= pauses.length) return response;
    } catch (error) {
      if (error.name === "AbortError" || i >= pauses.length) throw error;
    }
    await wait(pauses[i]);
  }
}

function isSignedOut(response) {
  if (response.status === 401) return true;
  return response.redirected && new URL(response.url).pathname === "/login";
}

// A form's body carries the token too.
function renew(body) {
  if (body?.has?.("csrfmiddlewaretoken")) body.set("csrfmiddlewaretoken", token());
}

let going = null;

// Resolves to whether somebody is signed in again; one dialog, however many requests wait for it.
export function signInAgain() {
  going ??= signIn().finally(() => { going = null; });
  return going;
}

async function signIn() {
  const dialog = document.getElementById("sign-in-again");
  const place = dialog.querySelector("[data-form]");
  const address = document.body.dataset.signIn;
  const show = async (options) => {
    place.innerHTML = await (await fetch(address, options)).text();
    return takeOver(place);
  };
  if (await show()) return true;
  const email = place.querySelector("[name=email]");
  email.value ||= document.body.dataset.email;
  open(dialog);
  place.querySelector(email.value ? "[name=password]" : "[name=email]").focus();
  return new Promise((resolve) => {
    const end = (answer) => {
      listening.abort();
      if (dialog.open) dialog.close();
      resolve(answer);
    };
    const listening = new AbortController();
    const { signal } = listening;
    dialog.addEventListener("submit", async (event) => {
      event.preventDefault();
      const body = new URLSearchParams(new FormData(event.target));
      if (await show({ method: "POST", body })) end(true);
      else place.querySelector("[name=password]").focus();
    }, { signal });
    dialog.addEventListener("click", async (event) => {
      if (event.target.closest("[data-go-on]") && (await show())) end(true);
    }, { signal });
    dialog.addEventListener("close", () => end(false), { signal });
  });
}

// The answer to a sign-in: the new token goes into every form. Somebody else's session starts afresh.
function takeOver(place) {
  const done = place.querySelector("[data-signed-in]");
  if (!done) return false;
  if (done.dataset.signedIn !== document.body.dataset.user) {
    location.reload();
    return false;
  }
  document.body.dataset.csrf = done.dataset.csrf;
  for (const input of document.querySelectorAll("[name=csrfmiddlewaretoken]")) input.value = done.dataset.csrf;
  return true;
}

// Plain words for what went wrong, as a toast: the server's own where it gave some.
export async function explain(response) {
  if (!response) {
    toast(text("offline"), "bad", text("offlineText"));
    return;
  }
  const isJson = response.headers.get("content-type")?.includes("json");
  const body = isJson ? await response.clone().json().catch(() => null) : null;
  const said = response.status < 500 ? body?.error?.message : "";
  const reference = response.headers.get("x-correlation-id");
  const more = said ? "" : `${text("failedText")} ${text("reference")} ${reference ?? ""}`;
  toast(said || text("failed"), "bad", more.trim());
}
