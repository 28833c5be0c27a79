// Signing in with a passkey, alone or as the second step: `<button data-passkey="/api/auth/passkey">`.
import { busy } from "./busy.js";

const button = document.querySelector("[data-passkey]");
const error = document.querySelector("[data-passkey-error]");
const canDo = window.PublicKeyCredential?.parseRequestOptionsFromJSON;

async function post(address, body) {
  const headers = { "Content-Type": "application/json" };
  return fetch(address, { method: "POST", headers, body: JSON.stringify(body) });
}

async function signIn() {
  const address = button.dataset.passkey;
  const question = await (await post(`${address}/start`, {})).json();
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(question.publicKey ?? question);
  const found = await navigator.credentials.get({ publicKey });
  const answer = await post(address, { credential: found.toJSON() });
  if (!answer.ok) throw new Error(String(answer.status));
  location.assign(button.dataset.next);
}

if (button && canDo) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const done = busy(button);
    error.hidden = true;
    try {
      await signIn();
    } catch (refused) {
      done();
      if (refused.name === "NotAllowedError") return; // the person closed the browser's question
      error.querySelector("span").textContent = error.dataset.refused;
      error.hidden = false;
    }
  });
}
