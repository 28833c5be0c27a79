// The samples of a first request: the chosen model and key stand in all three of them.
const samples = document.getElementById("first-request");

document.querySelector("[data-sample-key]")?.addEventListener("change", (event) => {
  for (const place of samples.querySelectorAll("[data-key]")) {
    place.textContent = event.target.value || place.dataset.key;
  }
});

const model = document.querySelector("[data-sample-model]");
let before = model?.dataset.sampleModel;
model?.addEventListener("change", () => {
  for (const code of samples.querySelectorAll("code")) replace(code, `"${before}"`, `"${model.value}"`);
  before = model.value;
});

// In the text alone, so that a name is never read as markup.
function replace(code, was, is) {
  const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { currentNode } = walker;
    if (currentNode.data.includes(was)) currentNode.data = currentNode.data.replaceAll(was, is);
  }
}

// Enter sends the question, Shift+Enter starts a new line; as on the chat page.
const question = document.querySelector("[data-question] textarea");
question?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (question.value.trim()) question.form.requestSubmit();
});
