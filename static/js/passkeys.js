// Adding a passkey: the browser makes it, the server keeps it, recovery codes are shown once.
import { open } from "./dialogs.js";
import { ask } from "./requests.js";
import { toast } from "./toasts.js";

const HEADERS = { "Content-Type": "application/json" };
const post = (address, body) => ask(address, { method: "POST", headers: HEADERS, body: JSON.stringify(body) });
const again = () => location.replace("/app/account/security"); // not reload(): the page may be a form's answer

async function add(form) {
  const { start, add: keep } = form.dataset;
  const asked = await (await post(start, { passwordless: true })).json();
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.publicKey);
  const made = await navigator.credentials.create({ publicKey });
  const name = form.elements.name.value.trim();
  const answer = await post(keep, { name, credential: made.toJSON() });
  if (!answer.ok) throw new Error(String(answer.status));
  return (await answer.json()).recovery_codes ?? [];
}

function showCodes(codes) {
  const dialog = document.getElementById("recovery");
  dialog.querySelector("[data-codes]").replaceChildren(...codes.map((code) => {
    const line = document.createElement("li");
    line.textContent = code;
    return line;
  }));
  dialog.addEventListener("close", again);
  dialog.querySelector("[data-kept]").addEventListener("click", () => dialog.close());
  open(dialog);
}

const form = document.querySelector("[data-passkey-form]");
if (form && window.PublicKeyCredential?.parseCreationOptionsFromJSON) {
  document.getElementById("add-passkey").hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const codes = await add(form);
      if (codes.length) showCodes(codes);
      else again();
    } catch {
      toast(form.dataset.failed, "bad", form.dataset.failedText);
    }
  });
}
