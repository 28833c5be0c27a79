// Files that go with the next message: picked, dropped or pasted; text as text, images where the model takes
// them. What does not fit is said in plain words, and the rest is kept.
import { ask } from "../requests.js";
import { clean } from "./clean.js";
import { refusalOf } from "./refusal.js";
import { fill, number, part } from "./words.js";

const IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const MB = 1024 * 1024;
const KB = 1024;

export class Files {
  constructor({ place, limits, takesImages, complain }) {
    this.place = place;
    this.limits = limits;
    this.takesImages = takesImages; // {model, images}
    this.complain = complain;
    this.list = [];
    place.addEventListener("click", (event) => {
      const chip = event.target.closest('[data-do="unattach"]')?.closest("li");
      if (!chip) return;
      this.list.splice([...place.children].indexOf(chip), 1);
      this.#show();
      document.getElementById("msg").focus();
    });
  }

  async add(given) {
    for (const file of given) {
      const words = await this.#take(file);
      if (words) this.complain(words);
    }
    this.#show();
  }

  // Resolves to what is wrong with it, or nothing.
  async #take(file) {
    const name = clean(file.name || "file").slice(0, 255);
    const { files, textChars, imageBytes, imagesBytes } = this.limits;
    if (this.list.length >= files) return fill("tooMany", { n: number(files) });
    if (IMAGES.has(file.type)) {
      const { model, images } = this.takesImages();
      if (!images) return fill("noImages", { model });
      if (file.size > imageBytes) return fill("imageTooLarge", { name, n: number(imageBytes / MB) });
      const all = this.list.reduce((sum, each) => sum + (each.data ? each.size : 0), file.size);
      if (all > imagesBytes) return fill("imagesTooLarge", { n: number(imagesBytes / MB) });
      const url = await dataUrl(file);
      this.list.push({ name, size: file.size, type: file.type, data: url.slice(url.indexOf(",") + 1), url });
      return "";
    }
    if (file.size > textChars * 4) return fill("textTooLong", { name, n: number(textChars) });
    const text = await textOf(file);
    if (text === null) return fill("noText", { name });
    if (text.length > textChars) return fill("textTooLong", { name, n: number(textChars) });
    this.list.push({ name, size: file.size, text });
    return "";
  }

  drop(sent) {
    this.list = this.list.filter((file) => !sent.includes(file));
    this.#show();
  }

  #show() {
    this.place.hidden = this.list.length === 0;
    this.place.replaceChildren(...this.list.map((file) => {
      const chip = part("file");
      const name = document.createElement("bdi");
      name.textContent = file.name;
      chip.querySelector(".cut").append(name);
      chip.querySelector(".muted").textContent = file.size >= MB ? `${number(Math.round(file.size / MB))}\u202fMB` : `${number(Math.ceil(file.size / KB))}\u202fKB`;
      const button = chip.querySelector("button");
      button.setAttribute("aria-label", `${button.title}: ${file.name}`);
      return chip;
    }));
  }
}

// As the API takes them.
export const toSend = (list) => list.map(({ name, text, data }) => (data ? { name, data } : { name, text }));

async function textOf(file) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

// The files of a message that is said again in other words.
export async function again(list) {
  return Promise.all(list.map(async ({ name, kind, url, size, given }) => {
    if (given) return given;
    const response = await ask(url);
    if (!response.ok) throw await refusalOf(response);
    const blob = await response.blob();
    if (kind === "text") return { name, size, text: await blob.text() };
    const whole = await dataUrl(blob);
    return { name, size, type: blob.type, data: whole.slice(whole.indexOf(",") + 1), url: whole };
  }));
}
