// `<button data-copy="#id">` copies the value or the text of what it names.
import { text } from "./texts.js";

export function start() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    if (!source) return;
    const label = button.querySelector("[data-label]");
    const before = label ? label.textContent : button.title;
    const say = (words) => {
      if (label) label.textContent = words;
      else button.title = words;
    };
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      say(text("copied"));
    } catch {
      say(text("copyFailed"));
      source.select?.();
    }
    setTimeout(() => say(before), 1600);
  });
}
