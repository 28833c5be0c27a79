// Where one writes: Enter sends, Shift+Enter starts a line, Arrow up in an empty one edits the last message.
import { forget } from "../drafts.js";

export class Composer {
  constructor({ send, editLast, files }) {
    this.form = document.getElementById("composer");
    if (!this.form) return; // there is no model
    this.text = this.form.elements.content;
    this.model = this.form.elements.model;
    this.files = files;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
    });
    this.text.addEventListener("keydown", (event) => this.#key(event, send, editLast));
    this.form.querySelector('[data-do="attach"]').addEventListener("click", () => this.form.querySelector("#chat-file").click());
    this.form.querySelector("#chat-file").addEventListener("change", ({ target }) => {
      files.add([...target.files]);
      target.value = "";
    });
    this.text.addEventListener("paste", (event) => {
      const pasted = [...event.clipboardData.files];
      if (!pasted.length) return;
      event.preventDefault();
      files.add(pasted);
    });
    this.#drops();
  }

  #key(event, send, editLast) {
    if (event.isComposing) return;
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !isTouch) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && this.text.value === "" && !event.shiftKey && editLast()) {
      event.preventDefault();
    }
  }

  #drops() {
    const place = document.querySelector(".convo");
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    place.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      place.classList.add("drop");
    });
    place.addEventListener("dragleave", (event) => {
      if (!place.contains(event.relatedTarget)) place.classList.remove("drop");
    });
    place.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      place.classList.remove("drop");
      this.files.add([...event.dataTransfer.files]);
    });
  }

  clear() {
    forget(this.form);
    this.text.value = "";
    this.files.clear();
  }

  fill(words) {
    this.text.value = `${words} `;
    this.text.focus();
    this.text.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
