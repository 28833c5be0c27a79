// Where one writes: Enter sends, Shift+Enter starts a line, Arrow up in an empty one edits the last message.
import { forget } from "../drafts.js";

export class Composer {
  constructor({ send, editLast, files }) {
    this.form = document.getElementById("composer");
    this.text = this.form?.elements.content ?? document.createElement("textarea");
    if (!this.form) return; // there is no model
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

  // That was said: what was written or attached since stays.
  said({ content, files }) {
    const { value } = this.text;
    if (value.startsWith(content)) this.write(value.slice(content.length).trimStart());
    this.files.drop(files);
  }

  // What stands there, and what is kept of it for a page that is loaded again.
  write(words) {
    this.text.value = words;
    this.text.dispatchEvent(new Event("input", { bubbles: true }));
    if (!words && this.form) forget(this.form);
  }

  fill(words) {
    this.write(`${words} `);
    this.text.focus();
  }
}
