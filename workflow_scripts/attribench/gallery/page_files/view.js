"use strict";
// A view is what the page shows: a split, a query of it, two methods (names), and which queries are listed in what
// order. The address holds it, after "#", so that every view has a link and the browser's back button works.

const VIEW_KEYS = ["split", "query", "a", "b", "type", "category", "show", "sort"];
const N_EXTREMES = 10;

function parseView(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  return Object.fromEntries(VIEW_KEYS.map((key) => [key, given.get(key) ?? ""]));
}

function fragmentOf(view) {
  const given = VIEW_KEYS.filter((key) => view[key] !== "").map((key) => [key, view[key]]);
  return "#" + new URLSearchParams(given);
}

// What may be chosen from: pairs of value and text.

function promptTypes(split) {
  const types = [...new Set(split.queries.map((query) => query.prompt_type))];
  return [["", "all"], ...types.map((type) => [type, type])];
}

function categories(split) {
  const names = [...new Set(Object.values(split.entries).map((entry) => entry.category))].filter(Boolean);
  return [["", "all"], ...names.sort().map((name) => [name, name])];
}

function extremesOf(split, view) {
  const by = isPair(view) ? " by the second method" : "";
  return [["", "all queries"], ["best", `${N_EXTREMES} best${by}`], ["worst", `${N_EXTREMES} worst${by}`]];
}

function orders(split, view) {
  const change = [["change", "what changed most"], ["gain", "what gained most"], ["loss", "what lost most"]];
  const by = isPair(view) ? ", second method" : "";
  const value = [["high", `best first${by}`], ["low", `worst first${by}`]];
  return [...(isPair(view) ? change : []), ...value, ["split", "order of the split"]];
}

function isPair(view) {
  return view.a !== view.b;
}

// Return the view that `wanted` comes to on a split: what it lacks, or names and is not there, gets its default.
function settled(wanted, split) {
  const view = { ...wanted, split: split.split };
  const names = split.methods.map((method) => method.name);
  const [first, second] = defaultMethods(split.methods);
  view.a = names.includes(wanted.a) ? wanted.a : first;
  view.b = names.includes(wanted.b) ? wanted.b : second;
  const choices = { type: promptTypes, category: categories, show: extremesOf, sort: orders };
  for (const [key, choicesOf] of Object.entries(choices)) {
    const values = choicesOf(split, view).map(([value]) => value);
    if (!values.includes(view[key])) view[key] = values[0];
  }
  const numbers = listed(split, view).map((query) => String(query.number));
  if (!numbers.includes(view.query)) view.query = numbers[0] ?? "";
  return view;
}

// The first extractor that has a mapped variant, as it is and mapped; else the first two methods.
function defaultMethods(methods) {
  for (const method of methods) {
    const other = methods.find((one) => one.extractor === method.extractor && one.name !== method.name);
    if (other) return [method.name, other.name];
  }
  return [methods[0].name, (methods[1] ?? methods[0]).name];
}

// Return the queries of a split that a view lists, in its order.
function listed(split, view) {
  const queries = split.queries.filter((query) => isOfView(query, split, view));
  return extremes(queries, split, view).sort(comparison(split, view));
}

function isOfView(query, split, view) {
  const isOfType = !view.type || query.prompt_type === view.type;
  return isOfType && (!view.category || split.entries[query.entry].category === view.category);
}

function extremes(queries, split, view) {
  if (!view.show) return queries;
  const order = comparison(split, { ...view, sort: view.show === "best" ? "high" : "low" });
  return [...queries].sort(order).slice(0, N_EXTREMES);
}

function comparison(split, view) {
  const value = {
    change: (query) => -Math.abs(changeOf(query, split, view)),
    gain: (query) => -changeOf(query, split, view),
    loss: (query) => changeOf(query, split, view),
    high: (query) => -precisionOf(query, split, view.b),
    low: (query) => precisionOf(query, split, view.b),
    split: () => 0,
  }[view.sort];
  return (one, other) => value(one) - value(other) || one.number - other.number;
}

function resultOf(query, split, name) {
  return query.methods[split.methods.findIndex((method) => method.name === name)];
}

function precisionOf(query, split, name) {
  return resultOf(query, split, name).average_precision;
}

function changeOf(query, split, view) {
  return precisionOf(query, split, view.b) - precisionOf(query, split, view.a);
}
