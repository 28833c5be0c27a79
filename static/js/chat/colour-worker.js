// Runs in a worker of its own (colour.js). Gets {id, text, language}, answers {id, steps} or {id}.
"use strict";

importScripts(new URL(new URL(location.href).searchParams.get("library"), location.origin).href);

const NAMES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'" };
const PIECE = /<span class="([^"]*)">|(<\/span>)|([^<]+)/g;

self.onmessage = ({ data }) => {
  const { id, text, language } = data;
  if (!language || !self.hljs.getLanguage(language)) {
    self.postMessage({ id });
    return;
  }
  const html = self.hljs.highlight(text, { language, ignoreIllegals: true }).value;
  const steps = [];
  for (const [, name, end, words] of html.matchAll(PIECE)) {
    if (name !== undefined) steps.push([name]);
    else if (end) steps.push(0);
    else steps.push(words.replace(/&(?:amp|lt|gt|quot|#x27);/g, (entity) => NAMES[entity]));
  }
  self.postMessage({ id, steps });
};
