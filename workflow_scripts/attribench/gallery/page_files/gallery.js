"use strict";
// Load the split that the address names, and show the view.

const splits = {}; // those that are loaded, by name
const waiting = {}; // what is to be done when a split is loaded, by its name
let view = null; // what is shown
let shownList = ""; // what the list was made for

const find = (selector) => document.querySelector(selector);

// Each split's file calls this.
function addSplit(split) {
  splits[split.split] = split;
}

function withSplit(name, work) {
  if (splits[name]) return work(splits[name]);
  const isLoading = name in waiting;
  waiting[name] = work;
  if (isLoading) return;
  const script = element("script", { src: `${encodeURIComponent(name)}/data.js` });
  script.onload = () => waiting[name](splits[name]);
  script.onerror = () => showMessage(`The file ${name}/data.js is missing beside this page.`);
  document.head.append(script);
}

function showMessage(text) {
  find("#view").replaceChildren(element("p", { class: "note" }, text));
}

// --- from the address to the page ------------------------------------------------------------------------------------

function followAddress() {
  const wanted = parseView(location.hash);
  const name = RUN.splits.includes(wanted.split) ? wanted.split : RUN.splits[0];
  withSplit(name, (split) => show(settled(wanted, split), split));
}

function show(next, split) {
  view = next;
  history.replaceState(null, "", fragmentOf(view));
  fillFilters(split);
  const queries = listed(split, view);
  showQuery(split, queries); // first: its images load while the list is made
  showList(split, queries);
}

function go(changes) {
  const next = fragmentOf({ ...view, ...changes });
  if (next === location.hash) return;
  history.pushState(null, "", next);
  followAddress();
}

function fillFilters(split) {
  const options = {
    split: RUN.splits.map((name) => [name, name]),
    type: promptTypes(split),
    category: categories(split),
    show: extremesOf(split, view),
    sort: orders(split, view),
  };
  for (const select of find("#filters").elements) {
    const choices = options[select.name];
    select.replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
    select.value = view[select.name];
    const isOnlyAll = select.name !== "split" && choices.length === 2 && choices[0][0] === "";
    select.closest("label").hidden = choices.length < 2 || isOnlyAll;
  }
}

function showList(split, queries) {
  const made = fragmentOf({ ...view, query: "" });
  if (made !== shownList) {
    shownList = made;
    find("#queries").replaceChildren(...queries.map((query) => queryLink(split, query, view)));
    find("#count").textContent = countText(split, queries);
  }
  markCurrent(find(`#queries a[data-query="${view.query}"]`));
}

function countText(split, queries) {
  const all = split.queries.length;
  const isPart = queries.length < all;
  const shown = isPart ? `${queries.length} of the ${all} shown` : `${all} of the split's ${split.n_queries}`;
  const rest = split.n_not_ranked ? `; ${split.n_not_ranked} could not be ranked` : "";
  return `${shown} queries${rest}`;
}

function markCurrent(current) {
  for (const link of document.querySelectorAll("#queries a[aria-current]")) {
    link.removeAttribute("aria-current");
    link.tabIndex = -1;
  }
  if (!current) return;
  const hadFocus = document.activeElement.closest("#queries");
  current.setAttribute("aria-current", "true");
  current.tabIndex = 0;
  current.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (hadFocus) current.focus({ preventScroll: true });
}

function showQuery(split, queries) {
  const position = queries.findIndex((query) => String(query.number) === view.query);
  document.title = position < 0 ? "Gallery" : `Query ${view.query}, ${view.split}: gallery`;
  if (position < 0) return showMessage(whyNone(split));
  const query = queries[position];
  const sides = isPair(view) ? ["a", "b"] : ["b"];
  keepingFocus(() => {
    find("#view").replaceChildren(
      ...[missingNote(split)].filter(Boolean),
      queryHead(split, query, view, position, queries.length),
      element("div", { class: "panels" }, ...sides.map((side) => panel(split, query, view, side))),
      legend(split, query, view),
      exemplarSection(split, query, view),
    );
  });
}

function whyNone(split) {
  if (split.queries.length) return "No query that is shown of this split has this prompt type and category.";
  return "No query of this split was ranked by every method: there is none to show.";
}

// Say once that images are missing; their places show their paths.
function missingNote(split) {
  const missing = split.images.filter(([, thumbnail]) => !thumbnail).length;
  if (!missing) return null;
  const count = missing === split.images.length ? "The images" : `${missing} of ${split.images.length} images`;
  const text = `${count} could not be read, or are not there: paths stand in their place.`;
  return element("p", { class: "note" }, text);
}

// Let the control that has the focus keep it when `work` makes it anew.
function keepingFocus(work) {
  const { id, name } = document.activeElement;
  const isInside = find("#view").contains(document.activeElement);
  work();
  if (!isInside) return;
  const again = (id && document.getElementById(id)) || (name && find(`#view [name="${name}"]`));
  (again && !again.disabled ? again : find("#view")).focus({ preventScroll: true });
}

// --- from the user to the address ------------------------------------------------------------------------------------

function step(by) {
  const queries = listed(splits[view.split], view);
  const position = queries.findIndex((query) => String(query.number) === view.query);
  const next = queries[position + by];
  if (next) go({ query: String(next.number) });
}

const KEYS = {
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  j: () => step(1),
  k: () => step(-1),
  s: () => go({ a: view.b, b: view.a }),
  f: () => find("#filters select").focus(),
};
const LIST_KEYS = { ArrowDown: () => step(1), ArrowUp: () => step(-1) };

function onKey(event) {
  if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return find("#view").focus();
  if (event.target.closest("select")) return; // arrows and letters choose there
  const keys = event.target.closest("#queries") ? { ...KEYS, ...LIST_KEYS } : KEYS;
  const work = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (!work) return;
  event.preventDefault();
  work();
}

function onClick(event) {
  if (event.target.id === "previous") step(-1);
  if (event.target.id === "next") step(1);
  if (event.target.id === "skip") find("#view").focus();
}

// Frame the same image wherever it is shown.
function onHover(event) {
  const image = event.target.closest?.("[data-image]")?.dataset.image;
  for (const tile of document.querySelectorAll("[data-image]")) {
    tile.classList.toggle("same", tile.dataset.image === image);
  }
}

// A link of the list changes the address by itself; the same event follows "back" and "forward".
addEventListener("popstate", followAddress);
addEventListener("keydown", onKey);
addEventListener("click", onClick);
addEventListener("mouseover", onHover);
addEventListener("change", (event) => {
  if (event.target.name) go({ [event.target.name]: event.target.value });
});
find("#benchmark").textContent = RUN.benchmark;
followAddress();
