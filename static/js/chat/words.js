// Texts and markup that stand in the page (templates/chat/partials/parts.html), numbers in its language.
const texts = document.getElementById("chat-texts").dataset;
const language = document.documentElement.lang || "en";
const whole = new Intl.NumberFormat(language);
const tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const number = (n) => whole.format(n);
export const speed = (n) => tenths.format(n);
export const seconds = (ms) => hundredths.format(ms / 1000);
export const time = (moment) => clock.format(moment);

export const words = (name) => texts[name] ?? "";

export function filled(template, values) {
  return template.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

export const fill = (name, values) => filled(words(name), values);

// With a number in it: one has its own words.
export function counted(name, n, values = {}) {
  return filled(words(n === 1 ? `${name}One` : name), { ...values, n: number(n) });
}

// A copy of one of the page's templates.
export function part(name) {
  return document.getElementById(`part-${name}`).content.cloneNode(true).firstElementChild;
}

export function parts(name) {
  return document.getElementById(`part-${name}`).content.cloneNode(true);
}
