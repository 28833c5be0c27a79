// Plain text in blocks of a few KB, so that a browser lays out only the last one again.
const A_PIECE = 2 * 1024;

export class Pieces {
  constructor(place) {
    this.place = place;
    this.size = Infinity;
  }

  add(text) {
    for (let at = 0; at < text.length;) {
      if (this.size >= A_PIECE) this.#next();
      let end = Math.min(text.length, at + A_PIECE - this.size);
      const line = text.lastIndexOf("\n", end - 1);
      if (end < text.length && line >= at) end = line + 1;
      this.node.appendData(text.slice(at, end));
      this.size = end < text.length ? A_PIECE : this.size + end - at;
      if (this.size >= A_PIECE * 0.8 && text[end - 1] === "\n") this.size = A_PIECE;
      at = end;
    }
  }

  #next() {
    const span = document.createElement("span");
    span.className = "piece";
    this.node = document.createTextNode("");
    span.append(this.node);
    this.place.append(span);
    this.size = 0;
  }
}
