"use strict";
// Everything that comes from the data enters the page as text (textContent), never as HTML.

const make = (tag, className = "", text = "") => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
};

// Tables: a click on a column's name sorts by it, the best first.
const LESS_IS_BETTER = / ms$|^(corrected )?p$|^false |^losses$|^index on|^memory /;
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sorted = head.getAttribute("aria-sort");
      const rising = head.classList.contains("name") || LESS_IS_BETTER.test(button.textContent);
      const descending = sorted ? sorted === "ascending" : !rising;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      const key = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null && y === null) {
          return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "ko", { numeric: true });
        }
        return x === null ? 1 : y === null ? -1 : sign * (x - y); // what has no figure stays at the end
      });
      table.tBodies[0].append(...rows);
    });
  });
}

for (const part of document.querySelectorAll(".matrices")) {
  const select = part.querySelector(".measure");
  select.addEventListener("change", () => {
    for (const matrix of part.querySelectorAll(".matrix")) matrix.hidden = matrix.dataset.measure !== select.value;
  });
}

// The explorer
const data = JSON.parse(document.getElementById("data").textContent);
const AT_ONCE = 50;
const EXCERPT = 300; // characters of a right passage
const GLANCE = 180; // of a wrong one
const at = (id) => document.getElementById(id);
let shown = [];

const option = (value, text) => {
  const element = make("option", "", text);
  element.value = value;
  return element;
};
const protocol = () => data.protocols[at("protocol").value];
const chosen = () => [...at("systems").querySelectorAll("input:checked")].map((box) => Number(box.value));
const inTen = (rank) => rank > 0 && rank <= data.shown;

const FILTERS = {
  all: () => true,
  first: (ranks) => ranks.some((rank) => rank !== 1),
  ten: (ranks) => ranks.some((rank) => !inTen(rank)),
  differ: (ranks) => new Set(ranks.map((rank) => (inTen(rank) ? rank : 0))).size > 1,
};

function matches(question, words) {
  const text = [question.text, ...question.right.map((place) => (data.passages[place] || [""])[0])].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function setUpProtocol() {
  const { systems, best, groups } = protocol();
  const boxes = systems.map((name, system) => {
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.value = String(system);
    box.checked = system === best || system === (best === 0 ? systems.length - 1 : 0);
    label.append(box, make("span", "", name));
    return label;
  });
  at("systems").replaceChildren(...boxes);
  at("group").replaceChildren(
    option("", "all kinds"), ...groups.map(([kind, name], number) => option(String(number), `${kind}: ${name}`)));
  refresh();
}

function refresh() {
  const { questions, groups, total } = protocol();
  const systems = chosen();
  const words = at("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const group = at("group").value;
  const members = group === "" ? null : new Set(groups[Number(group)][2]);
  const filter = FILTERS[at("show").value];
  shown = questions.filter((question, place) =>
    (members === null || members.has(place))
    && filter(systems.map((system) => question.ranks[system]))
    && matches(question, words));
  const left = questions.length < total
    ? ` The page holds the ${questions.length} hardest of ${total}; the files beside it hold all.` : "";
  const open = new Set([...at("list").querySelectorAll("details[open]")].map((element) => element.question));
  at("count").textContent = `${shown.length} of ${questions.length} questions, the hardest first.${left}`;
  at("list").replaceChildren();
  showMore();
  for (const element of at("list").children) element.open = open.has(element.question);
}

function showMore() {
  const from = at("list").childElementCount;
  const systems = chosen();
  at("list").append(...shown.slice(from, from + AT_ONCE).map((question) => drawQuestion(question, systems)));
  at("more").hidden = at("list").childElementCount >= shown.length;
}

function drawQuestion(question, systems) {
  const element = make("details", "question");
  element.question = question;
  const summary = make("summary");
  const asked = make("span", "asked", question.text);
  asked.lang = "ko";
  const ranks = make("span", "ranks");
  for (const system of systems) ranks.append(drawRank(protocol().systems[system], question.ranks[system]));
  summary.append(asked, ranks);
  element.append(summary);
  element.addEventListener("toggle", () => {
    if (element.open && element.childElementCount === 1) element.append(drawBody(question, systems));
  });
  return element;
}

function drawRank(name, rank) {
  const kind = rank === 1 ? "right" : inTen(rank) ? "low" : "missed";
  const text = rank === 1 ? "✓ 1" : rank > 0 ? `${rank}` : "not found";
  const element = make("span", `rank ${kind}`, `${name} ${text}`);
  element.title = rank > 0 ? `first right passage at rank ${rank}` : "no right passage found";
  return element;
}

function drawBody(question, systems) {
  const body = make("div", "body");
  const properties = question.properties.map(([name, value]) => `${name} ${value}`);
  const answers = question.answers.length ? [`answer: ${question.answers.join(" / ")}`] : [];
  body.append(make("p", "properties", [...answers, ...properties].join(" · ")));
  body.append(make("h4", "", question.right.length === 1 ? "The right passage" : "The right passages"));
  for (const place of question.right) body.append(drawPassage(place, question));
  const columns = make("div", "columns");
  for (const system of systems) {
    const column = make("div");
    column.append(make("h4", "", `${protocol().systems[system]} found`));
    const found = question.found[system];
    if (!found.length) column.append(make("p", "empty", "Nothing."));
    const list = make("ol");
    found.forEach(([place, right], number) => {
      const item = make("li");
      item.append(drawPassage(place, question, { rank: number + 1, right: Boolean(right) }));
      list.append(item);
    });
    column.append(list);
    columns.append(column);
  }
  body.append(columns);
  return body;
}

function drawPassage(place, question, found = null) {
  const [title, text] = data.passages[place] || ["", "(not in the corpus)"];
  const element = make("div", found === null || found.right ? "passage right" : "passage");
  element.lang = "ko";
  const head = make("div", "head");
  if (found !== null) head.append(make("span", "place", `${found.rank}.`));
  head.append(title ? make("span", "title", title) : make("span", "empty", "no title"));
  if (found !== null && found.right) head.append(make("span", "tick", "✓ right"));
  const paragraph = make("p");
  const right = found === null || found.right;
  const [start, end] = excerpt(text, question, right ? EXCERPT : GLANCE);
  const answers = right ? question.answers : [];
  highlight(paragraph, text, start, end, answers);
  element.append(head, paragraph);
  if (start > 0 || end < text.length) {
    const button = make("button", "", "Show all of it");
    button.type = "button";
    button.addEventListener("click", () => {
      highlight(paragraph, text, 0, text.length, answers);
      button.remove();
    });
    element.append(button);
  }
  return element;
}

// The part of a text with an answer, or else with most pairs of letters of the question; all of it if it is short.
function excerpt(text, question, length) {
  if (text.length <= 1.2 * length) return [0, text.length];
  const pairs = new Set();
  for (const word of question.text.split(/\s+/)) {
    for (let i = 0; i + 1 < word.length; i += 1) pairs.add(word.slice(i, i + 2));
  }
  const hits = [0];
  for (let i = 0; i < text.length; i += 1) hits.push(hits[i] + (pairs.has(text.slice(i, i + 2)) ? 1 : 0));
  const answer = Math.max(-1, ...question.answers.filter(Boolean).map((one) => text.indexOf(one)));
  let start = 0;
  let most = -1;
  for (let i = 0; i <= text.length - length; i += 1) {
    if (i > 0 && !/\s/.test(text[i - 1])) continue; // begin with a word
    const inside = answer >= i && answer < i + length - 20;
    const value = hits[i + length] - hits[i] + (inside ? 1000 : 0);
    if (value > most) [start, most] = [i, value];
  }
  if (answer >= 0 && most < 1000) start = Math.max(0, Math.min(answer - length / 2, text.length - length));
  return [start, start + length];
}

function highlight(element, text, start, end, answers) {
  element.replaceChildren();
  if (start > 0) element.append("… ");
  let from = start;
  while (from < end) {
    const next = answers.filter(Boolean)
      .map((answer) => [text.indexOf(answer, from), answer])
      .filter(([place]) => place >= 0 && place < end)
      .sort((a, b) => a[0] - b[0] || b[1].length - a[1].length)[0];
    if (!next) break;
    element.append(text.slice(from, next[0]), make("mark", "", next[1]));
    from = next[0] + next[1].length;
  }
  if (from < end) element.append(text.slice(from, end));
  if (end < text.length) element.append(" …");
}

if (Object.keys(data.protocols).length) {
  at("protocol").append(...Object.keys(data.protocols).map((name) => option(name, name)));
  at("protocol-choice").hidden = Object.keys(data.protocols).length < 2;
  at("protocol").addEventListener("change", setUpProtocol);
  for (const id of ["show", "group"]) at(id).addEventListener("change", refresh);
  at("systems").addEventListener("change", refresh);
  at("words").addEventListener("input", refresh);
  at("more").addEventListener("click", showMore);
  at("explorer").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  at("explorer").hidden = false;
  setUpProtocol();
}
