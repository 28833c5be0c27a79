// A paragraph that is being written: what is there of it stays, and from the first part on that is another now
// it is written again. So a token costs what it is long, and not what the paragraph is.
import { partsOf, render, renderParts } from "./markdown.js";

export class Paragraph {
  #parts = [];
  #nodes = [];
  node = null;

  // Whether that could be done: `tokens` may be of another kind of block by now.
  write(tokens, env) {
    const parts = partsOf(tokens, env);
    if (!parts) return false;
    let same = 0;
    while (same < this.#parts.length && this.#parts[same] === parts[same]) same += 1;
    const made = renderParts(parts.slice(same));
    if (!made) return false;
    this.node ??= render([tokens[0], tokens[2]], env).firstElementChild;
    for (const old of this.#nodes.splice(same).flat()) old.remove();
    const kept = this.#nodes.flat().at(-1);
    if (kept) kept.after(...made.flat());
    else this.node.prepend(...made.flat()); // and a caret stays behind them
    this.#nodes.push(...made);
    this.#parts = parts;
    return true;
  }
}
