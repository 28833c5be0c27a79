// What stands under an answer: counts and speed, or how it ended, and what can be done about it.
import { counted, fill, filled, number, part, parts, seconds, speed, words } from "./words.js";

const BETWEEN = " · ";

export function answering(footer, { tokens, perSecond, isAway }) {
  let line = words(isAway ? "reconnecting" : "answering");
  if (!isAway && tokens && perSecond) line = fill("answeringSpeed", { n: number(tokens), speed: speed(perSecond) });
  else if (!isAway && tokens) line = fill("answeringTokens", { n: number(tokens) });
  const said = footer.querySelector(".said");
  const text = said.querySelector(".spin + span");
  if (text) {
    text.textContent = line;
    return;
  }
  said.className = "said row tight";
  said.replaceChildren(parts("answering"));
  said.lastElementChild.textContent = line;
}

export function ended(footer, answer) {
  const said = footer.querySelector(".said");
  said.className = "said";
  if (answer.status === "cut" || answer.status === "failed") {
    said.className = "said row tight";
    said.replaceChildren(parts("cut"));
    said.lastElementChild.textContent = brokenLine(answer);
    return;
  }
  const lines = [counts(answer)];
  if (answer.status === "stopped") lines[0] = stoppedLine(answer);
  if (answer.finishReason === "length") lines.push(words("limit"));
  if (answer.leftOut) lines.push(counted("leftOut", answer.leftOut));
  said.replaceChildren(lines.filter(Boolean).join(BETWEEN));
  if (!mayGoOn(answer)) return;
  said.className = "said row";
  said.append(part("more"));
}

export const mayGoOn = (answer) => Boolean(answer.content || answer.hasContent) && (answer.status === "stopped" || (answer.status === "done" && answer.finishReason === "length"));

function counts({ completionTokens, tokensPerSecond, firstTokenMs }) {
  const found = [];
  if (completionTokens != null) found.push(counted("tokens", completionTokens));
  if (tokensPerSecond) found.push(fill("speed", { n: speed(tokensPerSecond) }));
  if (firstTokenMs != null) found.push(fill("first", { n: seconds(firstTokenMs) }));
  return found.join(BETWEEN);
}

function stoppedLine({ completionTokens: n }) {
  return n ? counted("stopped", n) : words("stoppedPlain");
}

function brokenLine({ status, completionTokens: n }) {
  if (status === "failed") return words("failed");
  return n ? counted("cut", n) : words("cutPlain");
}

// The note under an answer that broke off: why, and the two ways on.
export function broken(answer, table) {
  const note = part("broken");
  const [what, safe] = table[answer.reason] ?? table[""];
  const values = { model: answer.model || words("theModel") };
  note.querySelector("strong").textContent = filled(what, values);
  note.querySelector("strong + span").textContent = filled(safe, values);
  note.dataset.id = answer.id;
  if (answer.status === "failed" || !(answer.content || answer.hasContent)) note.querySelector('[data-do="continue"]').remove();
  return note;
}
