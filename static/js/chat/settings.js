// The drawer: system prompt and sampling of this conversation. Empty, or a slider that was not moved, leaves
// it to the engine.
import { ask as confirm, open } from "../dialogs.js";
import { toast } from "../toasts.js";
import { plainly } from "./refusal.js";
import { deleteAll, keepHistory } from "./server-store.js";
import { speed, words } from "./words.js";

const RANGES = ["temperature", "topP"];
const dialog = document.getElementById("chat-settings");
const form = document.getElementById("chat-settings-form");
const error = document.getElementById("chat-settings-error");

export class Settings {
  // `save(fields)` stores them; it raises where that failed.
  constructor({ chat, save, emptied, root }) {
    this.values = pick(chat ?? {});
    this.save = save;
    this.emptied = emptied;
    this.root = root;
    document.querySelector("[data-settings]").addEventListener("click", (event) => this.open(event.currentTarget));
    document.querySelector('[data-do="settings-reset"]').addEventListener("click", () => this.#fill({}));
    for (const name of RANGES) {
      form.elements[name].addEventListener("input", ({ target }) => {
        target.dataset.set = "";
        this.#output(target);
      });
    }
    form.addEventListener("submit", (event) => this.#submit(event));
    form.querySelector("#keep")?.addEventListener("change", ({ target }) => this.#keep(target));
    form.querySelector('[data-do="delete-all"]')?.addEventListener("click", () => this.#deleteAll());
  }

  open(from) {
    this.#fill(this.values);
    open(dialog, from);
  }

  #fill(values) {
    error.hidden = true;
    form.elements.system.value = values.system ?? "";
    for (const name of RANGES) {
      const range = form.elements[name];
      if (values[name] == null) delete range.dataset.set;
      else range.dataset.set = "";
      range.value = values[name] ?? 1;
      this.#output(range);
    }
    for (const name of ["maxTokens", "seed"]) form.elements[name].value = values[name] ?? "";
  }

  #output(range) {
    const isSet = "set" in range.dataset;
    const said = isSet ? speedOrHundredths(range) : words("default");
    form.querySelector(`output[for="${range.id}"]`).textContent = said;
    range.setAttribute("aria-valuetext", said);
  }

  #read() {
    const read = { system: form.elements.system.value };
    for (const name of RANGES) {
      const range = form.elements[name];
      read[name] = "set" in range.dataset ? Number(range.value) : null;
    }
    for (const name of ["maxTokens", "seed"]) {
      const field = form.elements[name];
      const text = field.value.trim();
      const isWrong = text !== "" && !/^-?\d{1,18}$/.test(text);
      field.toggleAttribute("aria-invalid", isWrong);
      if (isWrong) field.setAttribute("aria-invalid", "true");
      if (isWrong) return [null, field];
      read[name] = text === "" ? null : Number(text);
    }
    return [read, null];
  }

  async #submit(event) {
    event.preventDefault();
    const [read, wrong] = this.#read();
    if (wrong) {
      this.#complain(words("number"));
      wrong.focus();
      return;
    }
    try {
      await this.save(read);
    } catch (refusal) {
      this.#complain(plainly(refusal));
      return;
    }
    this.values = read;
    dialog.close();
    toast(words("saved"), "ok");
  }

  #complain(text) {
    error.querySelector("span").textContent = text;
    error.hidden = false;
  }

  async #keep(box) {
    try {
      await keepHistory(box.checked);
    } catch (refusal) {
      box.checked = !box.checked;
      toast(plainly(refusal), "bad");
      return;
    }
    dialog.close();
    location.assign(this.root.dataset.new);
  }

  async #deleteAll() {
    if (!(await confirm(words("deleteAllAsk"), words("deleteMore"), words("deleteAll")))) return;
    try {
      await deleteAll();
    } catch (refusal) {
      this.#complain(plainly(refusal));
      return;
    }
    this.emptied();
    location.assign(this.root.dataset.new);
  }
}

const speedOrHundredths = (range) => (range.step === "0.05" ? Number(range.value).toFixed(2) : speed(Number(range.value)));

export const pick = ({ system = "", temperature = null, topP = null, maxTokens = null, seed = null }) => ({ system, temperature, topP, maxTokens, seed });
