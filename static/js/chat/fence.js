// Where a code block in a fence begins, and whether it has come to its end.
export const FENCE = /^ {0,3}(`{3,}(?!.*`)|~{3,})[ \t]*([^\s`]*)[^\n]*\n/;

export function closes(tail, opened) {
  const end = new RegExp(`\\n {0,3}${opened[1][0]}{${opened[1].length},}[ \\t]*(\\n|$)`);
  return end.test(tail.slice(opened[0].length - 1));
}
