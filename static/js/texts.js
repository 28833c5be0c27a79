// What scripts say comes from the page, translated: templates/partials/texts.html.
const texts = document.getElementById("texts");

export function text(name) {
  return texts?.dataset[name] ?? "";
}

// For screen readers alone, politely: start, end and failure of what happens elsewhere.
export function announce(words) {
  const place = document.getElementById("announce");
  if (place) place.textContent = words;
}
