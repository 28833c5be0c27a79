// A line of an engine's log as the page shows it. `inference/log_words.py` does the same to the lines
// that the page has from the start.
const SEQUENCES = /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]/g;
const CONTROLS = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const ERROR = /\b(?:(?:ERROR|CRITICAL|FATAL|Traceback)\b|[A-Za-z]*(?:Error|Exception):)/;
const WARNING = /\b(?:WARN(?:ING)?\b|[A-Za-z]*Warning:)/;
const LOOK_AT = 200;

export const plain = (text) => text.replace(SEQUENCES, "").replace(CONTROLS, "");

export function level(text) {
  const beginning = text.slice(0, LOOK_AT);
  if (ERROR.test(beginning)) return "e";
  return WARNING.test(beginning) ? "w" : "";
}

// The text of another replica than the first begins with its number.
export function row({ timestamp, text, replica }) {
  const words = plain(text);
  const made = document.createElement("li");
  const time = document.createElement("time");
  const said = document.createElement("span");
  made.className = level(words);
  time.dateTime = timestamp;
  time.textContent = timestamp.slice(11, 23);
  said.textContent = replica ? `[${replica}] ${words}` : words;
  made.append(time, said);
  return made;
}
