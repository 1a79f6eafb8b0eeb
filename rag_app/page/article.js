// Shows an article with its quoted sentences marked and the first of them in sight. Text is only ever textContent.
const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const fill = (pattern, ...values) => values.reduce((text, value) => text.replace("{}", value), pattern);

export default function ({ data, parentElement }) {
  if (parentElement.dataset.shown === data.article) return; // drawn again by Streamlit: the reader stays where she is
  parentElement.dataset.shown = data.article;

  const article = element("div", "article");
  article.lang = "ko";
  article.setAttribute("role", "document");
  article.setAttribute("aria-label", data.words.text);
  const parts = new Map();
  for (const block of data.blocks) {
    const paragraph = element("p");
    for (const [mark, text, quote] of block) {
      const part = mark ? element(mark === "quote" ? "mark" : "span", mark, text) : text;
      if (mark === "quote") parts.set(quote, [...(parts.get(quote) ?? []), part]);
      paragraph.append(part);
    }
    article.append(paragraph);
  }

  const quotes = [...parts.values()];
  const bar = element("div", "quotes");
  bar.hidden = quotes.length < 2;
  const before = element("button", "", "↑");
  const after = element("button", "", "↓");
  const place = element("span");
  place.setAttribute("role", "status");
  before.type = after.type = "button";
  before.ariaLabel = before.title = data.words.before;
  after.ariaLabel = after.title = data.words.after;
  bar.append(place, before, after);
  parentElement.replaceChildren(bar, article);
  if (!quotes.length) {
    article.querySelector(".passage")?.scrollIntoView({ block: "start", behavior: "instant" });
    return;
  }

  let at = 0;
  const show = (number, smooth) => {
    at = (number + quotes.length) % quotes.length;
    quotes.forEach((marks, other) => marks.forEach((one) => one.classList.toggle("current", other === at)));
    place.textContent = fill(data.words.place, at + 1, quotes.length);
    const still = !smooth || matchMedia("(prefers-reduced-motion: reduce)").matches;
    quotes[at][0].scrollIntoView({ block: "center", behavior: still ? "instant" : "smooth" });
  };
  before.onclick = () => show(at - 1, true);
  after.onclick = () => show(at + 1, true);
  const first = quotes[data.first] ?? quotes[0];
  first[0].tabIndex = -1;
  // The dialog puts the focus on its first button when it opens; reading, and the arrow keys, begin at the sentence.
  requestAnimationFrame(() => {
    first[0].focus({ preventScroll: true });
    show(quotes.indexOf(first), false);
  });
}
