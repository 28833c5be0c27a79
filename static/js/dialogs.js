// `<button data-dialog="id">` opens a dialog, `data-close` in it closes; focus goes back to the opener.
// Esc and a click beside it close too, and ask first where something typed would be lost.
import { text } from "./texts.js";

const openers = new WeakMap();
const typed = new WeakSet();

export function open(dialog, from = document.activeElement) {
  if (dialog.open) return;
  openers.set(dialog, from);
  typed.delete(dialog);
  dialog.showModal();
}

export async function close(dialog) {
  if (typed.has(dialog) && !(await ask(text("lose"), text("loseText"), text("discard")))) return;
  typed.delete(dialog);
  dialog.close();
}

let giveUp = null;

// Resolves to whether the destructive answer was given; a question asked meanwhile takes its place.
export function ask(question, more, action) {
  giveUp?.();
  const dialog = document.getElementById("confirm");
  dialog.querySelector("h2").textContent = question;
  dialog.querySelector("p").textContent = more ?? "";
  dialog.querySelector('[data-answer="yes"] [data-label]').textContent = action;
  dialog.returnValue = "";
  const from = document.activeElement;
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    const listening = new AbortController();
    const end = (answer) => {
      listening.abort();
      giveUp = null;
      resolve(answer);
    };
    giveUp = () => end(false);
    dialog.addEventListener("close", () => {
      if (dialog.open) return; // told late, of the question before this one
      from?.focus?.();
      end(dialog.returnValue === "yes");
    }, { signal: listening.signal });
  });
}

export function start() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) open(document.getElementById(opener.dataset.dialog), opener);
    const answer = event.target.closest("#confirm [data-answer]");
    if (answer) document.getElementById("confirm").close(answer.dataset.answer);
    const closer = event.target.closest("dialog [data-close]");
    if (closer) close(closer.closest("dialog"));
    if (event.target.matches("dialog[open]") && isOutside(event)) close(event.target);
  });
  document.addEventListener("input", (event) => {
    const dialog = event.target.closest("dialog");
    if (dialog) typed.add(dialog);
  });
  document.addEventListener("submit", (event) => {
    const dialog = event.target.closest("dialog");
    if (dialog) typed.delete(dialog);
  });
  document.addEventListener("cancel", (event) => {
    if (!typed.has(event.target)) return;
    event.preventDefault();
    close(event.target);
  }, true);
  document.addEventListener("close", (event) => {
    const from = openers.get(event.target);
    if (from?.isConnected) from.focus();
  }, true);
  for (const dialog of document.querySelectorAll("dialog[data-open]")) open(dialog);
}

function isOutside(event) {
  if (!event.clientX && !event.clientY) return false; // a key pressed a button
  const box = event.target.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}
