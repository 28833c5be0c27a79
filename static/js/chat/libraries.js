// The big libraries, each loaded once and when it is needed. Their addresses stand in the page.
const root = document.getElementById("chat");
const loading = new Map();

function load(name) {
  if (!loading.has(name)) {
    loading.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = root.dataset[name];
      script.onload = resolve;
      script.onerror = () => {
        loading.delete(name);
        reject(new Error(`${name} did not load`));
      };
      document.head.append(script);
    }));
  }
  return loading.get(name);
}

export async function loadMarkdown() {
  await Promise.all([load("markdown"), load("purify")]);
  return { markdownit: globalThis.markdownit, purify: globalThis.DOMPurify };
}

export async function loadKatex() {
  await load("katex");
  return globalThis.katex;
}
