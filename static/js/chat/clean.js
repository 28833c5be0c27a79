// What a model writes may hold anything. Taken away: control characters and terminal codes, and what turns
// the direction of the text around it or hides letters in it (overrides, isolates, tag characters).
const TERMINAL = /\x9b[0-?]*[ -/]*[@-~]?|\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g; // eslint-disable-line no-control-regex
const HIDDEN = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu; // eslint-disable-line no-control-regex
const OPEN_CODE = /\x1b[^\x07\x1b]{0,200}$/; // eslint-disable-line no-control-regex

export function clean(text) {
  return text.replace(TERMINAL, "").replace(/\r\n?/g, "\n").replace(HIDDEN, "");
}

// The same for text that comes in pieces: a code, or half a character, that a piece ends in waits for the next.
export class Cleaner {
  #kept = "";

  push(piece) {
    const text = this.#kept + piece;
    const open = text.match(OPEN_CODE);
    const isHalf = /[\ud800-\udbff\r]$/.test(text);
    const cut = open && !isWhole(open[0]) ? open.index : text.length - (isHalf ? 1 : 0);
    this.#kept = text.slice(cut);
    return clean(text.slice(0, cut));
  }

  end() {
    const rest = clean(this.#kept);
    this.#kept = "";
    return rest;
  }
}

const isWhole = (code) => /^\x1b(?:\[[0-?]*[ -/]*[@-~]|[0-OQ-WYZ\\`-~])/.test(code); // eslint-disable-line no-control-regex
