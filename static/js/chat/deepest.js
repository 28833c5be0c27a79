// Where text behind a block would stand.
export function deepest(node, mark) {
  let place = node === mark ? (node.previousElementSibling ?? node.parentElement) : node;
  if (place.nodeType !== Node.ELEMENT_NODE) return place.parentElement;
  while (!place.matches("p, h2, h3, h4, h5, h6, code, .piece, td, th")) {
    const inner = [...place.children].findLast((each) => each !== mark && !each.matches("math, svg, button, header"));
    if (!inner) break;
    place = inner;
  }
  return place;
}
