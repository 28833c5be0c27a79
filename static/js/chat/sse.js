// Server-sent events of a response's body: yields {name, data, id}. Ends where the body does. `heard` is
// called for every piece that comes, comments that keep the line open among them.
export async function* eventsOf(response, heard = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      text += value;
      for (let at = text.indexOf("\n\n"); at !== -1; at = text.indexOf("\n\n")) {
        const found = read(text.slice(0, at));
        text = text.slice(at + 2);
        if (found) yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function read(block) {
  let name = "message";
  let id = "";
  const data = [];
  for (const line of block.split("\n")) {
    const [field, rest] = [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()];
    if (field === "event") name = rest;
    else if (field === "id") id = rest;
    else if (field === "data") data.push(rest);
  }
  if (!data.length) return null; // a comment that keeps the line open
  const text = data.join("\n");
  return text === "[DONE]" ? { name: "done", data: null, id } : { name, data: JSON.parse(text), id };
}
